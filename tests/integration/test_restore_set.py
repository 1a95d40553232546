"""`restore set:…`, typed at a real replica: all canisters are restored, or none."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.replica.faults import RejectFault
from dfx_backup.replica.server import ReplicaServer
from dfx_backup.replica.state import RunState
from tests.fakes.restore_project import RestoreProject, await_calls, start

pytestmark = pytest.mark.usefixtures("quick_keys")
DELEGATION = True


@dataclass
class Pair:
    """Two canisters, a set of their old states, and their new ones."""

    project: RestoreProject
    first: bytes
    second: bytes
    set_id: str

    @property
    def said(self) -> tuple[bytes, bytes]:
        return self.project.read(self.first), self.project.read(self.second)

    @property
    def run(self) -> bool:
        states = {self.project.state_of(each).status for each in (self.first, self.second)}
        return states == {RunState.RUNNING}

    def refuse_loads(self, *, times: int, skip: int = 1) -> None:
        fault = RejectFault(
            reject_code=5, error_code="IC0408", message="no", times=times, skip=skip
        )
        self.project.server.faults.set(reject={"load_canister_snapshot": fault})


@pytest.fixture
def pair(server: ReplicaServer, tmp_path: Path) -> Iterator[Pair]:
    project = RestoreProject(server, tmp_path)
    first = project.snapshots.raw
    second, other = project.another()
    for raw, text in ((first, b"old 1"), (second, b"old 2")):
        project.write(text, raw)
    set_id = project.back_up_set(project.canister_id, other)
    for raw, text in ((first, b"new 1"), (second, b"new 2")):
        project.write(text, raw)
    yield Pair(project, first, second, set_id)
    project.close()


OLD, NEW = (b"old 1", b"old 2"), (b"new 1", b"new 2")


def error(told: Any) -> str:
    return " ".join(f"{each['code']}: {each['message']} {each['hint']}" for each in told["errors"])


def test_all_are_restored(pair: Pair) -> None:
    plan = pair.project.data("restore", f"set:{pair.set_id[:8]}", "--dry-run")
    assert len(plan["plans"]) == 2
    assert pair.said == NEW

    told = pair.project.data("restore", f"set:{pair.set_id[:8]}", "--yes")

    assert pair.said == OLD
    assert pair.run
    assert len(told["restored"]) == 2
    for raw, each in zip((pair.first, pair.second), told["restored"], strict=True):
        [safety] = pair.project.state_of(raw).snapshots
        assert each["safety_snapshot_id"] == safety.hex()


def test_an_incomplete_set_is_refused(pair: Pair) -> None:
    _, third = pair.project.another()
    set_id = pair.project.back_up_set(pair.project.canister_id, third, lacks=1)

    told = pair.project.data("restore", f"set:{set_id}", "--yes", code=60)

    assert third in error(told)
    assert pair.said == NEW


@pytest.mark.parametrize("words", [("--to", "note"), ("--check", "/bin/true", "--rollback")])
def test_words_that_a_set_does_not_take(pair: Pair, words: tuple[str, ...]) -> None:
    pair.project.data("restore", f"set:{pair.set_id}", "--yes", *words, code=2)


def test_when_the_second_load_fails_all_are_as_before(pair: Pair) -> None:
    pair.refuse_loads(times=1)

    told = pair.project.data("restore", f"set:{pair.set_id}", "--yes", code=50)

    assert pair.said == NEW
    assert pair.run
    assert "what was uploaded is kept" in error(told)
    pair.project.server.faults.reset()
    done = pair.project.data("restore", f"set:{pair.set_id}", "--yes")
    assert pair.said == OLD
    assert [each["sent_bytes"] for each in done["restored"]] == [0, 0]


def test_when_going_back_fails_too_all_stay_stopped_until_recovered(pair: Pair) -> None:
    pair.refuse_loads(times=-1)

    told = pair.project.data("restore", f"set:{pair.set_id}", "--yes", code=4)

    assert "partly restored" in error(told)
    assert "recover" in error(told)
    for raw in (pair.first, pair.second):
        assert pair.project.state_of(raw).status is RunState.STOPPED
    refused = pair.project.data("restore", f"set:{pair.set_id}", "--yes", code=60)
    assert "recover" in error(refused)
    pair.project.data("recover", "note", code=4)
    assert not pair.run
    pair.project.server.faults.reset()

    pair.project.data("recover", "--all")

    assert pair.said == NEW
    assert pair.run
    pair.project.data("restore", f"set:{pair.set_id}", "--yes")
    assert pair.said == OLD


def test_a_signal_between_loads_brings_all_back(pair: Pair) -> None:
    pair.project.server.faults.set(latency_by_method_s={"load_canister_snapshot": 1.0})
    process = start(pair.project, "restore", f"set:{pair.set_id}", "--yes")
    await_calls(pair.project, process, "load_canister_snapshot", 1)
    os.kill(process.pid, signal.SIGINT)
    told, _ = process.communicate(timeout=30)

    assert process.returncode == 130, told
    assert pair.run
    assert pair.said == NEW


def test_killed_between_loads_and_recovered(pair: Pair) -> None:
    latency = {"load_canister_snapshot": 1.5}
    pair.project.server.faults.set(latency_by_method_s=latency)
    process = start(pair.project, "restore", f"set:{pair.set_id}", "--yes")
    await_calls(pair.project, process, "load_canister_snapshot", 2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    pair.project.server.faults.reset()
    assert not pair.run

    told = pair.project.data("recover", "note")

    assert len(told["recovered"]) == 2
    assert pair.run
    assert pair.said in (OLD, NEW)
    assert not list((pair.project.stage.state / "journal").glob("*.json"))


def test_lists_tell_that_a_set_lacks_a_backup(pair: Pair) -> None:
    _, third = pair.project.another()
    set_id = pair.project.back_up_set(pair.project.canister_id, third, lacks=1)

    told = pair.project.data("list")

    assert [each["set_lacks"] for each in told["backups"]] == [[], [], [third]]
    assert any(set_id[:8] in each and third in each for each in told["warnings"])
    assert pair.project.run_text("show", told["backups"][-1]["backup_id"]) == 0
    assert f"{set_id}; it lacks {third}" in pair.project.text
