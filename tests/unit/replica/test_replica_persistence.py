import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dfx_backup.replica.memory import BlobStore
from dfx_backup.replica.persistence import StateDirectory
from dfx_backup.replica.replica import Replica
from dfx_backup.replica.state import LogRecord, RunState, Snapshot, Visibility
from tests.fakes.wat_canisters import (
    GROW,
    STABLE_GROW,
    STABLE_WRITE,
    WRITE,
    proxy,
    proxy_order,
    scribe,
    scribe_order,
)

USER = b"\x04"
PAGE = 65_536


def opened(path: Path) -> Replica:
    return Replica(state_dir=path, cache_dir=path.parent / "cache")


def forsake(replica: Replica) -> None:
    """What a kill leaves: no checkpoint, and the lock is free."""
    directory = replica._directory
    assert directory is not None
    directory.is_closed = True
    os.close(directory._lock)


def test_everything_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "state"
    replica = opened(path)
    canister_id = replica.create_canister(controllers=[USER, b"other"], cycles=5 * 10**12)
    replica.install(canister_id, scribe(is_64=True))
    for order in (scribe_order(STABLE_GROW, 3), scribe_order(STABLE_WRITE, 9, b"stable")):
        replica.ingress(USER, canister_id, "run", order).get()
    state = replica.canisters[canister_id]
    state.settings.snapshot_visibility = Visibility(kind="allowed_viewers", viewers=(b"v",))
    state.settings.environment_variables = (("a", "b"),)
    state.chunks[b"\x11" * 32] = b"chunk"
    state.logs.append(LogRecord(index=0, timestamp=1, content=b"line"))
    assert state.module is not None
    state.snapshots[b"s"] = Snapshot(
        id=b"s",
        source="metadata_upload",
        taken_at=7,
        canister_version=2,
        module=replica.blobs.from_bytes(state.module.raw),
        heap=state.heap.clone(),
        stable=state.stable.clone(),
        globals=list(state.globals),
        certified_data=b"",
        global_timer=None,
        hook_status=None,
    )
    replica.commit()
    replica.stop(canister_id, lambda _result, _refund: None)
    before = (state.settings, state.globals, state.version, state.cycles, state.controllers)
    for leave in (Replica.close, forsake):
        leave(replica)
        replica = opened(path)
        back = replica.canisters[canister_id]
        assert back.status is RunState.STOPPED
        after = (back.settings, back.globals, back.version, back.cycles, back.controllers)
        assert after == before
        assert back.stable.read(9, 6) == b"stable"
        assert back.stable.size == 3 * PAGE
        assert back.chunks == {b"\x11" * 32: b"chunk"}
        assert back.module == state.module
        assert back.snapshots[b"s"].stable.read(9, 6) == b"stable"
        assert back.snapshots[b"s"].global_timer is None
        assert back.logs == state.logs
    replica.start(canister_id)
    replica.ingress(USER, canister_id, "run", scribe_order(WRITE, 9000, b"on")).get()
    assert replica.create_canister(controllers=[]) != canister_id
    replica.close()


def test_the_queue_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "state"
    replica = opened(path)
    a, b = (replica.create_canister(controllers=[USER]) for _ in range(2))
    for each in (a, b):
        replica.install(each, proxy())
    replica._host.limits = type(replica.limits)(messages_per_drain=0)
    order = proxy_order(b, "echo", b"late")
    assert not replica.ingress(USER, a, "forward", order, request_id=b"id", memo=b"mine").is_done
    forsake(replica)
    replica = opened(path)
    (earlier,) = replica.earlier
    assert (earlier.memo, earlier.finished_ns) == (b"mine", 0)
    assert not earlier.outcome.is_done
    replica.tick()
    assert (earlier.outcome.request_id, earlier.outcome.reply) == (b"id", bytes(8) + b"late")
    replica.close()


