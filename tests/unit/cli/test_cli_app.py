import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dfx_backup import __version__
from dfx_backup.cli import output
from dfx_backup.errors import BackupError
from dfx_backup.operations.target import Target
from tests.fakes import cases
from tests.fakes.memory_management import How
from tests.fakes.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.mark.parametrize("argv", [["--version"], ["--version", "--dfx-cache-path", "/c"]])
def test_version(stage: Stage, argv: list[str]) -> None:
    assert stage.run(*argv) == 0
    assert stage.stdout == f"dfx-backup {__version__}\ndfx not found\nicp not found\n"


@pytest.mark.parametrize("argv", [[], ["--dfx-cache-path", "/c"]])
def test_no_command_points_to_the_help(stage: Stage, argv: list[str]) -> None:
    assert stage.run(*argv) == 2
    assert stage.stderr.startswith("Error: No command was given.\nHint: See `")


def test_started_by_dfx_hints_name_dfx(stage: Stage) -> None:
    assert stage.run("snapshot", "--dfx-cache-path", "/c", cache_path=Path("/c")) == 2
    assert stage.stderr.endswith("Hint: See `dfx backup snapshot --help`.\n")


def test_an_option_before_the_command_is_told_where_to_stand(stage: Stage) -> None:
    assert stage.run("snapshot", "--identity", "alice", "create", "chat") == 2
    assert stage.stderr == (
        "Error: No such option: --identity.\n"
        "Hint: Options stand behind the whole command. See `dfx-backup snapshot --help`.\n"
    )


def test_dfxs_pair_is_taken_off_even_after_a_double_dash(stage: Stage) -> None:
    stage.add("chat")

    assert stage.run("snapshot", "list", "--", "chat", "--dfx-cache-path", "/c") == 0
    assert stage.asked == [("chat", False, False)]


def test_a_result_goes_to_stdout_and_steps_to_stderr(stage: Stage) -> None:
    stage.add("chat")

    assert stage.run("snapshot", "create", "chat") == 0
    assert "Outage    2.50 s" in stage.stdout
    assert stage.stderr.splitlines()[0] == "chat: stopping ..."


def test_quiet_hides_the_steps(stage: Stage) -> None:
    stage.add("chat")

    assert stage.run("snapshot", "create", "chat", "--quiet") == 0
    assert stage.stderr == ""


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("snapshot", "create", "chat"), (True, False)),
        (("snapshot", "create", "chat", "--dry-run"), (False, False)),
        (("snapshot", "list", "chat"), (False, False)),
        (("snapshot", "load", "chat", cases.FIRST, "--yes"), (True, True)),
        (("snapshot", "load", "chat", cases.FIRST, "--dry-run"), (False, True)),
        (("snapshot", "delete", "chat", cases.FIRST, "--yes"), (True, False)),
    ],
)
def test_commands_say_whether_they_change_or_restore(
    stage: Stage, argv: tuple[str, ...], told: tuple[bool, bool]
) -> None:
    cases.one_snapshot(stage)
    stage.asked.clear()

    assert stage.run(*argv) == 0
    assert stage.asked == [("chat", *told)]


def test_a_dry_run_changes_nothing(stage: Stage) -> None:
    cases.one_snapshot(stage)
    before = list(stage.subnet.calls)

    for argv in (
        ("snapshot", "create", "chat"),
        ("snapshot", "load", "chat", cases.FIRST),
        ("snapshot", "delete", "chat", cases.FIRST),
    ):
        assert stage.run(*argv, "--dry-run") == 0
        assert "Nothing was changed" in stage.stdout

    reading = {"canister_status", "list_canister_snapshots", "read_canister_snapshot_metadata"}
    assert {method for method, _ in stage.subnet.calls[len(before) :]} <= reading


