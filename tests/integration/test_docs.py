"""The documents can't lag behind the program."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfx_backup import errors
from tests.fakes.tree import leaves

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
GOLDEN = sorted((ROOT / "tests" / "golden" / "json").iterdir())


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_exit_codes_are_those_of_the_classes() -> None:
    rows = re.findall(r"^\| (\d+) \| (?:`([\w-]+)`)? ?\|", text("docs/exit-codes.md"), re.MULTILINE)
    classes = {
        (each.exit_code, each.code)
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.BackupError)
    }

    told = {(int(code), slug) for code, slug in rows if slug}
    assert told == classes
    assert ("0", "") in rows


def fields(value: Any) -> Iterator[str]:
    """Every key at any depth."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield key
            yield from fields(below)
    elif isinstance(value, list):
        for below in value:
            yield from fields(below)


def sections() -> dict[str, str]:
    """The parts of docs/json-output.md by their headings; what stands before is called ``."""
    parts = re.split(r"^## (.+)$", text("docs/json-output.md"), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_field_is_described(path: Path) -> None:
    told = json.loads(path.read_text())
    found = sections()
    command = told["command"] or ""
    described = found[""] + found["Fields of every `snapshot` command"]
    described += found["Fields of a backup"] + found.get(command, "")

    missing = {field for field in fields(told) if f"`{field}`" not in described}
    assert missing == set()


def test_every_command_has_its_section() -> None:
    assert {" ".join(words) for words in leaves()} <= set(sections())


@pytest.mark.parametrize("name", ["snapshot create", "snapshot load", "recover", "doctor"])
def test_no_field_is_described_that_does_not_exist(name: str) -> None:
    known = {
        field
        for path in GOLDEN
        if json.loads(path.read_text())["command"] == name
        for field in fields(json.loads(path.read_text()))
    }
    words = set(re.findall(r"`([a-z][a-z_]+)`", sections()[name]))
    values = {"consistent", "live", "unverified", "partial", "recover", "ok", "warn", "fail"}
    values |= {"canister_version"}  # the interface's name, of which `versions` has three

    assert words - values - {"errors", "data", "status"} <= known


def test_the_readme_names_every_command() -> None:
    readme = text("README.md")

    assert [words for words in leaves() if f"`{' '.join(words)}" not in readme] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", path.read_text(encoding="utf-8"))

    assert [link for link in links if not (path.parent / link).exists()] == []


def test_every_decision_is_in_the_index_once() -> None:
    folder = ROOT / "docs" / "adr"
    files = {path.name for path in folder.glob("0*.md")}
    index = re.findall(r"\((0\d+-[\w-]+\.md)\)", (folder / "README.md").read_text())

    assert sorted(index) == sorted(files)
    assert len({name[:4] for name in files}) == len(files)


def test_decisions_that_code_points_to_exist() -> None:
    wanted = {
        found
        for path in (ROOT / "dfx_backup").rglob("*.py")
        for found in re.findall(r"docs/[\w/-]+\.md", path.read_text(encoding="utf-8"))
    }

    assert [name for name in sorted(wanted) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_exist(name: str) -> None:
    targets = set(re.findall(r"\bmake ([a-z-]+)", re.sub(r"\n[^`\n]*and make\.", "", text(name))))
    known = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))

    assert targets <= known


def test_the_changelog_begins_with_what_is_unreleased() -> None:
    first = re.search(r"^## \[(.+?)\]", text("CHANGELOG.md"), re.MULTILINE)

    assert first is not None
    assert first.group(1) == "Unreleased"


def test_every_must_of_the_format_names_a_test_that_exists() -> None:
    told = text("docs/repository-format.md")
    rules = re.findall(r"^- (.*?)(?=^- |^#|^$)", told, re.MULTILINE | re.DOTALL)
    tests = {
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
    }

    assert [rule for rule in rules if "MUST" in rule and "`test_" not in rule] == []
    assert set(re.findall(r"`(test_\w+)`", told)) - tests == set()
