"""The program as a process: interrupted, terminated and killed while it holds a canister."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from dfx_backup.ic.management import ManagementCanister
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.session import Session
from dfx_backup.model import CanisterId, RunState
from dfx_backup.replica.server import ReplicaServer
from tests.contract.replica_bench import identity, note_wasm, pem

PATIENCE_S = 20


class Held:
    """A canister whose snapshot takes long, and runs of the program on it."""

    def __init__(self, server: ReplicaServer, folder: Path) -> None:
        self._server = server
        alice = folder / ".config" / "dfx" / "identity" / "default"
        alice.mkdir(parents=True)
        (alice / "identity.pem").write_bytes(pem("alice"))
        controllers = [identity("alice").principal.raw]
        raw = server.replica.create_canister(controllers=controllers, cycles=10**13)
        server.replica.install(raw, note_wasm())
        self.canister = CanisterId(Principal(raw).to_text())
        self._session = Session(server.url, identity("alice"), root_key=server.root_key)
        self._management = ManagementCanister(self._session)
        self._folder = folder
        self._started: list[subprocess.Popen[str]] = []

    def close(self) -> None:
        self._session.close()
        for process in self._started:
            with process:
                process.kill()

    def state(self) -> RunState:
        return self._management.status(self.canister).state

    def argv(self, *words: str) -> list[str]:
        """The arguments of the interpreter."""
        return ["-m", "dfx_backup", *words, "--network", self._server.url]

    def surroundings(self) -> dict[str, Any]:
        """Where every run finds itself."""
        env = {"HOME": str(self._folder), "PATH": "/nowhere", "TERM": "xterm"}
        return {"cwd": str(self._folder), "env": env}

    def run_writing_nowhere(self, number: int, target: str | None, *words: str) -> int:
        """Run with one standard stream closed, or led to a file that can't be written."""

        def redirect() -> None:
            if target is None:
                os.close(number)
            else:
                os.dup2(os.open(target, os.O_WRONLY), number)

        argv = [sys.executable, *self.argv(*words)]
        done = subprocess.run(
            argv,
            **self.surroundings(),
            preexec_fn=redirect,
            timeout=PATIENCE_S,
            check=False,
        )
        return done.returncode

    def wait_until(self, state: RunState) -> None:
        """Wait until the canister is in that state."""
        end = time.monotonic() + PATIENCE_S
        while self.state() is not state:
            assert time.monotonic() < end, f"the canister is never {state}"
            time.sleep(0.05)

    def slow_down(self) -> None:
        """Let taking a snapshot last."""
        self._server.faults.set(latency_by_method_s={"take_canister_snapshot": 1.5})

    def start(self, *argv: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, *self.argv(*argv, "--json")],
            **self.surroundings(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def run(self, *argv: str) -> tuple[int, dict[str, object]]:
        process = self.start(*argv)
        told, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode, json.loads(told)

    def wait_for(self, process: "subprocess.Popen[str]", step: str) -> None:
        """Read stderr until a step is told."""
        assert process.stderr is not None
        seen = []
        for line in process.stderr:
            seen.append(line)
            if step in line:
                return
        raise AssertionError(seen)

    def taking(self) -> "subprocess.Popen[str]":
        """A run that has stopped the canister and waits for its snapshot."""
        self.slow_down()
        process = self.start("snapshot", "create", self.canister)
        self.wait_for(process, "taking a snapshot")
        time.sleep(0.3)
        assert self.state() is RunState.STOPPED
        return process


@pytest.fixture
def held(server: ReplicaServer, tmp_path: Path) -> Iterator[Held]:
    made = Held(server, tmp_path)
    yield made
    server.faults.set(latency_by_method_s={})
    made.close()


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda each: each.name
)
def test_after_a_signal_the_canister_runs(held: Held, number: signal.Signals) -> None:
    process = held.taking()

    os.kill(process.pid, number)
    told, _ = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 130
    assert held.state() is RunState.RUNNING
    envelope = json.loads(told)
    assert [error["code"] for error in envelope["errors"]] == ["interrupted"]


def test_after_its_terminal_went_away_the_canister_runs(held: Held) -> None:
    held.slow_down()
    argv = held.argv("snapshot", "create", held.canister)
    terminal = pexpect.spawn(sys.executable, argv, **held.surroundings())
    terminal.expect("taking a snapshot")
    held.wait_until(RunState.STOPPED)

    with contextlib.suppress(pexpect.ExceptionPexpect):  # says that the program still runs
        terminal.close(force=False)  # SIGHUP, then SIGINT; and every write to the terminal fails

    held.wait_until(RunState.RUNNING)
    code, told = held.run("snapshot", "list", held.canister)
    assert (code, told["data"]["warnings"]) == (0, [])  # type: ignore[index] # JSON


@pytest.mark.parametrize(("number", "name"), [(1, "stdout"), (2, "stderr")])
def test_a_stream_that_fails_leaves_no_canister_stopped(held: Held, number: int, name: str) -> None:
    code = held.run_writing_nowhere(number, "/dev/full", "snapshot", "create", held.canister)

    assert held.state() is RunState.RUNNING
    assert code == (3 if name == "stdout" else 0)  # the result is lost, or only the steps


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_closed_stream_ends_nothing(held: Held, number: int) -> None:
    assert held.run_writing_nowhere(number, None, "snapshot", "create", held.canister) == 0
    assert held.state() is RunState.RUNNING


def test_after_a_kill_recover_starts_it(held: Held) -> None:
    process = held.taking()
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    assert held.state() is RunState.STOPPED

    code, told = held.run("snapshot", "list", held.canister)
    assert code == 0
    [warning] = told["data"]["warnings"]  # type: ignore[index] # JSON
    assert f"recover {held.canister}" in warning

    recovering = held.start("recover", held.canister)
    held.wait_for(recovering, "watching")  # a call of the killed run may come late
    assert held.state() is RunState.RUNNING
    recovering.terminate()
    recovering.communicate(timeout=PATIENCE_S)
    assert held.state() is RunState.RUNNING