@pytest.mark.parametrize(
    "argv",
    [
        ("snapshot", "load", "chat", cases.FIRST),
        ("snapshot", "delete", "chat", cases.FIRST),
        ("snapshot", "create", "chat", "--replace", cases.FIRST),
    ],
)
class TestDestructive:
    """Terminal or none, `--yes` or not: ask, refuse, or go on."""

    def test_without_a_terminal_it_refuses(self, stage: Stage, argv: tuple[str, ...]) -> None:
        cases.one_snapshot(stage)
        before = list(stage.subnet[stage.names["chat"]].snapshots)

        assert stage.run(*argv) == 60
        assert "--yes" in stage.stderr
        assert stage.subnet[stage.names["chat"]].snapshots == before

    def test_with_yes_it_goes_on(self, stage: Stage, argv: tuple[str, ...]) -> None:
        cases.one_snapshot(stage)

        assert stage.run(*argv, "--yes") == 0

    def test_on_a_terminal_it_asks(self, stage: Stage, argv: tuple[str, ...]) -> None:
        cases.one_snapshot(stage)

        assert stage.run(*argv, typed="n\n") == 60
        assert "[y/N]" in stage.stderr
        assert stage.run(*argv, typed="y\n") == 0
        assert stage.stdout.count("\n") >= 1

    def test_the_question_names_what_is_lost(self, stage: Stage, argv: tuple[str, ...]) -> None:
        cases.one_snapshot(stage)

        stage.run(*argv, typed="n\n")
        asked = stage.stderr.partition("[y/N]")[0]
        assert "chat" in asked
        assert len(asked.splitlines()) >= 2


def test_what_a_load_does_not_bring_back_is_told_before_the_question(stage: Stage) -> None:
    cases.one_snapshot(stage)

    assert stage.run("snapshot", "load", "chat", cases.FIRST, typed="y\n") == 0
    asked, _, told = stage.stderr.partition("[y/N]")
    for word in ("global timer", "outside the canister", "Settings", "Cycles: "):
        assert word in asked
    assert "global timer" not in told


@pytest.mark.parametrize("typed", ["0xABCD", "ABCD", "abcd"])
def test_ids_are_understood_in_other_spellings(stage: Stage, typed: str) -> None:
    stage.add("chat")

    stage.run("snapshot", "delete", "chat", typed, "--yes")

    assert "abcd" in stage.stderr
    assert "not a snapshot id" not in stage.stderr


@pytest.mark.parametrize("typed", ["", "xyz", "abc", "12 34"])
def test_what_is_no_id_is_a_usage_error(stage: Stage, typed: str) -> None:
    stage.add("chat")

    assert stage.run("snapshot", "delete", "chat", typed, "--yes") == 2
    assert stage.asked == []


def test_text_from_outside_cannot_steer_the_terminal(stage: Stage) -> None:
    assert stage.run("snapshot", "list", "a\x1b[2Jb") == 30
    assert "\x1b" not in stage.stderr
    assert "`ab`" in stage.stderr


def test_a_second_signal_does_not_break_off_the_answer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_args: object, **_options: object) -> Target:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError

    def told(error: BaseException) -> tuple[BackupError, ...]:
        signal.raise_signal(signal.SIGINT)
        return causes(error)

    causes = output.causes
    monkeypatch.setattr(stage, "canister", interrupted)
    monkeypatch.setattr(output, "causes", told)

    assert stage.run("snapshot", "list", "chat", "--json") == 130
    assert [error["code"] for error in stage.envelope["errors"]] == ["interrupted"]


def test_every_command_tells_of_an_interrupted_run(stage: Stage) -> None:
    cases.killed_between_stop_and_start(stage)

    stage.run("snapshot", "list", "chat")
    [warning] = [line for line in stage.stderr.splitlines() if line.startswith("Warning")]
    assert f"dfx-backup recover {stage.names['chat']} --network local" in warning
    [entry] = (stage.state / "journal").glob("*.json")
    assert f"dfx-backup recover {entry.name} --discard" in warning  # a local network may be reset

    stage.run("doctor", "--json")
    assert stage.envelope["data"]["warnings"] == [warning.removeprefix("Warning: ")]

    assert stage.run("recover", "chat") == 0
    stage.run("snapshot", "list", "chat")
    assert "Warning" not in stage.stderr


