"""Locks: who may work beside whom, what is stale, and the fence."""

import json
import threading
from collections.abc import Iterator

import pytest

from dfx_backup.errors import LockedError
from dfx_backup.repository.forget import forget
from dfx_backup.repository.layout import ObjectKind, list_objects, object_name
from dfx_backup.repository.locks import RepositoryLock, is_stale, read_locks, remove_locks
from dfx_backup.repository.machine import Machine, rfc3339
from dfx_backup.repository.memory import MemoryStore
from dfx_backup.repository.prune import prune
from dfx_backup.repository.reading import reading
from dfx_backup.repository.store import StoreError
from tests.fakes.faulty_store import FOREVER, Fault, FaultyStore
from tests.fakes.repositories import (
    back_up,
    contents,
    new_repository,
    reopened,
    this_machine,
    wait_for,
)

NOW = 1_780_000_000.0


class World:
    """A repository, a clock that tests move, and what was said."""

    def __init__(self) -> None:
        self.now = NOW
        self.monotonic = 0.0
        self.dead: set[int] = set()
        self.said: list[str] = []
        self.memory = MemoryStore(clock=lambda: self.now)
        self.store = FaultyStore(self.memory)
        self.repository = new_repository(self.store, self.machine(7))

    def machine(self, pid: int, hostname: str = "here") -> Machine:
        return this_machine(
            hostname=hostname,
            pid=pid,
            clock=lambda: self.now,
            monotonic=lambda: self.monotonic,
            sleep=lambda seconds: self.sleep(seconds),  # noqa: PLW0108 - tests replace it
            alive=lambda pid: pid not in self.dead,
        )

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.monotonic += seconds

    def step(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.said.append(text)

    def lock(self, *, exclusive: bool = False, **options: float) -> RepositoryLock:
        return RepositoryLock(self.repository, exclusive=exclusive, progress=self, **options)

    def leave(
        self, pid: int, *, hostname: str = "here", exclusive: bool = False, **fields: object
    ) -> str:
        """A lock object of somebody else."""
        document = {
            "time": rfc3339(self.now),
            "exclusive": exclusive,
            "hostname": hostname,
            "username": "other",
            "pid": pid,
        }
        text = json.dumps(document | fields).encode()
        return self.repository.save_sealed(ObjectKind.LOCK, text)[0]

    def locks(self) -> list[str]:
        return [lock_id for lock_id, _ in list_objects(self.memory, ObjectKind.LOCK)]


@pytest.fixture
def world() -> Iterator[World]:
    yield World()
    assert not [each for each in threading.enumerate() if each.name == "repository-lock"]


def test_many_share_and_one_excludes(world: World) -> None:
    with world.lock(), world.lock():
        assert len(world.locks()) == 2
        with pytest.raises(LockedError, match="is locked by process 7 of tester@here, shared"):
            world.lock(exclusive=True).__enter__()
        assert len(world.locks()) == 2
    with world.lock(exclusive=True):
        for exclusive in (False, True):
            with pytest.raises(LockedError, match="exclusive") as caught:
                world.lock(exclusive=exclusive).__enter__()
            assert caught.value.exit_code == 11
    assert world.locks() == []


def test_a_lock_tells_who_and_when(world: World) -> None:
    with world.lock(exclusive=True) as lock:
        (found,) = read_locks(world.repository)
        assert found.lock_id == lock.lock_id
        assert (found.hostname, found.username, found.pid) == ("here", "tester", 7)
        assert found.exclusive
        assert found.time == NOW
        assert found.modified == NOW


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_dead_process_is_no_hindrance_and_said(world: World, exclusive: bool) -> None:  # noqa: FBT001
    world.dead.add(9)
    world.leave(9, exclusive=True)

    with world.lock(exclusive=exclusive):
        assert len(world.locks()) == 1
    assert len(world.said) == 1
    assert "process 9 of other@here, exclusive" in world.said[0]


def test_a_process_elsewhere_may_live(world: World) -> None:
    world.dead.add(9)
    world.leave(9, hostname="there", exclusive=True)

    with pytest.raises(LockedError, match="other@there"):
        world.lock().__enter__()
    world.sleep(1801)
    with world.lock():
        pass
    assert "other@there" in world.said[0]


def test_old_by_one_clock_alone_is_not_stale(world: World) -> None:
    world.leave(9, hostname="there", exclusive=True, time=rfc3339(NOW - 7200))

    with pytest.raises(LockedError):
        world.lock().__enter__()


@pytest.mark.parametrize("content", [b"", b"garbage", b"\0" * 200])
def test_a_lock_that_cannot_be_read_counts_until_it_is_old(world: World, content: bytes) -> None:
    world.memory.put(object_name(ObjectKind.LOCK, "ab" * 32), content)

    with pytest.raises(LockedError, match="somebody@an unknown machine"):
        world.lock().__enter__()
    world.sleep(1801)
    with world.lock():
        pass


def test_it_waits_as_long_as_it_is_told(world: World) -> None:
    world.leave(9, exclusive=True)

    with pytest.raises(LockedError):
        world.lock(wait_s=60).__enter__()

    assert 60 <= world.monotonic < 70
    assert [text for text in world.said if "waiting for process 9" in text]
    assert len(world.locks()) == 1


def test_it_goes_on_when_the_other_has_gone(world: World) -> None:
    other = world.leave(9, exclusive=True)
    before = world.sleep

    def sleep(seconds: float) -> None:
        before(seconds)
        if world.now > NOW + 5:
            world.memory.delete(object_name(ObjectKind.LOCK, other))

    world.sleep = sleep
    with world.lock(exclusive=True, wait_s=60):
        assert len(world.locks()) == 1


def test_of_two_at_the_same_time_one_sees_the_other(world: World) -> None:
    puts = []

    def before(operation: str, name: str) -> None:
        if operation == "put" and name.startswith("locks/") and not puts:
            puts.append(name)
            world.leave(9, exclusive=True)

    world.store.before = before

    with pytest.raises(LockedError, match="process 9"):
        world.lock(exclusive=True).__enter__()
    assert len(world.locks()) == 1


def test_a_refresh_replaces_the_lock(world: World) -> None:
    with world.lock() as lock:
        first = lock.lock_id
        world.sleep(1300)
        lock.refresh()
        assert world.locks() == [lock.lock_id] != [first]
        world.sleep(1300)
        lock.ensure()


def test_it_refreshes_itself(world: World) -> None:
    with world.lock(refresh_s=0.01) as lock:
        first = lock.lock_id
        wait_for(lambda: lock.lock_id != first)
        lock.ensure()


def test_the_fence_holds_when_the_lock_is_gone(world: World) -> None:
    with world.lock() as lock:
        lock.ensure()
        world.memory.delete(object_name(ObjectKind.LOCK, str(lock.lock_id)))
        lock.refresh()
        with pytest.raises(LockedError, match="was lost"):
            lock.ensure()
        assert world.locks() == []


@pytest.mark.parametrize("clock", ["now", "monotonic"])
def test_the_fence_holds_when_the_lock_is_old(world: World, clock: str) -> None:
    with world.lock() as lock:
        setattr(world, clock, getattr(world, clock) + 1351)
        with pytest.raises(LockedError, match="was lost"):
            lock.ensure()
        lock.refresh()
        with pytest.raises(LockedError, match="was lost"):
            lock.ensure()


def is_lock(name: str) -> bool:
    return name.startswith("locks/")


def test_a_lost_answer_is_settled_by_the_name(world: World) -> None:
    switch = world.store.add("put", Fault.LOST, match=is_lock)

    with world.lock() as lock:
        assert switch.hits == 1
        assert world.locks() == [lock.lock_id]
        lock.ensure()

    assert world.locks() == []


def test_a_lock_that_was_written_in_part_is_none(world: World) -> None:
    def before(operation: str, name: str) -> None:
        if operation == "size" and is_lock(name):
            world.memory.put(name, b"half")

    world.store.add("put", Fault.LOST, match=is_lock)
    world.store.before = before

    with pytest.raises(StoreError):
        world.lock().__enter__()
    assert world.locks() == []


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_lock_that_could_not_be_removed_is_not_in_our_own_way(
    world: World,
    exclusive: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Everything that follows a lost answer fails too: the lock stays, and is known to be ours."""
    world.store.add("put", Fault.LOST, match=is_lock)
    for operation in ("size", "delete"):
        world.store.add(operation, Fault.ERROR, match=is_lock)
    with pytest.raises(StoreError):
        world.lock(exclusive=exclusive).__enter__()
    assert len(world.locks()) == 1
    world.store.switches.clear()

    with pytest.raises(LockedError):  # for others it is a lock like any other
        RepositoryLock(
            reopened(world.store, world.machine(8)), exclusive=True, progress=world
        ).__enter__()
    with world.lock(exclusive=True):
        assert len(world.locks()) == 1
    assert world.locks() == []


def test_a_lock_that_a_refresh_left_goes_with_the_last_one(world: World) -> None:
    with world.lock() as lock:
        world.store.add("delete", Fault.ERROR, match=is_lock)
        lock.refresh()
        assert len(world.locks()) == 2
        assert any("could not be removed" in text for text in world.said)
        lock.ensure()
    assert world.locks() == []


def test_a_failed_refresh_keeps_the_old_lock(world: World) -> None:
    with world.lock(refresh_s=0.01) as lock:
        world.store.add("put", Fault.ERROR, match=lambda name: name.startswith("locks/"))
        wait_for(lambda: any("could not be refreshed" in text for text in world.said))
        lock.ensure()
    assert world.locks() == []


def test_unlock(world: World) -> None:
    world.dead.add(9)
    for pid in (8, 9):
        world.leave(pid)

    assert remove_locks(world.repository, world) == 1
    assert remove_locks(world.repository, world, every=True) == 1
    assert world.locks() == []
    assert len(world.said) == 2


def test_our_own_process_lives(world: World) -> None:
    world.dead.add(7)
    with world.lock():
        (found,) = read_locks(world.repository)
        assert not is_stale(found, world.machine(7))
        assert is_stale(found, world.machine(8))


def test_writers_share(world: World) -> None:
    with world.lock():
        back_up(world.repository, {"a.bin": b"x"})
    with world.lock(exclusive=True), pytest.raises(LockedError):
        back_up(reopened(world.store, world.machine(8)), {"b.bin": b"x"})


# -- reading --------------------------------------------------------------------------------------


def test_nobody_prunes_while_somebody_reads(world: World) -> None:
    back_up(world.repository, {"a.bin": b"x"})
    other = reopened(world.store, world.machine(8))

    with reading(world.repository, world):
        assert len(world.locks()) == 1
        with pytest.raises(LockedError, match="process 7"):
            prune(other)
    prune(other)
    assert world.locks() == []


def test_a_reader_waits_for_nobody_unless_told(world: World) -> None:
    world.leave(9, exclusive=True)

    with pytest.raises(LockedError), reading(world.repository, world):
        pass
    with pytest.raises(LockedError), reading(world.repository, world, wait_s=3):
        pass
    assert world.monotonic >= 3


def test_a_reader_learns_what_was_pruned_before(world: World) -> None:
    """What moved to another pack is found there."""
    kept = {"a.bin": b"kept" * 100}
    gone = back_up(world.repository, {"b.bin": b"gone" * 100, **kept})
    commit = back_up(world.repository, {**kept, "c.bin": b"more" * 100})
    reader = reopened(world.store, world.machine(8))
    with reading(reader, world):
        before = contents(reader, commit.snapshot_id)
    forget(world.repository, [gone.snapshot_id])
    assert prune(world.repository, max_unused=0, keep_younger_s=-1).packs_removed

    with reading(reader, world):
        assert contents(reader, commit.snapshot_id) == before


@pytest.mark.parametrize("stale", [False, True])
def test_a_store_that_refuses_a_lock_is_read_without_one_and_that_is_said(
    world: World,
    stale: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    commit = back_up(world.repository, {"a.bin": b"x"})
    if stale:
        world.dead.add(9)
        world.leave(9, exclusive=True)  # it can't be removed either
    world.store.add("write", Fault.ERROR, times=FOREVER)

    with reading(world.repository, world):
        assert contents(world.repository, commit.snapshot_id) == {"a.bin": b"x"}
    assert [text for text in world.said if "is read without a lock" in text]


def test_a_store_that_can_not_be_listed_is_no_case_for_that(world: World) -> None:
    world.store.add("list", Fault.ERROR, times=FOREVER)

    with pytest.raises(StoreError), reading(world.repository, world):
        pass
    assert world.said == []