def test_answers_are_remembered_while_a_message_may_be_sent_again(tmp_path: Path) -> None:
    path, clock = tmp_path / "state", [10**18]
    replica = Replica(state_dir=path, now_ns=lambda: clock[0])
    canister_id = replica.create_canister(controllers=[USER])
    replica.install(canister_id, proxy())

    def say(number: bytes, method: str = "echo", size: int = 3) -> None:
        replica.ingress(USER, canister_id, method, bytes(size), request_id=number, memo=b"m")

    say(b"\1")
    clock[0] += 200 * 10**9
    say(b"\2", size=5000)
    say(b"\3", method="missing")
    replica.ingress(USER, canister_id, "echo", b"", request_id=b"\4")
    forsake(replica)
    replica = Replica(state_dir=path, now_ns=lambda: clock[0])
    found = {each.outcome.request_id: each.outcome for each in replica.earlier}
    assert found.keys() == {b"\1", b"\2", b"\3"}
    assert found[b"\1"].get() == bytes(3)
    assert not found[b"\2"].is_done
    assert found[b"\3"].reject is not None
    assert found[b"\3"].reject.error_code == "IC0536"
    clock[0] += 170 * 10**9
    say(b"\5")
    replica.close()
    replica = Replica(state_dir=path, now_ns=lambda: clock[0])
    assert [each.outcome.request_id for each in replica.earlier] == [b"\2", b"\3", b"\5"]
    replica.close()


def test_a_message_that_was_not_committed_is_undone(tmp_path: Path) -> None:
    path = tmp_path / "state"
    replica = opened(path)
    canister_id = replica.create_canister(controllers=[USER])
    replica.install(canister_id, scribe(is_64=False))
    replica.ingress(USER, canister_id, "run", scribe_order(STABLE_GROW, 1)).get()
    replica.ingress(USER, canister_id, "run", scribe_order(STABLE_WRITE, 0, b"a" * 5000)).get()
    stable = replica.canisters[canister_id].stable
    stable.write(4000, b"b" * 9000)  # no commit follows
    stable.resize(9 * PAGE)
    forsake(replica)
    replica = opened(path)
    stable = replica.canisters[canister_id].stable
    assert stable.size == PAGE
    assert stable.read(0, PAGE) == b"a" * 5000 + bytes(PAGE - 5000)
    replica.close()


@pytest.mark.parametrize("is_64", [False, True])
def test_the_last_message_may_have_grown_the_heap(tmp_path: Path, is_64: bool) -> None:  # noqa: FBT001 - a parameter
    path = tmp_path / "state"
    replica = opened(path)
    canister_id = replica.create_canister(controllers=[USER])
    replica.install(canister_id, scribe(is_64=is_64))
    replica.ingress(USER, canister_id, "run", scribe_order(GROW, 3)).get()
    forsake(replica)
    replica = opened(path)
    assert replica.canisters[canister_id].heap.size == 5 * PAGE
    replica.close()


def test_a_torn_record_counts_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state"
    replica = opened(path)
    canister_id = replica.create_canister(controllers=[USER])
    replica.install(canister_id, scribe(is_64=False))
    replica.ingress(USER, canister_id, "run", scribe_order(WRITE, 70_000, b"first")).get()
    whole = (path / "journal").stat().st_size
    # the last record is torn before its pages reach the blob
    heap = replica.canisters[canister_id].heap
    pages = heap.read(0, heap.size)
    replica.ingress(USER, canister_id, "run", scribe_order(WRITE, 70_000, b"other")).get()
    forsake(replica)
    heap.put(0, memoryview(pages))
    os.truncate(path / "journal", (path / "journal").stat().st_size - 1)
    assert (path / "journal").stat().st_size > whole
    replica = opened(path)
    assert replica.canisters[canister_id].heap.read(70_000, 5) == b"first"
    assert replica.canisters[canister_id].version == 2
    replica.close()


