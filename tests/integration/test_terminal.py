"""How the program feels in a real terminal: a pty, and the screen of a tmux."""

import os
import pty
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pexpect
import pytest

from dfx_backup.ic.management import ManagementCanister
from dfx_backup.ic.session import Session
from dfx_backup.model import CanisterId
from dfx_backup.replica.server import ReplicaServer
from tests.contract.replica_bench import identity
from tests.fakes.terminal_stage import (
    COLOUR,
    ESCAPE,
    HIDE,
    PATIENCE_S,
    SHOW,
    Screen,
    TerminalStage,
    rest,
)

TAKE = "take_canister_snapshot"
STEPS = ("stopping", "taking a snapshot", "starting")


@pytest.fixture
def stage(server: ReplicaServer, tmp_path: Path) -> Iterator[TerminalStage]:
    yield TerminalStage(server, tmp_path)
    server.faults.set(latency_by_method_s={})


@pytest.fixture
def snapshot(stage: TerminalStage) -> str:
    """One that the canister has."""
    session = Session(stage.server.url, identity("alice"), root_key=stage.server.root_key)
    with closing(session):
        canister = CanisterId(stage.canister)
        return ManagementCanister(session).take_snapshot(canister).snapshot_id


# -- progress -------------------------------------------------------------------------------------


def test_progress_moves_and_is_cleared(stage: TerminalStage) -> None:
    stage.slow(0.5, TAKE)

    code, told = rest(stage.spawn("snapshot", "create", stage.canister))

    assert code == 0
    spun = re.findall(r"([-\\|/])(?:\x1b\[0m)? \S+: taking a snapshot", told)
    assert len(set(spun)) > 1  # it turns
    assert COLOUR.search(told)
    assert told.count(HIDE) == told.count(SHOW) == len(STEPS)
    assert told.rindex(SHOW) > told.rindex(HIDE)
    result = told[told.index("Snapshot  ") :]
    assert ESCAPE not in result


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM", "no TERM"])
def test_what_the_terminal_is_told_to_be(stage: TerminalStage, variable: str) -> None:
    value = {"NO_COLOR": "1", "TERM": "dumb", "no TERM": ""}[variable]
    env = {variable.removeprefix("no "): value}

    code, told = rest(stage.spawn("snapshot", "create", stage.canister, env=env))

    assert code == 0
    assert not COLOUR.search(told)
    assert (ESCAPE in told) == (variable == "NO_COLOR")
    if variable != "NO_COLOR":
        lines = [line.removesuffix("\r") for line in told.split("\n")[:3]]
        assert lines == [f"{stage.canister}: {step} ..." for step in STEPS]


def test_quiet_is_quiet(stage: TerminalStage) -> None:
    code, told = rest(stage.spawn("snapshot", "create", stage.canister, "--quiet"))

    assert code == 0
    assert told.startswith("Snapshot  ")
    assert ESCAPE not in told


NARROW = pytest.param(24, marks=pytest.mark.slow)


@pytest.fixture(params=[80, NARROW], ids=lambda columns: f"{columns} columns")
def screen(stage: TerminalStage, request: pytest.FixtureRequest) -> Iterator[Screen]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    made = Screen(stage, columns=request.param)
    yield made
    made.close()


def test_the_screen_afterwards_holds_steps_and_result(stage: TerminalStage, screen: Screen) -> None:
    stage.slow(0.6, TAKE)
    screen.type("snapshot", "create", stage.canister)
    screen.wait_for(r"^[-\\|/] .*")
    shown = screen.wait_for(r"^Promise  [\s\S]*^>")

    lines = shown.split("\n")
    first = next(n for n, line in enumerate(lines) if line.endswith(": stopping"))
    assert lines[first : first + 3] == [f"{stage.canister}: {step}" for step in STEPS]
    assert lines[first + 3].startswith("Snapshot  ")
    assert lines[-1].startswith(">")  # the prompt begins a line
    assert not re.search(r"^[-\\|/] ", shown, re.MULTILINE)


def test_ctrl_c_leaves_a_screen_to_go_on_with(stage: TerminalStage, screen: Screen) -> None:
    stage.slow(1.5, TAKE)
    screen.type("snapshot", "create", stage.canister)
    screen.wait_for(r"^[-\\|/] [\s\S]*taking")
    time.sleep(0.3)
    screen.keys("C-c")
    shown = screen.wait_for(r"^Error: [\s\S]*^>")

    assert stage.is_running()
    lines = shown.split("\n")
    assert lines[-1].startswith(">")
    assert "interrupted by SIGINT" in shown
    assert not re.search(r"^[-\\|/] ", shown, re.MULTILINE)
    screen.keys("echo he''re", "Enter")
    screen.wait_for(r"^here$")


# -- questions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "code", "said"),
    [
        ("y\r", 0, "Deleted "),
        ("n\r", 60, "Error: Nothing was done"),
        ("\x04", 60, "Error: Nothing was done"),
        ("\x03", 130, "Error: Interrupted"),
    ],
    ids=["y", "n", "Ctrl-D", "Ctrl-C"],
)
def test_a_question(stage: TerminalStage, snapshot: str, keys: str, code: int, said: str) -> None:
    child = stage.spawn("snapshot", "delete", stage.canister, snapshot)
    child.expect_exact("? [y/N] ")
    assert "nothing brings it back" in (child.before or "")
    child.send(keys)

    ended, told = rest(child)

    assert ended == code
    assert re.search(rf"^{said}", told, re.MULTILINE), told  # on a line of its own
    assert ESCAPE not in told
    assert len(stage.server.replica.canisters[stage.raw].snapshots) == (1 if code else 0)


