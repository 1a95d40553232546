"""`--json` prints exactly one envelope, whatever happens."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dfx_backup import errors
from tests.fakes import cases
from tests.fakes.stage import Stage
from tests.fakes.tree import commands, leaves

GOLDEN = Path(__file__).parent.parent / "golden" / "json"


@pytest.mark.parametrize("name", sorted(cases.ENVELOPES))
def test_the_envelope_is_as_recorded(name: str, tmp_path: Path) -> None:
    told = cases.envelope(cases.ENVELOPES[name], tmp_path)

    recorded = (GOLDEN / f"{name}.json").read_text()
    assert told == recorded, "run scripts/gen_golden.py when this is meant"


def test_every_recorded_envelope_has_a_case() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(cases.ENVELOPES)


def test_every_command_has_a_case_that_succeeds() -> None:
    done = {
        case.argv[: len(words)]
        for case in cases.ENVELOPES.values()
        for words in leaves()
        if case.code == 0 and case.argv[: len(words)] == words
    }

    assert done == set(leaves())


def test_every_exit_code_has_a_case() -> None:
    classes = {
        each.exit_code
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.BackupError)
    }

    assert {case.code for case in cases.ENVELOPES.values()} == {0, *classes}


def test_every_plan_has_a_case() -> None:
    planned = {
        words
        for words, command in commands()
        if any("--dry-run" in option.opts for option in command.params)
    }
    done = {
        words
        for case in cases.ENVELOPES.values()
        for words in planned
        if "--dry-run" in case.argv and case.argv[: len(words)] == words and case.code == 0
    }

    assert done == planned


def walk(value: Any) -> list[Any]:
    below = list(value.values()) if isinstance(value, dict) else value
    nested = below if isinstance(below, list) else []
    return [value, *(inner for each in nested for inner in walk(each))]


@pytest.mark.parametrize("path", sorted(GOLDEN.iterdir()), ids=lambda path: path.stem)
def test_the_envelope_keeps_its_promises(path: Path) -> None:
    told = json.loads(path.read_text())

    assert list(told) == [
        "output_version",
        "command",
        "status",
        "exit_code",
        "data",
        "errors",
    ]
    assert told["output_version"] == 1
    assert told["status"] == {0: "success", 3: "partial"}.get(told["exit_code"], "error")
    assert bool(told["errors"]) == (told["exit_code"] != 0)
    assert isinstance(told["data"]["warnings"], list)
    for error in told["errors"]:
        assert list(error) == ["code", "message", "hint"]
    for value in walk(told["data"]):
        if isinstance(value, dict):
            cycles = value.get("cycles")
            assert cycles is None or all(
                amount is None or isinstance(amount, str) for amount in cycles.values()
            )
            assert isinstance(value.get("size_bytes", 0), int | None)
            assert (value.get("taken_at") or "Z").endswith("Z")


@pytest.mark.parametrize(
    "argv",
    [
        ["--json"],
        ["nope", "--json"],
        ["snapshot", "--json"],
        ["snapshot", "create", "--json", "--bogus"],
        ["snapshot", "create", "chat", "--driver", "--json"],
        ["snapshot", "create", "chat", "extra", "--json"],
        ["doctor", "--driver", "smoke-signals", "--json"],
        ["recover", "--json"],
        ["snapshot", "delete", "chat", "zz", "--json"],
        ["--network", "ic", "snapshot", "list", "chat", "--json"],
    ],
    ids=" ".join,
)
def test_a_wrong_line_gets_an_envelope_too(argv: list[str], tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.add("chat")

    assert stage.run(*argv) == 2
    assert stage.envelope["errors"][0]["code"] == "usage"
    assert stage.envelope["exit_code"] == 2
    assert stage.stderr == ""


def test_without_json_a_wrong_line_leaves_stdout_empty(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    assert stage.run("snapshot", "create") == 2
    assert stage.stdout == ""
    assert stage.stderr == (
        "Error: Missing argument 'CANISTER'.\nHint: See `dfx-backup snapshot create --help`.\n"
    )


def test_warnings_go_to_stderr_or_into_the_envelope(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.add("chat")

    assert stage.run("snapshot", "create", "chat", "--live") == 0
    told = [
        line.removeprefix("Warning: ")
        for line in stage.stderr.splitlines()
        if line.startswith("Warning: ")
    ]
    assert told
    assert stage.run("snapshot", "create", "chat", "--live", "--json") == 0
    assert stage.envelope["data"]["warnings"] == told
    assert "Warning" not in stage.stderr


@pytest.mark.parametrize("name", sorted(cases.ENVELOPES))
def test_errors_are_told_in_sentences(name: str) -> None:
    for error in json.loads((GOLDEN / f"{name}.json").read_text())["errors"]:
        for told in filter(None, (error["message"], error["hint"])):
            assert told.endswith((".", "?")), told
            assert not re.match(r"(?!dfx |icp )[a-z]+ ", told), told
            assert ".." not in told, told
            assert not re.search(r"run:? dfx", told), told  # a command stands in backticks