def test_a_whole_record_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "state"
    replica = opened(path)
    canister_id = replica.create_canister(controllers=[USER])
    replica.install(canister_id, scribe(is_64=False))
    heap = replica.canisters[canister_id].heap
    pages = heap.read(0, heap.size)
    replica.ingress(USER, canister_id, "run", scribe_order(WRITE, 70_000, b"other")).get()
    forsake(replica)
    heap.put(0, memoryview(pages))  # as if the kill came between the journal and the blob
    replica = opened(path)
    assert replica.canisters[canister_id].heap.read(70_000, 5) == b"other"
    replica.close()


def test_one_replica_a_directory(tmp_path: Path) -> None:
    replica = opened(tmp_path / "state")
    with pytest.raises(OSError, match="another replica"):
        opened(tmp_path / "state")
    replica.close()
    opened(tmp_path / "state").close()


def test_leftovers_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "state"
    replica = opened(path)
    canister_id = replica.create_canister(controllers=[USER])
    for _ in range(12):
        replica.install(canister_id, scribe(is_64=False), mode="reinstall")
    replica.close()
    assert len(list((path / "blobs").iterdir())) == 2
    (path / "blobs" / "999").write_bytes(b"orphan")
    opened(path).close()
    assert sorted(each.name for each in (path / "blobs").iterdir() if each.name == "999") == []


def test_stable_memory_is_sparse_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "state"
    replica = opened(path)
    canister_id = replica.create_canister(controllers=[USER])
    replica.install(canister_id, scribe(is_64=False))
    replica.ingress(USER, canister_id, "run", scribe_order(STABLE_GROW, 32_768)).get()
    replica.ingress(USER, canister_id, "run", scribe_order(STABLE_WRITE, 1 << 30, b"x")).get()
    copy = replica.canisters[canister_id].stable.clone()
    assert (copy.size, copy.read(1 << 30, 1)) == (2 << 30, b"x")
    assert sum(each.stat().st_blocks * 512 for each in (path / "blobs").iterdir()) < 1 << 22
    replica.close()


def test_a_hole_is_restored_as_a_hole(tmp_path: Path) -> None:
    for store in (BlobStore(), StateDirectory(tmp_path / "state")):
        blob = store.new(1 << 20)
        blob.write(0, b"start")
        store.commit([], {})
        blob.write(300_000, b"y" * 300_000)
        blob.write(2, b"zz")
        store.rollback()
        assert blob.read(0, 1 << 20) == b"start" + bytes((1 << 20) - 5)
        assert list(blob.data_ranges()) == [(0, 4096)]


WRITER = """
import sys
from pathlib import Path
from dfx_backup.replica.replica import Replica
from tests.fakes.wat_canisters import *
path = Path(sys.argv[1])
replica = Replica(state_dir=path, cache_dir=path.parent / "cache")
(canister_id,) = replica.canisters
number = 0
while True:
    number += 1
    text = b"%08d" % number
    replica.ingress(b"\\x04", canister_id, "run", scribe_order(WRITE, 70_000, text * 3000)).get()
    replica.ingress(b"\\x04", canister_id, "run", scribe_order(STABLE_WRITE, 0, text * 3000)).get()
    print(number, flush=True)
"""


def test_a_killed_process_leaves_whole_messages(tmp_path: Path) -> None:
    path = tmp_path / "state"
    replica = opened(path)
    canister_id = replica.create_canister(controllers=[USER])
    replica.install(canister_id, scribe(is_64=False))
    replica.ingress(USER, canister_id, "run", scribe_order(STABLE_GROW, 1)).get()
    replica.close()
    for round_ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(0.05 + round_ * 0.013)
            child.send_signal(signal.SIGKILL)
            told = [int(line) for line in child.stdout.read().split("\n")[:-1] if line]
        replica = opened(path)
        state = replica.canisters[canister_id]
        heap, stable = state.heap.read(70_000, 24_000), state.stable.read(0, 24_000)
        assert heap == heap[:8] * 3000
        assert stable == stable[:8] * 3000
        assert int(heap[:8]) - int(stable[:8]) in (0, 1)
        assert int(stable[:8]) >= max(told, default=1)
        replica.close()
