"""A fault at each write of a backup, of a forget and of a prune: nothing committed is lost."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from dfx_backup.errors import BackupError
from dfx_backup.progress import SilentProgress
from dfx_backup.repository.check import check
from dfx_backup.repository.forget import forget
from dfx_backup.repository.local import LocalStore
from dfx_backup.repository.locks import remove_locks
from dfx_backup.repository.memory import MemoryStore
from dfx_backup.repository.prune import prune
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.subset import EVERYTHING
from tests.fakes.faulty_store import FOREVER, Fault, FaultyStore
from tests.fakes.repositories import (
    PAGE,
    Restic,
    back_up,
    contents,
    moved,
    new_repository,
    noise,
    pages,
)

FIRST = {"memory.bin": noise(1, 6) + pages(0, 0, 7), "chunks/a.bin": b"abc"}
SECOND = {"memory.bin": noise(1, 6)[: 3 * PAGE] + noise(2, 3), "chunks/a.bin": b"abd"}
THIRD = {"memory.bin": noise(3, 2)}
WRITE_FAULTS = [Fault.ERROR, Fault.SHORT, Fault.LOST, Fault.FULL]
MOST_WRITES = 60


class Base:
    """A repository with two backups, and copies of it."""

    def __init__(self) -> None:
        self.store = MemoryStore(clock=lambda: 0.0)  # all of it is old
        self.repository = new_repository(self.store)
        self.first = back_up(self.repository, FIRST).snapshot_id
        self.third = back_up(self.repository, THIRD).snapshot_id

    def copy(self) -> MemoryStore:
        store = MemoryStore()
        store.objects = dict(self.store.objects)
        return store


@pytest.fixture(scope="module")
def base() -> Base:
    return Base()


def proves_sound(repository: Repository, expected: dict[str, dict[str, bytes]]) -> None:
    """Locks aside, everything is there and is what it was."""
    remove_locks(repository, SilentProgress(), every=True)
    report = check(repository, read_data=EVERYTHING)
    assert report.error() is None, report.findings
    for snapshot_id, files in expected.items():
        assert contents(repository, snapshot_id) == files


@pytest.mark.parametrize("fault", WRITE_FAULTS)
@pytest.mark.parametrize("same_process", [True, False])
def test_a_backup_survives_a_fault_at_each_write(
    base: Base, fault: Fault, same_process: object
) -> None:
    for number in itertools.count(1):
        store = base.copy()
        faulty = FaultyStore(store)
        switch = faulty.add("write", fault, first=number)
        repository = moved(base.repository, faulty)
        expected = {base.first: FIRST, base.third: THIRD}
        try:
            expected[back_up(repository, SECOND).snapshot_id] = SECOND
        except BackupError:
            assert switch.hits == 1
        faulty.switches.clear()
        proves_sound(moved(base.repository, store), expected)
        again = repository if same_process else moved(base.repository, store)
        expected[back_up(again, SECOND).snapshot_id] = SECOND
        proves_sound(moved(base.repository, store), expected)
        if not switch.hits:
            break
    assert 6 <= number <= MOST_WRITES


@pytest.mark.parametrize("fault", WRITE_FAULTS)
def test_a_store_that_stays_broken_is_told_and_nothing_is_lost(base: Base, fault: Fault) -> None:
    for number in (1, 2, 3, 4):
        store = base.copy()
        faulty = FaultyStore(store)
        faulty.add("write", fault, first=number, times=FOREVER)
        repository = moved(base.repository, faulty)
        with pytest.raises(BackupError):
            back_up(repository, SECOND)
        proves_sound(moved(base.repository, store), {base.first: FIRST, base.third: THIRD})


@pytest.mark.parametrize("fault", WRITE_FAULTS)
@pytest.mark.parametrize("kind", ["data/", "index/", "snapshots/"])
def test_what_one_run_could_not_list_the_next_does_not_take_for_stored(
    base: Base, fault: Fault, kind: str
) -> None:
    store = base.copy()
    faulty = FaultyStore(store)
    faulty.add("put", fault, times=FOREVER, match=lambda name: name.startswith(kind))
    repository = moved(base.repository, faulty)
    with pytest.raises(BackupError):
        back_up(repository, SECOND)
    faulty.switches.clear()
    commit = back_up(repository, SECOND)
    proves_sound(moved(base.repository, store), {commit.snapshot_id: SECOND, base.first: FIRST})


def _forget(repository: Repository, base: Base) -> None:
    forget(repository, [base.third])


def _prune(repository: Repository, _base: Base) -> None:
    prune(repository, max_unused=0, keep_younger_s=0)


@pytest.mark.parametrize("fault", WRITE_FAULTS)
@pytest.mark.parametrize("work", [_forget, _prune])
def test_forget_and_prune_survive_a_fault_at_each_write(
    base: Base, fault: Fault, work: Callable[[Repository, Base], None]
) -> None:
    prepared = base.copy()
    repository = moved(base.repository, prepared)
    second = back_up(repository, SECOND).snapshot_id
    expected = {base.third: THIRD, second: SECOND}
    forget(repository, [base.first])
    if work is _forget:
        del expected[base.third]
    for number in itertools.count(1):
        store = MemoryStore()
        store.objects = dict(prepared.objects)
        faulty = FaultyStore(store)
        switch = faulty.add("write", fault, first=number)
        try:
            work(moved(base.repository, faulty), base)
        except BackupError:
            assert switch.hits == 1
        proves_sound(moved(base.repository, store), expected)
        after = moved(base.repository, store)
        work(after, base)
        proves_sound(moved(base.repository, store), expected)
        if work is _prune:
            assert all(path.partition("/")[0] != "locks" for path in store.objects)
            plan = prune(after, max_unused=0, keep_younger_s=0, dry_run=True).plan
            assert (plan.drop, plan.repack, plan.unused_bytes) == ((), (), 0)
        if not switch.hits:
            break
    assert number <= MOST_WRITES


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.SHORT, Fault.FLIP, Fault.LOST])
@pytest.mark.parametrize("operation", ["get", "get_range", "list"])
def test_a_read_that_fails_during_a_prune_costs_nothing(
    base: Base, fault: Fault, operation: str
) -> None:
    for number in range(1, 40):
        store = base.copy()
        forget(moved(base.repository, store), [base.third])
        faulty = FaultyStore(store)
        switch = faulty.add(operation, fault, first=number)
        try:
            prune(moved(base.repository, faulty), max_unused=0, keep_younger_s=0)
        except BackupError:
            assert switch.hits == 1
        proves_sound(moved(base.repository, store), {base.first: FIRST})
        if not switch.hits:
            break
    assert number < 39


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_stale_listing_never_costs_a_backup(base: Base, number: int) -> None:
    """Of a store whose listings come late, the packs of a day are left alone."""
    for prefix in ("data/", "index/", "snapshots/"):
        store = base.copy()
        faulty = FaultyStore(store)
        repository = moved(base.repository, faulty)
        for each in ("data/", "index/", "snapshots/"):
            list(faulty.list(each))
        second = back_up(moved(base.repository, store), SECOND).snapshot_id
        faulty.add(
            "list",
            Fault.STALE,
            first=number,
            times=FOREVER,
            match=lambda name, prefix=prefix: name == prefix,
        )
        try:
            prune(repository, max_unused=0)
        except BackupError as error:
            assert error.exit_code == 20  # noqa: PT017 - it may also go well
        proves_sound(moved(base.repository, store), {second: SECOND, base.first: FIRST})


@pytest.mark.slow
@pytest.mark.judge
@pytest.mark.parametrize("fault", WRITE_FAULTS)
def test_restic_finds_nothing_wrong_after_a_fault_at_each_write(
    fault: Fault, tmp_path: Path
) -> None:
    for number in itertools.count(1):
        root = tmp_path / str(number)
        inner = LocalStore(root)
        repository = new_repository(inner)
        first = back_up(repository, FIRST)
        faulty = FaultyStore(inner)
        switch = faulty.add("write", fault, first=number)
        try:
            back_up(moved(repository, faulty), SECOND)
            forget(moved(repository, faulty), [first.snapshot_id])
            prune(moved(repository, faulty), max_unused=0, keep_younger_s=0)
        except BackupError:
            assert switch.hits == 1
        judge = Restic(root, tmp_path / "home")
        judge.run("unlock", "--remove-all")
        judge.check("--read-data")
        if not switch.hits:
            break
    assert number <= MOST_WRITES
