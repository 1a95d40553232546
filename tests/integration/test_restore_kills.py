"""Restores that are killed at random points: never a state that is neither old nor new."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfx_backup.replica.server import ReplicaServer
from dfx_backup.replica.state import RunState
from tests.fakes.killed_runs import LATENCY_S, METHODS, SharedClock, killed
from tests.fakes.restore_project import RestoreProject

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_keys")]

KILLS = 14


@pytest.fixture
def clock() -> SharedClock:
    return SharedClock()


@pytest.fixture
def project(tmp_path: Path, clock: SharedClock) -> Iterator[RestoreProject]:
    with ReplicaServer.start(clock_ns=clock.now_ns) as server:
        made = RestoreProject(server, tmp_path)
        made.clock = clock  # type: ignore[assignment] # it has the same methods
        yield made
        made.close()


def recover(project: RestoreProject) -> int:
    """Finish what was left; how many entries there were."""
    left = list((project.stage.state / "journal").glob("[!.]*.json"))
    if left:
        project.data("recover", "--all", "--yes")
    return len(left)


def clear(project: RestoreProject, *raws: bytes) -> None:
    for raw in raws:
        project.state_of(raw).snapshots.clear()


def test_one_canister(project: RestoreProject) -> None:
    rng = random.Random(7)
    project.write(b"old")
    backup = project.back_up()
    kills = recovered = 0
    project.server.faults.set(latency_by_method_s=dict.fromkeys(METHODS, LATENCY_S))
    for number in range(KILLS):
        new = b"new %d" % number
        project.write(new)
        kills += killed(project, rng.uniform(0, 1.7), "restore", backup, "--yes", env=project.env)
        recovered += recover(project)

        assert project.canister.status is RunState.RUNNING
        assert project.read() in (b"old", new)
        assert len(project.canister.snapshots) <= 2, "what was uploaded, and the safety snapshot"
        project.data("restore", backup, "--yes")
        assert project.read() == b"old"
        clear(project, project.snapshots.raw)
    assert kills > KILLS / 2
    assert recovered > 0


def test_a_set(project: RestoreProject) -> None:
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
        kills += killed(project, rng.uniform(1.0, 2.8), "restore", name, "--yes", env=project.env)
        recovered += recover(project)

        assert {project.state_of(raw).status for raw in raws} == {RunState.RUNNING}
        said = {project.read(raw) for raw in raws}
        assert said in ({b"old"}, {new}), "all or none"
        project.data("restore", name, "--yes")
        assert {project.read(raw) for raw in raws} == {b"old"}
        clear(project, *raws)
    assert kills > KILLS / 4
    assert recovered > 0