class TestRecover:
    """Which runs are meant, and what may be started."""

    @pytest.mark.parametrize(
        "argv", [(), ("chat", "--all"), ("--all", "--discard"), ("--discard",)]
    )
    def test_it_wants_to_know_which(self, stage: Stage, argv: tuple[str, ...]) -> None:
        cases.killed_between_stop_and_start(stage)

        assert stage.run("recover", *argv) == 2
        assert f"recover {stage.names['chat']} --network local" in stage.stderr

    def test_all_with_nothing_to_do(self, stage: Stage) -> None:
        assert stage.run("recover", "--all") == 0
        assert stage.stdout == "There is nothing to recover.\n"

    def test_a_journaled_run_needs_no_question(self, stage: Stage) -> None:
        cases.killed_between_stop_and_start(stage)

        assert stage.run("recover", "--all") == 0
        assert stage.subnet[stage.names["chat"]].state == "running"

    def test_without_a_record_it_asks(self, stage: Stage) -> None:
        cases.stopped_by_somebody(stage)

        assert stage.run("recover", "chat") == 60
        assert stage.subnet[stage.names["chat"]].state == "stopped"
        assert stage.run("recover", "chat", typed="y\n") == 0
        assert stage.subnet[stage.names["chat"]].state == "running"

    def test_what_needs_no_question_is_done_although_another_is_refused(self, stage: Stage) -> None:
        cases.killed_between_stop_and_start(stage)
        other = stage.subnet[stage.add("other")]
        other.state = type(other.state)("stopped")

        assert stage.run("recover", "--all") == 60
        assert stage.subnet[stage.names["chat"]].state == "running"
        assert other.state == "stopped"

    def test_a_record_can_be_dropped(self, stage: Stage) -> None:
        cases.killed_between_stop_and_start(stage)

        assert stage.run("recover", "chat", "--discard") == 60
        assert stage.run("recover", "chat", "--discard", "--dry-run") == 0
        assert list((stage.state / "journal").glob("*.json"))
        assert stage.run("recover", "chat", "--discard", "--yes") == 0
        assert not list((stage.state / "journal").glob("*.json"))

    def test_a_record_that_is_damaged_can_be_dropped_by_its_file(self, stage: Stage) -> None:
        journal = stage.state / "journal"
        journal.mkdir(parents=True)
        (journal / "x.json").write_text("{")

        assert stage.run("recover", "nothing", "--discard", "--yes") == 2
        assert stage.run("recover", "x.json", "--discard", "--yes") == 0
        assert not (journal / "x.json").exists()

    def test_a_name_on_another_network_is_not_meant(self, stage: Stage) -> None:
        cases.killed_between_stop_and_start(stage)

        assert stage.run("recover", "chat", "--discard", "--yes", "--network", "ic") == 2

    @pytest.mark.parametrize("which", ["chat", "--all"])
    def test_a_network_that_was_reset_is_not_the_one_of_the_record(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch, which: str
    ) -> None:
        cases.killed_between_stop_and_start(stage)
        monkeypatch.setattr("tests.fakes.stage.NETWORK_ID", "7d" * 32)

        assert stage.run("recover", which) == 60
        assert "7d" * 8 in stage.stderr
        [entry] = (stage.state / "journal").glob("*.json")
        assert f"recover {entry.name} --discard" in stage.stderr
        assert stage.run("recover", entry.name, "--discard", "--yes") == 0

    def test_an_unreachable_one_does_not_stop_the_rest(self, stage: Stage) -> None:
        cases.unreachable(stage)

        assert stage.run("recover", "--all", "--json") == 50
        assert stage.envelope["data"]["recovered"] == []

    def test_a_canister_that_stays_down_is_exit_4(self, stage: Stage) -> None:
        cases.killed_between_stop_and_start(stage)
        stage.subnet.fail("start_canister", How.UNSENT, times=1000)

        assert stage.run("recover", "chat") == 4


def test_a_script_called_dfx_loses_neither_folder_nor_identity(tmp_path: Path) -> None:
    """A real parent process called dfx, another folder, and an identity before the subcommand."""
    project, typed_in = tmp_path / "project", tmp_path / "project" / "src"
    typed_in.mkdir(parents=True)
    probe = (
        "import sys; from dfx_backup.cli import context, parent; "
        "rest, cache = parent.split_cache_path(sys.argv[1:]); "
        "found = context.read_surroundings(rest, cache); "
        "print(found.cwd, found.swallowed_identity, found.identity_uncertain)"
    )
    dfx = tmp_path / "dfx"
    dfx.write_text(
        f"#!{sys.executable}\n"
        "import subprocess, sys\n"
        f"subprocess.run([{sys.executable!r}, '-c', {probe!r}, 'doctor', '--dfx-cache-path', '/c'],"
        f" cwd={str(project)!r}, check=True)\n"
    )
    dfx.chmod(0o755)

    done = subprocess.run(
        [dfx, "--identity", "alice", "backup", "doctor"],
        cwd=typed_in,
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    assert done.stdout.split() == [str(typed_in), "alice", "False"]
