"""Forget and prune: what goes, what stays, and when nothing is touched."""

from typing import Any

import pytest

from dfx_backup.errors import DamageError, LockedError, RefusedError
from dfx_backup.repository.check import check
from dfx_backup.repository.forget import forget
from dfx_backup.repository.layout import BlobKind, ObjectKind, list_objects, object_name
from dfx_backup.repository.memory import MemoryStore
from dfx_backup.repository.prune import prune
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.subset import EVERYTHING
from dfx_backup.repository.usage import MarkedIndex
from tests.fakes.faulty_store import Fault, FaultyStore
from tests.fakes.repositories import (
    PAGE,
    back_up,
    contents,
    new_repository,
    noise,
    reopened,
    this_machine,
)

DAY = 24 * 3600.0
FIRST = {"memory.bin": noise(1, 24), "chunks/a.bin": b"abc"}
SECOND = {"memory.bin": noise(1, 24)[: 12 * PAGE] + noise(2, 12)}
THIRD = {"memory.bin": noise(3, 8)}


class Ageing:
    """A store's clock that tests move."""

    def __init__(self) -> None:
        self.now = 1_780_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Ageing:
    return Ageing()


@pytest.fixture
def store(clock: Ageing) -> MemoryStore:
    return MemoryStore(clock=clock)


@pytest.fixture
def repository(store: MemoryStore) -> Repository:
    return new_repository(store)


def sound(repository: Repository) -> None:
    report = check(reopened(repository.store), read_data=EVERYTHING)
    assert report.findings == ()


def names(store: MemoryStore, kind: ObjectKind) -> set[str]:
    return {name for name in store.objects if name.startswith(f"{kind}/")}


def test_forget_removes_snapshot_objects_and_nothing_else(
    repository: Repository, store: MemoryStore
) -> None:
    first, second = back_up(repository, FIRST), back_up(repository, SECOND)
    before = set(store.objects)
    report = forget(repository, [first.snapshot_id, "0" * 64, first.snapshot_id])
    assert report.removed == (first.snapshot_id,)
    assert report.absent == ("0" * 64,)
    assert before - set(store.objects) == {object_name(ObjectKind.SNAPSHOT, first.snapshot_id)}
    assert [each.snapshot_id for each in repository.snapshots()] == [second.snapshot_id]


def test_forget_takes_whole_ids_only(repository: Repository) -> None:
    with pytest.raises(RefusedError):
        forget(repository, [back_up(repository, FIRST).snapshot_id[:8]])


def test_forget_and_prune_wait_for_nobody_who_works(repository: Repository) -> None:
    commit = back_up(repository, FIRST)
    with repository.lock(exclusive=False):
        with pytest.raises(LockedError):
            forget(repository, [commit.snapshot_id])
        with pytest.raises(LockedError):
            prune(repository)
        assert prune(repository, dry_run=True).dry_run
    with repository.lock(exclusive=True) as lock:
        assert forget(repository, [commit.snapshot_id], lock=lock).removed


def test_what_no_backup_needs_goes_after_a_day(
    repository: Repository, store: MemoryStore, clock: Ageing
) -> None:
    first, second = back_up(repository, FIRST), back_up(repository, SECOND)
    third = back_up(repository, THIRD)
    forget(repository, [first.snapshot_id, third.snapshot_id])
    packs = names(store, ObjectKind.DATA)
    young = prune(repository)
    assert (young.packs_removed, young.packs_written, young.plan.young) == (0, 0, 4)
    assert names(store, ObjectKind.DATA) == packs

    clock.now += DAY
    planned = prune(repository, dry_run=True)
    assert names(store, ObjectKind.DATA) == packs
    report = prune(repository)
    assert report.plan == planned.plan
    assert report.packs_removed == 4
    assert report.packs_written == 1
    assert report.backups == 1
    assert contents(repository, second.snapshot_id) == SECOND
    sound(repository)
    assert check(repository).packs == 3
    assert len(names(store, ObjectKind.INDEX)) == 1
    assert names(store, ObjectKind.LOCK) == set()
    again = prune(repository)
    assert (again.packs_removed, again.packs_written, again.index_written) == (0, 0, 0)


