"""Exports and imports through a snapshot, killed at random points: they go on, and nothing is left.

Whatever the moment, the canister runs after `recover`, with its old state or the new one; the same
command then brings it to its end, and of the snapshots that it took only the safety ones stay.
"""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfx_backup.operations.ledger import SAFETY, Ledger
from dfx_backup.replica.server import ReplicaServer
from dfx_backup.replica.state import RunState
from tests.fakes.heap_project import HeapProject
from tests.fakes.killed_runs import LATENCY_S, METHODS, SharedClock, killed
from tests.fakes.stable_project import StableProject

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KILLS = 14
SLOW = (*METHODS, "read_canister_snapshot_data", "install_code")
EXPORT = ("stable", "export", "note", "--via", "snapshot", "--file", "copy", "--concurrency", "2")
IMPORT = (
    *("stable", "import", "note", "--via", "snapshot", "--file", "copy", "--yes"),
    "--heap-from-stable",
)


@pytest.fixture
def clock() -> SharedClock:
    return SharedClock()


@pytest.fixture
def server(clock: SharedClock) -> Iterator[ReplicaServer]:
    with ReplicaServer.start(clock_ns=clock.now_ns) as started:
        yield started


def recover(project: StableProject) -> int:
    """Finish what was left; how many entries there were."""
    state = project.dfx.home / ".local/state/dfx-backup"
    left = list((state / "journal").glob("[!.]*.json"))
    if left:
        code, told = project.run("recover", "--all", "--yes")
        assert code == 0, told
    assert project.canister.status is RunState.RUNNING
    return len(left)


def left_behind(project: StableProject) -> set[str]:
    """Snapshots that exist and that we know to be ours, without the safety snapshots."""
    state = project.dfx.home / ".local/state/dfx-backup"
    there = {each.hex() for each in project.canister.snapshots}
    found = set()
    for path in (state / "ours").glob("*.json"):
        for own in Ledger(state, path.stem).read():
            if own.purpose != SAFETY and own.snapshot_id in there:
                found.add(own.purpose)
    return found


def finish(project: StableProject, *argv: str) -> None:
    code, told = project.run(*argv)
    assert code == 0, told
    assert project.canister.status is RunState.RUNNING
    assert left_behind(project) == set()


def timed(project: StableProject, *argv: str) -> float:
    """Seconds that the command takes here and now: kills are to hit the middle of it."""
    began = time.monotonic()
    finish(project, *argv)
    return time.monotonic() - began


def test_export(server: ReplicaServer, tmp_path: Path, clock: SharedClock) -> None:
    rng = random.Random(5)
    project = StableProject(server, tmp_path)
    project.clock = clock  # type: ignore[assignment] # it has the same methods
    project.fill(0, 320, seed=1)
    server.faults.set(latency_by_method_s=dict.fromkeys(SLOW, LATENCY_S))
    whole_s = timed(project, *EXPORT)
    kills = outages = 0
    for number in range(KILLS):
        project.fill(0, 20, seed=number + 2)
        wanted = project.stable_memory()
        before = project.canister.next_snapshot
        kills += killed(project, rng.uniform(0, 0.9 * whole_s), *EXPORT)
        recover(project)
        finish(project, *EXPORT)
        outages += project.canister.next_snapshot - before
        assert (tmp_path / "copy.stable.bin").read_bytes() == wanted
    assert kills > KILLS / 2
    assert outages < kills + KILLS  # some went on with the snapshot that was there
    project.close()


def test_import_with_a_new_heap(server: ReplicaServer, tmp_path: Path, clock: SharedClock) -> None:
    rng = random.Random(6)
    project = HeapProject(server, tmp_path)
    project.clock = clock  # type: ignore[assignment] # it has the same methods
    project.send("put", "one", 1)
    project.dump()
    finish(project, *EXPORT)
    server.faults.set(latency_by_method_s=dict.fromkeys(SLOW, LATENCY_S))
    kills = recovered = 0
    for number in range(KILLS):
        project.send("put", "one", 100 + number)
        kills += killed(project, rng.uniform(0, 2.6), *IMPORT)
        recovered += recover(project)

        assert project.get("one") in (100 + number, 1)
        finish(project, *IMPORT)
        assert project.get("one") == 1
        for each in [*project.canister.snapshots][:-1]:
            del project.canister.snapshots[each]
    assert kills > KILLS / 2
    assert recovered > 0
    project.close()
