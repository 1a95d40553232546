"""Restores that are killed at random points: never a state that is neither old nor new."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfx_backup.replica.server import ReplicaServer
from dfx_backup.replica.state import RunState
from dfx_backup.repository import keys
from tests.fakes.restore_project import RestoreProject

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
KILLS = 14
LATENCY_S = 0.1
METHODS = (
    "stop_canister",
    "take_canister_snapshot",
    "load_canister_snapshot",
    "start_canister",
    "upload_canister_snapshot_metadata",
    "upload_canister_snapshot_data",
    "delete_canister_snapshot",
)


class SharedClock:
    """A clock of replica and program that jumps ahead instead of sleeping."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> float:
        return time.time() + self.ahead_s

    def now_ns(self) -> int:
        return time.time_ns() + int(self.ahead_s * 1e9)

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / 50)
        self.ahead_s += seconds


@pytest.fixture
def clock() -> SharedClock:
    return SharedClock()


@pytest.fixture
def project(
    tmp_path: Path, clock: SharedClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RestoreProject]:
    monkeypatch.setattr(keys, "SCRYPT_N", 16)
    with ReplicaServer.start(clock_ns=clock.now_ns) as server:
        made = RestoreProject(server, tmp_path)
        made.clock = clock  # type: ignore[assignment] # it has the same methods
        yield made
        made.close()


def killed(project: RestoreProject, clock: SharedClock, after_s: float, *argv: str) -> bool:
    """Kill the command so many seconds after its first request; whether it was still running."""
    words = ("--identity", "alice", "--driver", "agent", "--quiet")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.skewed_child", str(clock.ahead_s), *argv, *words],
        cwd=project.folder,
        env={
            "HOME": str(project.dfx.home),
            "PATH": "/nowhere",
            "PYTHONPATH": str(ROOT),
            "DFX_BACKUP_REPO": "repo",
            "DFX_BACKUP_PASSWORD_FILE": str(project.password),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    counters, end = project.server.faults.counters, time.monotonic() + 30
    before = sum(counters().calls.values())
    while sum(counters().calls.values()) == before:
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    time.sleep(after_s)
    running = process.poll() is None
    os.kill(process.pid, signal.SIGKILL) if running else None
    process.communicate(timeout=30)
    time.sleep(2 * LATENCY_S)  # what was under way executes
    return running


def recover(project: RestoreProject) -> int:
    """Finish what was left; how many entries there were."""
    left = list((project.stage.state / "journal").glob("[!.]*.json"))
    if left:
        project.data("recover", "--all", "--yes")
    return len(left)


def clear(project: RestoreProject, *raws: bytes) -> None:
    for raw in raws:
        project.state_of(raw).snapshots.clear()


def test_one_canister(project: RestoreProject, clock: SharedClock) -> None:
    rng = random.Random(7)
    project.write(b"old")
    backup = project.back_up()
    kills = recovered = 0
    project.server.faults.set(latency_by_method_s=dict.fromkeys(METHODS, LATENCY_S))
    for number in range(KILLS):
        new = b"new %d" % number
        project.write(new)
        kills += killed(project, clock, rng.uniform(0, 1.7), "restore", backup, "--yes")
        recovered += recover(project)

        assert project.canister.status is RunState.RUNNING
        assert project.read() in (b"old", new)
        assert len(project.canister.snapshots) <= 2, "what was uploaded, and the safety snapshot"
        project.data("restore", backup, "--yes")
        assert project.read() == b"old"
        clear(project, project.snapshots.raw)
    assert kills > KILLS / 2
    assert recovered > 0


def test_a_set(project: RestoreProject, clock: SharedClock) -> None:
    rng = random.Random(11)
    first = project.snapshots.raw
    second, other = project.another()
    raws = (first, second)
    for raw in raws:
        project.write(b"old", raw)
    name = f"set:{project.back_up_set(project.canister_id, other)}"
    kills = recovered = 0
    project.server.faults.set(latency_by_method_s=dict.fromkeys(METHODS, LATENCY_S))
    for number in range(KILLS // 2):
        new = b"new %d" % number
        for raw in raws:
            project.write(new, raw)
        kills += killed(project, clock, rng.uniform(1.0, 2.8), "restore", name, "--yes")
        recovered += recover(project)

        assert {project.state_of(raw).status for raw in raws} == {RunState.RUNNING}
        said = {project.read(raw) for raw in raws}
        assert said in ({b"old"}, {new}), "all or none"
        project.data("restore", name, "--yes")
        assert {project.read(raw) for raw in raws} == {b"old"}
        clear(project, *raws)
    assert kills > KILLS / 4
    assert recovered > 0
