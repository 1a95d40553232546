"""The workflows for GitHub: nobody runs them here, so what can be checked is checked."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.release import layout

FOLDER = layout.ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.iterdir())


def load(name: str) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_one(path: Path) -> None:
    found = load(path.name)
    assert set(found) == {"name", True, "permissions", "jobs"}  # YAML 1.1 reads `on` as true
    assert found["permissions"] == {"contents": "read"}
    for job in found["jobs"].values():
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            assert len({"uses", "run"} & set(step)) == 1, step


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_script_that_is_named_is_there(path: Path) -> None:
    named = set(re.findall(r"(?<![\w/.])(?:scripts|\.ci)/[\w.-]+", path.read_text()))
    assert named
    assert [name for name in named if not (layout.ROOT / name).is_file()] == []


def test_a_release_is_built_for_every_platform() -> None:
    build = load("release.yml")["jobs"]["build"]
    machines = [each["machine"] for each in build["strategy"]["matrix"]["include"]]
    assert sorted(machines) == sorted(layout.PLATFORMS)


def test_a_release_begins_with_its_tag() -> None:
    (pattern,) = load("release.yml")[True]["push"]["tags"]
    assert pattern == f"{layout.NAME}-v*"
    assert layout.release().tag.startswith(pattern.removesuffix("*"))


def test_the_released_manifest_names_the_archives_as_they_are_called() -> None:
    text = (FOLDER / "release.yml").read_text()
    template = "/releases/download/{{tag}}/{{basename}}.{{archive-format}}"
    assert f'--download-url-template "$home{template}"' in text
