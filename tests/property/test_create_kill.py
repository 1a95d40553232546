"""kill -9 at any moment of `create`: the canisters run, nothing committed is lost, and one more run
brings what was taken into the repository."""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfx_backup.repository import keys
from tests.fakes.backup_project import READ, BackupProject, scattered
from tests.fakes.transfer_project import HastyClock

SLOW_STEPS = {
    "stop_canister": 0.1,
    "take_canister_snapshot": 0.1,
    "start_canister": 0.1,
    READ: 0.05,
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BackupProject]:
    monkeypatch.setattr(keys, "SCRYPT_N", 1 << 10)
    with BackupProject.start(tmp_path) as made:
        yield made


class LateClock(HastyClock):
    """Of somebody who comes when everything that was sent has expired."""

    def now(self) -> float:
        return super().now() + 70


class Story:
    """Kills at moments that a seed chooses, and what must be true after each."""

    def __init__(self, project: BackupProject, names: tuple[str, ...], seed: int) -> None:
        self.project = project
        self.names = names
        self.chance = random.Random(seed)
        self.committed: set[str] = set()
        self.seen: set[str] = set()

    def strike(self, number: int) -> None:
        project = self.project
        for name in self.names:
            project.fill(name, scattered(number, 60, every=7), pages=100)
        held = {name: project.stable(name) for name in self.names}
        project.server.faults.set(latency_by_method_s=SLOW_STEPS)
        process = project.process("create", *self.names, "--concurrency", "2")
        before = project.calls("canister_status")
        while project.calls("canister_status") == before and process.poll() is None:
            time.sleep(0.005)
        time.sleep(self.chance.uniform(0, 1.6))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        project.server.faults.set(latency_by_method_s={})
        time.sleep(0.3)  # what is on its way executes before the clock says that it has expired
        self.seen.add(self.where())
        self.recovered()
        now = {each.snapshot_id for each in project.repository.snapshots()}
        assert self.committed <= now
        project.envelope("create", *self.names)
        self.proved(held)

    def where(self) -> str:
        if self.project.state_files("journal"):
            return "held"
        return "unfinished" if self.project.state_files("unfinished") else "else"

    def recovered(self) -> None:
        """A canister that is down is told of by every command, and `recover` brings it back."""
        project = self.project
        if project.state_files("journal"):
            hasty, project.clock = project.clock, LateClock()
            code, told = project.run("recover", "--all", "--yes")
            project.clock = hasty
            assert code == 0, told
        assert all(project.is_running(name) for name in self.names)
        assert project.state_files("journal") == []

    def proved(self, held: dict[str, bytes]) -> None:
        project = self.project
        assert all(project.is_running(name) for name in self.names)
        assert project.state_files("unfinished") == []
        newest = {}
        for each in project.repository.snapshots():
            newest[each.paths[0].removeprefix("/")] = each.snapshot_id
        for name, content in held.items():
            files = project.files(newest[project.id(name)])
            assert files["stable_memory.bin"] == content
        self.committed = {each.snapshot_id for each in project.repository.snapshots()}


@pytest.mark.judge
def test_a_few_kills(project: BackupProject) -> None:
    story = Story(project, ("note",), 5)
    for number in range(3):
        story.strike(number)
    project.judge().check("--read-data")


@pytest.mark.slow
@pytest.mark.judge
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(2))
def test_many_kills(project: BackupProject, seed: int) -> None:
    project.add("ledger")
    story = Story(project, ("note", "ledger"), seed)
    for number in range(10):
        story.strike(number)
    assert {"held", "unfinished"} <= story.seen
    project.judge().run("unlock")
    project.judge().check("--read-data")
