"""The command tree: its help, its options, and what it costs to show them."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.core import TyperGroup, TyperOption

from tests.fakes.tree import commands, help_texts, leaves

GOLDEN = Path(__file__).parent.parent / "golden" / "help"
HEAVY = ("cbor2", "cryptography", "ic", "pexpect", "pyblst", "pydantic", "rich", "urllib3")


@pytest.mark.parametrize(("name", "text"), sorted(help_texts().items()))
def test_help_is_as_recorded(name: str, text: str) -> None:
    assert (GOLDEN / name).read_text() == text, "run scripts/gen_golden.py when this is meant"


def test_every_recorded_help_is_still_a_command() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(help_texts())


def test_help_fits_into_80_columns() -> None:
    long = [line for text in help_texts().values() for line in text.splitlines() if len(line) > 80]

    assert long == []


def options() -> list[tuple[str, TyperOption]]:
    return [
        (" ".join(words), option)
        for words, command in commands()
        for option in command.params
        if isinstance(option, TyperOption)
    ]


def test_booleans_have_one_name_and_no_opposite() -> None:
    pairs = [
        (command, option.opts, option.secondary_opts)
        for command, option in options()
        if option.secondary_opts
        or any(name.startswith("--no-") for name in option.opts)
        or (option.is_flag and len(option.opts) != 1)
    ]

    assert pairs == []


def test_help_is_plain_text() -> None:
    assert {command.rich_markup_mode for _, command in commands()} == {None}


def test_what_asks_before_it_acts_can_be_tried_first() -> None:
    for words, command in commands():
        names = {name for option in command.params for name in option.opts}
        assert "--yes" not in names or "--dry-run" in names, words


def test_options_stand_on_leaves_only() -> None:
    on_groups = [
        (words, option.opts)
        for words, command in commands()
        if isinstance(command, TyperGroup)
        for option in command.params
    ]

    assert on_groups == []


def test_every_option_and_command_says_what_it_does() -> None:
    mute = [(command, option.opts) for command, option in options() if not option.help]
    mute += [(" ".join(words), []) for words, command in commands() if not command.help]

    assert mute == []


def test_every_first_line_is_a_sentence() -> None:
    ends = {
        " ".join(words): inspect.cleandoc(command.help or "").splitlines()[0]
        for words, command in commands()
    }

    assert [words for words, line in ends.items() if not line.endswith(".")] == []


def test_every_command_can_tell_json_and_be_pointed_at_a_network() -> None:
    for words, command in commands():
        if words in leaves():
            names = {name for option in command.params for name in option.opts}
            assert {"--json", "--network", "--identity", "--driver"} <= names, words


@pytest.mark.parametrize("argv", [["--help"], ["snapshot", "list", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(argv: list[str]) -> None:
    code = (
        "import json, sys; from dfx_backup.cli.app import main; assert main(sys.argv[1:]) == 0; "
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *argv], check=True, capture_output=True, text=True, timeout=60
    )

    loaded = json.loads(done.stdout.splitlines()[-1])
    assert [name for name in HEAVY if name in loaded] == []