def test_a_little_waste_is_left_alone(repository: Repository, clock: Ageing) -> None:
    first = back_up(repository, {"m": noise(1, 40)})
    back_up(repository, {"m": noise(1, 40)[: 38 * PAGE]})
    forget(repository, [first.snapshot_id])
    clock.now += DAY
    report = prune(repository)
    assert report.plan.repack == ()
    assert prune(repository, max_unused=0).plan.repack != ()
    sound(repository)


def test_an_empty_repository_can_be_pruned(repository: Repository, clock: Ageing) -> None:
    prune(repository)
    commit = back_up(repository, FIRST)
    forget(repository, [commit.snapshot_id])
    clock.now += DAY
    prune(repository)
    assert check(repository).packs == 0
    back_up(repository, SECOND)
    sound(repository)


def test_a_blob_in_two_packs_stays_in_one(
    repository: Repository, store: MemoryStore, clock: Ageing
) -> None:
    apart = new_repository_like(repository)
    back_up(apart, FIRST)
    commit = back_up(repository, FIRST)
    store.objects |= apart.store.objects  # as two writers at the same time would leave it
    repository = reopened(store)
    clock.now += 2 * DAY
    report = prune(repository, max_unused=0)
    assert report.packs_removed >= 1
    assert contents(repository, commit.snapshot_id) == FIRST
    sound(repository)


def new_repository_like(repository: Repository) -> Repository:
    """The same repository in a store of its own, empty."""
    store = MemoryStore(clock=repository.store._clock)
    for name, entry in repository.store.objects.items():
        store.objects[name] = entry
    return reopened(store)


def test_packs_of_an_interrupted_run_go_after_a_day(
    repository: Repository, store: MemoryStore, clock: Ageing
) -> None:
    back_up(repository, FIRST)
    store.put("data/aa/" + "aa" * 32, b"half a pack")
    assert prune(repository).packs_removed == 0
    clock.now += DAY
    assert prune(repository).packs_removed == 1
    sound(repository)


def test_the_present_is_that_of_the_store(
    repository: Repository, store: MemoryStore, clock: Ageing
) -> None:
    commit = back_up(repository, FIRST)
    forget(repository, [commit.snapshot_id])
    fast = reopened(store, this_machine(clock=lambda: clock.now + 1000 * DAY))
    assert prune(fast).packs_removed == 0


def test_an_index_that_lists_packs_that_are_gone_and_unneeded_is_mended(
    repository: Repository, store: MemoryStore
) -> None:
    first = back_up(repository, FIRST)
    packs = names(store, ObjectKind.DATA)
    second = back_up(repository, THIRD)
    forget(repository, [first.snapshot_id])
    for name in packs:
        store.delete(name)
    assert check(repository).error() is not None
    report = prune(repository)
    assert (report.packs_removed, report.index_written) == (0, 1)
    assert contents(repository, second.snapshot_id) == THIRD
    sound(repository)


@pytest.mark.parametrize("what", ["pack", "pack size", "index", "snapshot", "tree", "page"])
def test_a_damaged_repository_is_not_pruned(
    repository: Repository, store: MemoryStore, clock: Ageing, what: str
) -> None:
    first, second = back_up(repository, FIRST), back_up(repository, SECOND)
    back_up(repository, THIRD)
    forget(repository, [first.snapshot_id])
    clock.now += DAY
    damage(repository, what, second.snapshot_id)
    before = dict(store.objects)
    with pytest.raises(DamageError):
        prune(reopened(store), max_unused=0)
    kept = {name: store.objects.get(name) for name in before}
    assert kept == before


