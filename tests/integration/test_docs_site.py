"""docs/ as a site: nothing leads astray, and every command line in it is one."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import typer
from typer.core import TyperGroup

from dfx_backup.cli.tree import tree
from tests.fakes.documents import PAGES, ROOT, fenced_lines, inline_calls, inline_lines
from tests.fakes.tree import commands

DOCS = ROOT / "docs"
IDS = [str(path.relative_to(ROOT)) for path in PAGES]
OF_OTHERS = {"--no-lock", "--specified-id", "--transcript"}
"""Options of restic, of dfx, and of our own scripts."""
PLACEHOLDERS = {"COMMAND", "…", "...", "VERB"}


def test_the_reference_is_that_of_the_tree() -> None:
    with mock.patch.dict(os.environ, {"COLUMNS": "40"}):  # the width of a terminal is no matter
        done = subprocess.run(
            [sys.executable, "-c", "import gen_docs; print(gen_docs.reference(), end='')"],
            cwd=ROOT / "scripts",
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )

    recorded = (DOCS / "cli-reference.md").read_text()
    assert done.stdout == recorded, "run scripts/gen_docs.py when this is meant"


def find(words: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """The command that the words begin with, and the rest of them."""
    here: Any = tree([])
    for count, word in enumerate(words):
        if not isinstance(here, TyperGroup) or word not in here.commands:
            return here, words[count:]
        here = here.commands[word]
    return here, ()


def names(command: Any) -> set[str]:
    return {name for option in command.params for name in option.opts} | {"--help", "--version"}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_command_lines_of_blocks_can_be_typed(page: Path) -> None:
    for words in fenced_lines(page):
        command, rest = find(words)
        if rest and rest[0] in PLACEHOLDERS | {"--help", "--version"}:
            continue
        assert not isinstance(command, TyperGroup), f"no command: {' '.join(words)}"
        try:
            command.make_context("dfx-backup", [*rest]).close()
        except typer.Exit:
            assert "--help" in rest
        except typer.TyperException as error:
            raise AssertionError(f"{' '.join(words)}: {error.format_message()}") from error


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_options_in_sentences_exist(page: Path) -> None:
    for words in inline_lines(page):
        command, rest = find(words)
        if len(rest) == len(words):  # it begins with no command of ours
            continue
        options = {word.partition("=")[0] for word in rest if word.startswith("--")}
        known = names(command)
        if isinstance(command, TyperGroup):
            known |= {name for below in command.commands.values() for name in names(below)}
        assert options <= known, f"{' '.join(words)}: {sorted(options - known)}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_what_is_called_in_sentences_is_a_command(page: Path) -> None:
    lost = [words for words in inline_calls(page) if find(words)[1] == words]

    known = PLACEHOLDERS | {"--help", "--version"}
    if page.parent.name == "adr":  # names of our file formats begin with the program's
        known = known | {"journal", "unfinished"}
    assert [words for words in lost if words[0] not in known] == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_an_option_alone_is_that_of_some_command(page: Path) -> None:
    known = {name for _, command in commands() for name in names(command)} | OF_OTHERS
    alone = {words[0].partition("=")[0] for words in inline_lines(page) if words[0][:2] == "--"}

    assert alone - known == set()


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each).strip().lower().replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_to_headings_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", text):
        aim = (page.parent / target).resolve() if target else page
        assert anchor in anchors(aim), f"{target}#{anchor}"


def test_every_page_can_be_reached_from_the_index() -> None:
    index = (DOCS / "README.md").read_text()
    linked = {
        (DOCS / link).resolve()
        for link in re.findall(r"\]\((?!https?://)([^)#]+)", index)
        if (DOCS / link).exists()
    }
    pages = {page for page in PAGES if DOCS in page.parents and page.parent.name != "adr"}

    assert pages - linked == {DOCS / "README.md"}
    assert "docs/README.md" in (ROOT / "README.md").read_text()


def test_the_variables_are_those_that_are_read() -> None:
    told = (DOCS / "environment.md").read_text()
    described = set(re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)`", told))
    source = [
        *(ROOT / "dfx_backup" / "cli").glob("*.py"),
        *(ROOT / "dfx_backup" / "repository").glob("s3*.py"),
        ROOT / "dfx_backup" / "drivers" / "environment.py",
    ]
    found = {
        name
        for path in source
        for name in re.findall(
            r'"((?:DFX|ICP|XDG|AWS)_[A-Z_]*[A-Z]|NO_COLOR|TERM|HOME|PATH|PWD|DFX_WARNING)"',
            path.read_text(encoding="utf-8"),
        )
    }
    found |= kept()

    assert found, "the search found nothing: it has to be mended"
    assert found - described == set()
    others = {"ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "DFX_WARNING"}
    assert described - found - others == set()


def kept() -> set[str]:
    """What a program that we start gets to see, by name."""
    from dfx_backup.drivers import environment  # noqa: PLC0415 - a private name of it is looked at

    return set(environment._KEPT)
