"""Extensions in dfx's caches, and manifests that stop dfx: judged by the stand-in's own reader."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.project.dfx_extensions import dfx_versions, extensions, manifest_problem
from tests.fakes.dfx.manifest import ManifestError, parse

OURS = json.loads((Path(__file__).parents[3] / "extension.json").read_text(encoding="utf-8"))
LEAF = OURS["subcommands"]["doctor"]


def drop(*path: str) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]

    return change


def put(value: object, *path: str) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


DOCTOR = ("subcommands", "doctor")
ARG = (*DOCTOR, "args", "args")
CHANGES = {
    "nothing": lambda _content: None,
    "no authors": put("me", "authors"),
    "null subcommands": put(None, "subcommands"),
    "no args": drop(*DOCTOR, "args"),
    "null args": put(None, *DOCTOR, "args"),
    "nested": put({"more": {"about": "x"}}, *DOCTOR, "subcommands"),
    "a number of values": put(3, *ARG, "values"),
    "a range of values": put("1..3", *ARG, "values"),
    "a flag": put(0, *ARG, "values"),
    "dependencies": put({"dfx": ">=0.23.0"}, "dependencies"),
    **{f"without {name}": drop(name) for name in ("name", "version", "homepage", "summary")},
    "without categories": drop("categories"),
    "categories of another type": put("tools", "categories"),
    "categories that are no text": put([1], "categories"),
    "version that is none": put("1.0", "version"),
    "version that is a number": put(1, "version"),
    "a stranger": put("MIT", "licence"),
    "a stranger in a subcommand": put("x", *DOCTOR, "summary"),
    "a stranger in an argument": put(1, *ARG, "required"),
    "an inclusive range": put("1..=3", *ARG, "values"),
    "many values": put("many", *ARG, "values"),
    "negative values": put(-1, *ARG, "values"),
    "values that are none": put(None, *ARG, "values"),
    "subcommands that are a list": put([], "subcommands"),
    "a subcommand that is a text": put("x", *DOCTOR),
    "args that are a list": put([], *DOCTOR, "args"),
    "an argument that is a text": put("x", *ARG),
    "keywords of another type": put("x", "keywords"),
    "a short name of two letters": put("ab", *ARG, "short"),
    "a long name that is none": put(1, *ARG, "long"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_dfx_can_not_read_is_what_we_tell(name: str) -> None:
    content = copy.deepcopy(OURS)
    CHANGES[name](content)
    try:
        parse(json.dumps(content))
    except ManifestError:
        assert manifest_problem(content) is not None
    else:
        assert manifest_problem(content) is None


@pytest.mark.parametrize("content", [None, [], "x", 5])
def test_a_manifest_is_an_object(content: object) -> None:
    assert manifest_problem(content) is not None


def test_an_argument_without_description_stops_dfx_later() -> None:
    content = copy.deepcopy(OURS)
    drop(*ARG, "about")(content)

    problem = manifest_problem(content)

    assert problem is not None
    assert "`args` of `doctor` is missing its description" in problem


def test_only_folders_count(tmp_path: Path) -> None:
    place = tmp_path / "versions" / "0.32.0" / "extensions"
    (place / "backup").mkdir(parents=True)
    (place / "backup" / "extension.json").write_text(json.dumps(OURS))
    (place / ".tmp123").mkdir()
    (place / "notes.txt").write_text("x")
    (place / "linked").symlink_to(place / "backup")
    (tmp_path / "versions" / "0.30.1").mkdir()

    [only] = extensions(tmp_path)

    assert (only.name, only.dfx, only.version) == ("backup", "0.32.0", OURS["version"])
    assert only.problem is None
    assert not only.runs
    assert dfx_versions(tmp_path) == ("0.30.1", "0.32.0")
    assert extensions(tmp_path / "nowhere") == ()