def asked(stage: TerminalStage) -> "pexpect.spawn[str]":
    """A program that waits for a new password, without echo."""
    child = stage.spawn("init", "--repo", "backups")
    child.expect_exact("New password of repository ")
    child.expect_exact("backups: ")
    assert child.waitnoecho(PATIENCE_S)
    return child


@pytest.mark.parametrize(("again", "code"), [("correct horse", 0), ("correct cow", 12)])
def test_a_password_shows_nowhere(stage: TerminalStage, again: str, code: int) -> None:
    child = asked(stage)
    child.send("correct horse\r")
    child.expect_exact("The same again: ")
    assert child.waitnoecho(PATIENCE_S)
    child.send(f"{again}\r")

    ended, told = rest(child)

    assert ended == code
    assert "correct" not in told
    assert (stage.folder / "backups" / "config").exists() == (code == 0)
    written = [path for path in stage.folder.rglob("*") if path.is_file()]
    assert not [path for path in written if b"correct" in path.read_bytes()]


@pytest.mark.parametrize(
    ("key", "code", "said"),
    [("\x03", 130, "Error: Interrupted"), ("\x04", 12, "Error: An empty password")],
    ids=["Ctrl-C", "Ctrl-D"],
)
def test_a_password_that_is_not_given(stage: TerminalStage, key: str, code: int, said: str) -> None:
    child = asked(stage)
    child.send(key)

    ended, told = rest(child)

    assert ended == code
    assert re.search(rf"^{said}", told, re.MULTILINE), told
    assert not (stage.folder / "backups" / "config").exists()


def test_after_ctrl_c_at_a_password_the_terminal_echoes(screen: Screen) -> None:
    screen.type("init", "--repo", "backups")
    screen.wait_for("New password")
    time.sleep(0.5)
    screen.keys("C-c")
    screen.wait_for(r"^Error: Interrupted[\s\S]*^>")
    screen.keys("echo se''en", "Enter")
    screen.wait_for(r"echo se''en")
    screen.wait_for(r"^seen$")


# -- not a terminal -------------------------------------------------------------------------------


def test_what_is_piped_holds_no_escapes(stage: TerminalStage) -> None:
    forced = dict.fromkeys(("FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE"), "1")
    for words, code in ((("snapshot", "create", stage.canister), 0), (("nonsense",), 2)):
        done = subprocess.run(
            stage.argv(*words),
            env=stage.environment(**forced),
            cwd=stage.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.returncode == code
        assert ESCAPE not in done.stdout + done.stderr


@pytest.mark.parametrize("words", [("create", "--help"), ("--version",)])
def test_help_holds_no_escapes_in_a_terminal_either(
    stage: TerminalStage, words: tuple[str, ...]
) -> None:
    program, *more = stage.argv()[:3]
    child = pexpect.spawn(
        program,
        [*more, *words],
        env=stage.environment(),
        dimensions=(24, 60),
        encoding="utf-8",
        timeout=PATIENCE_S,
    )

    code, told = rest(child)

    assert code == 0
    assert ESCAPE not in told
    assert max(len(line.rstrip()) for line in told.split("\n")) <= 80


def test_each_stream_counts_for_itself(stage: TerminalStage) -> None:
    """stdout into a file, stderr on the terminal: progress there, and a clean result here."""
    command = f"{shlex.join(stage.argv('snapshot', 'create', stage.canister))} > result"
    child = pexpect.spawn(
        "/bin/sh",
        ["-c", command],
        env=stage.environment(),
        cwd=str(stage.folder),
        encoding="utf-8",
        timeout=PATIENCE_S,
    )

    code, told = rest(child)

    assert code == 0
    assert HIDE in told
    assert told.endswith(": starting\r\n")
    result = (stage.folder / "result").read_text()
    assert result.startswith("Snapshot  ")
    assert ESCAPE not in result


def test_nobody_can_answer_from_a_pipe(stage: TerminalStage, snapshot: str) -> None:
    """stdin is no terminal although the others are: nothing is asked, and nothing is done."""
    leader, follower = pty.openpty()
    try:
        done = subprocess.run(
            stage.argv("snapshot", "delete", stage.canister, snapshot),
            env=stage.environment(),
            cwd=stage.folder,
            input=b"y\n",
            stdout=follower,
            stderr=follower,
            check=False,
            timeout=PATIENCE_S,
        )
        told = os.read(leader, 65536).decode()
    finally:
        os.close(leader)
        os.close(follower)

    assert done.returncode == 60
    assert "There is no terminal to ask on" in told
    assert "Hint: Repeat the command with `--yes`" in told


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (("creat", "chat"), 2, "--help"),
        (("list",), 10, "init"),
        (("create", "chat"), 10, "init"),
        (("snapshot", "list", "chat"), 30, "principal"),
        (("snapshot", "list", "bnz7o-iuaaa-aaaaa-qaaaa-cai", "--driver", "icp"), 40, "agent"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_error_says_what_to_do_next(
    stage: TerminalStage, words: tuple[str, ...], code: int, hint: str
) -> None:
    driver = () if "--driver" in words else ("--driver", "agent")
    program, *more = stage.argv()[:3]
    child = pexpect.spawn(
        program,
        [*more, *words, *(driver if words[0] != "creat" else ())],
        env=stage.environment(PATH="/usr/bin:/bin"),
        cwd=str(stage.folder),
        encoding="utf-8",
        timeout=PATIENCE_S,
    )

    ended, told = rest(child)

    assert ended == code, told
    if hint:
        assert re.search(r"^Error: .*[.?]\r?$", told, re.MULTILINE), told
        assert re.search(rf"^Hint: .*{hint}", told, re.MULTILINE), told
