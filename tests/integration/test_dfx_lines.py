"""Every line that the program understands gets through dfx's own parsing, to the last word."""

import os
from pathlib import Path
from unittest import mock

import pytest
from typer.core import TyperOption

from dfx_backup.cli.app import main
from tests.fakes.dfx.extension import GLOBALS, Run, route
from tests.fakes.dfx.lines import option_lines
from tests.fakes.dfx.manifest import Manifest, parse
from tests.fakes.dfx.rows import MANIFESTS
from tests.fakes.tree import commands, leaves

GOLDEN = Path(__file__).parent.parent / "golden" / "help"


@pytest.fixture(scope="module")
def manifests() -> dict[str, Manifest]:
    return {"backup": parse(MANIFESTS["ours"]).named("backup")}


def test_every_option_gets_through_in_every_way_to_write_it(
    manifests: dict[str, Manifest],
) -> None:
    lines = list(option_lines())
    wrong = [(line, found) for line in lines if (found := route(manifests, line)) != as_typed(line)]
    assert len(lines) > 1000
    assert wrong == []


def as_typed(line: list[str]) -> Run:
    return Run(name="backup", passed=line[1:])


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("words", leaves(), ids=" ".join)
def test_every_command_shows_its_own_help(
    manifests: dict[str, Manifest],
    words: tuple[str, ...],
    flag: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = route(manifests, ["backup", *words, flag])
    assert isinstance(found, Run)
    with mock.patch.dict(os.environ, {"COLUMNS": "80"}):
        assert main([*found.passed, "--dfx-cache-path", "/cache"]) == 0
    told = capsys.readouterr().out
    ours = (GOLDEN / f"{'-'.join(words)}.txt").read_text()
    assert told.startswith(f"Usage: dfx backup {' '.join(words)} ")
    assert told.partition("\n\n")[2] == ours.partition("\n\n")[2]


def test_no_option_is_one_that_dfx_reads_in_another_way() -> None:
    """dfx parses its own options in front of the first word that it does not know."""
    taken = {f"--{each.long}": each for each in GLOBALS}
    shorts = {f"-{each.short}" for each in GLOBALS if each.short}
    for words, command in commands():
        for option in command.params:
            if not isinstance(option, TyperOption):
                continue
            for name in option.opts:
                known = taken.get(name)
                assert name not in shorts, (words, name)
                assert known is None or not known.choices, (words, name)
                assert known is None or option.is_flag is (known.most == 0), (words, name)
                assert known is None or not option.multiple, (words, name)