def damage(repository: Repository, what: str, snapshot_id: str) -> None:
    store = repository.store
    tree = repository.snapshot(snapshot_id).tree
    place = repository.index.find(BlobKind.TREE, tree)
    tree_pack = object_name(ObjectKind.DATA, repository.index.pack_id(place.pack))
    page = repository.index.find(BlobKind.DATA, repository.tree(tree).find("memory.bin").content[0])
    page_pack = object_name(ObjectKind.DATA, repository.index.pack_id(page.pack))
    if what == "pack":
        store.delete(page_pack)
    elif what == "pack size":
        store.put(page_pack, store.get(page_pack)[:-1])
    elif what == "index":
        name = next(
            object_name(ObjectKind.INDEX, i) for i, _ in list_objects(store, ObjectKind.INDEX)
        )
        flip(store, name, 50)
    elif what == "snapshot":
        flip(store, object_name(ObjectKind.SNAPSHOT, snapshot_id), 50)
    elif what == "tree":
        flip(store, tree_pack, place.offset + 40)
    else:
        flip(store, page_pack, page.offset + 40)


def flip(store: MemoryStore, name: str, at: int) -> None:
    data, written = store.objects[name]
    store.objects[name] = (data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], written)


def test_a_lost_lock_ends_a_prune_before_anything_goes(
    repository: Repository, store: MemoryStore, clock: Ageing
) -> None:
    first, second = back_up(repository, FIRST), back_up(repository, SECOND)
    forget(repository, [first.snapshot_id])
    clock.now += DAY
    faulty = FaultyStore(store)

    def steal(operation: str, name: str) -> None:
        if (operation, name[:4]) == ("put", "data"):
            for lock in names(store, ObjectKind.LOCK):
                del store.objects[lock]

    faulty.before = steal
    before = set(store.objects)
    with pytest.raises(LockedError):
        prune(reopened(faulty))
    assert before <= set(store.objects)
    assert contents(reopened(store), second.snapshot_id) == SECOND


@pytest.mark.parametrize("kind", ["data/", "index/"])
def test_a_store_that_does_not_list_what_was_written_ends_a_prune(
    repository: Repository, store: MemoryStore, clock: Ageing, kind: str
) -> None:
    first, second = back_up(repository, FIRST), back_up(repository, SECOND)
    forget(repository, [first.snapshot_id])
    clock.now += DAY
    faulty = FaultyStore(store)
    faulty.add("list", Fault.STALE, first=2, times=100, match=lambda name: name == kind)
    before = set(store.objects)
    with pytest.raises(DamageError, match="does not list"):
        prune(reopened(faulty))
    assert before <= set(store.objects)
    assert contents(reopened(store), second.snapshot_id) == SECOND


def test_order_of_deletes(repository: Repository, store: MemoryStore, clock: Ageing) -> None:
    first = back_up(repository, FIRST)
    back_up(repository, SECOND)
    forget(repository, [first.snapshot_id])
    clock.now += DAY
    faulty = FaultyStore(store)
    prune(reopened(faulty))
    kinds = [
        (operation, name.partition("/")[0])
        for operation, name in faulty.log
        if operation in ("put", "delete") and not name.startswith("locks/")
    ]
    order = list(dict.fromkeys(kinds))
    assert order == [("put", "data"), ("put", "index"), ("delete", "index"), ("delete", "data")]
    assert kinds == sorted(kinds, key=order.index)


def test_a_needed_blob_that_is_left_out_ends_a_prune_before_anything_goes(
    repository: Repository, store: MemoryStore, clock: Ageing, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = back_up(repository, FIRST), back_up(repository, SECOND)
    forget(repository, [first.snapshot_id])
    clock.now += DAY
    keeps = MarkedIndex.keeps
    calls = iter(range(1000))

    def forgetful(index: MarkedIndex, *blob: Any) -> bool:
        return keeps(index, *blob) and next(calls) != 2

    monkeypatch.setattr(MarkedIndex, "keeps", forgetful)
    before = names(store, ObjectKind.DATA), names(store, ObjectKind.INDEX)
    with pytest.raises(DamageError, match="were written anew") as caught:
        prune(repository)
    assert caught.value.hint is not None
    assert "nothing was removed" in caught.value.hint
    assert names(store, ObjectKind.DATA) >= before[0]
    assert names(store, ObjectKind.INDEX) == before[1]
    assert contents(repository, second.snapshot_id) == SECOND
    monkeypatch.undo()
    clock.now += DAY
    prune(repository)
    assert contents(repository, second.snapshot_id) == SECOND
    sound(repository)
