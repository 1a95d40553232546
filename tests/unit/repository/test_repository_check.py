"""Check: damage is told as the backups and files that it hits."""

import pytest

from dfx_backup.errors import UsageError
from dfx_backup.repository.check import check
from dfx_backup.repository.findings import CheckReport, Sort
from dfx_backup.repository.layout import BlobKind, ObjectKind, list_objects, object_name
from dfx_backup.repository.memory import MemoryStore
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.subset import EVERYTHING, PackSubset
from dfx_backup.repository.writer import BackupMeta
from tests.fakes.faulty_store import Fault, FaultyStore
from tests.fakes.repositories import PAGE, back_up, new_repository, noise, reopened

SHARED = noise(1, 6)
FIRST = {"memory.bin": SHARED, "module.wasm": b"\0asm"}
SECOND = {"memory.bin": SHARED[: 4 * PAGE] + noise(2, 2), "chunks/c.bin": b"chunk"}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def repository(store: MemoryStore) -> Repository:
    return new_repository(store)


def pack_of(repository: Repository, snapshot_id: str, path: str, place: int) -> tuple[str, int]:
    """Name of the pack of a file's blob, and where in it the blob begins."""
    tree = repository.tree(repository.snapshot(snapshot_id).tree)
    found = repository.index.find(BlobKind.DATA, tree.find(path).content[place])
    return object_name(ObjectKind.DATA, repository.index.pack_id(found.pack)), found.offset


def tree_pack_of(repository: Repository, snapshot_id: str) -> tuple[str, int]:
    found = repository.index.find(BlobKind.TREE, repository.snapshot(snapshot_id).tree)
    return object_name(ObjectKind.DATA, repository.index.pack_id(found.pack)), found.offset


def flip(store: MemoryStore, name: str, at: int) -> None:
    data, written = store.objects[name]
    store.objects[name] = (data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], written)


def hits(report: CheckReport, sort: Sort) -> set[tuple[str, str]]:
    (finding,) = [each for each in report.findings if each.sort is sort]
    return {(hit.snapshot_id, hit.path) for hit in finding.hits}


def test_a_sound_repository(repository: Repository, store: MemoryStore) -> None:
    back_up(repository, FIRST)
    back_up(repository, SECOND)
    report = check(reopened(store))
    assert (report.findings, report.backups, report.packs, report.packs_read) == ((), 2, 4, 0)
    full = check(reopened(store), read_data=EVERYTHING)
    assert (full.findings, full.packs_read) == ((), 4)
    assert full.bytes_read == sum(info.size for _, info in list_objects(store, ObjectKind.DATA))
    assert full.error() is None


def test_an_empty_repository(repository: Repository) -> None:
    assert check(repository, read_data=EVERYTHING).findings == ()


def test_a_wrong_bit_in_a_page_is_seen_when_data_is_read(
    repository: Repository, store: MemoryStore
) -> None:
    first, second = back_up(repository, FIRST), back_up(repository, SECOND)
    name, offset = pack_of(repository, first.snapshot_id, "memory.bin", 1)
    flip(store, name, offset + 100)
    assert check(reopened(store)).findings == ()
    report = check(reopened(store), read_data=EVERYTHING)
    (finding,) = report.findings
    assert (finding.sort, finding.name) == (Sort.PACK, name)
    assert {(hit.snapshot_id, hit.path, hit.blobs) for hit in finding.hits} == {
        (first.snapshot_id, "memory.bin", 1),
        (second.snapshot_id, "memory.bin", 1),
    }
    assert set(report.damaged_backups) == {first.snapshot_id, second.snapshot_id}
    assert "2 of 2 backups are hit" in report.error().message
    assert report.error().exit_code == 20


def test_a_page_that_only_one_backup_has_spoils_that_one_alone(
    repository: Repository, store: MemoryStore
) -> None:
    back_up(repository, FIRST)
    second = back_up(repository, SECOND)
    name, offset = pack_of(repository, second.snapshot_id, "memory.bin", 5)
    flip(store, name, offset + 100)
    report = check(reopened(store), read_data=EVERYTHING)
    assert hits(report, Sort.PACK) == {(second.snapshot_id, "memory.bin")}


def test_a_missing_pack(repository: Repository, store: MemoryStore) -> None:
    first, second = back_up(repository, FIRST), back_up(repository, SECOND)
    name, _ = pack_of(repository, second.snapshot_id, "memory.bin", 5)
    store.delete(name)
    report = check(reopened(store))
    assert hits(report, Sort.PACK_MISSING) == {
        (second.snapshot_id, "memory.bin"),
        (second.snapshot_id, "chunks/c.bin"),
    }
    assert first.snapshot_id not in report.damaged_backups


def test_a_pack_of_a_wrong_size(repository: Repository, store: MemoryStore) -> None:
    first = back_up(repository, FIRST)
    name, _ = pack_of(repository, first.snapshot_id, "memory.bin", 0)
    store.put(name, store.get(name)[:-10])
    report = check(reopened(store), read_data=EVERYTHING)
    assert hits(report, Sort.PACK_SIZE) == {
        (first.snapshot_id, "memory.bin"),
        (first.snapshot_id, "module.wasm"),
    }


def test_a_missing_index_object(repository: Repository, store: MemoryStore) -> None:
    first = back_up(repository, FIRST)
    for index_id, _ in list(list_objects(store, ObjectKind.INDEX)):
        store.delete(object_name(ObjectKind.INDEX, index_id))
    report = check(reopened(store))
    assert hits(report, Sort.BLOB) == {(first.snapshot_id, "")}
    assert sum(each.sort is Sort.UNINDEXED for each in report.findings) == 2


def test_a_damaged_index_object(repository: Repository, store: MemoryStore) -> None:
    first = back_up(repository, FIRST)
    ((index_id, _),) = list_objects(store, ObjectKind.INDEX)
    flip(store, object_name(ObjectKind.INDEX, index_id), 30)
    report = check(reopened(store))
    assert Sort.INDEX in {each.sort for each in report.findings}
    assert report.damaged_backups == (first.snapshot_id,)


def test_a_damaged_tree(repository: Repository, store: MemoryStore) -> None:
    first, second = back_up(repository, FIRST), back_up(repository, SECOND)
    name, offset = tree_pack_of(repository, first.snapshot_id)
    flip(store, name, offset + 20)
    report = check(reopened(store))
    assert hits(report, Sort.TREE) == {(first.snapshot_id, "")}
    assert report.damaged_backups == (first.snapshot_id,)
    read = check(reopened(store), read_data=EVERYTHING)
    assert hits(read, Sort.PACK) == {(first.snapshot_id, "")}
    assert second.snapshot_id not in read.damaged_backups


def test_a_damaged_snapshot_object(repository: Repository, store: MemoryStore) -> None:
    first = back_up(repository, FIRST)
    back_up(repository, SECOND)
    flip(store, object_name(ObjectKind.SNAPSHOT, first.snapshot_id), 40)
    report = check(reopened(store))
    assert hits(report, Sort.SNAPSHOT) == {(first.snapshot_id, "")}
    assert report.backups == 2


def test_a_damaged_key_object(repository: Repository, store: MemoryStore) -> None:
    ((key_id, _),) = list_objects(store, ObjectKind.KEY)
    store.put(object_name(ObjectKind.KEY, key_id), b"{}")
    (finding,) = check(repository).findings
    assert finding.sort is Sort.KEY
    assert finding.hits == ()
    assert "no backup is hit" in check(repository).error().message


def test_a_damaged_pack_that_nobody_needs_hits_nobody(
    repository: Repository, store: MemoryStore
) -> None:
    first = back_up(repository, FIRST)
    name, offset = pack_of(repository, first.snapshot_id, "memory.bin", 0)
    store.delete(object_name(ObjectKind.SNAPSHOT, first.snapshot_id))
    flip(store, name, offset + 50)
    (finding,) = check(reopened(store), read_data=EVERYTHING).findings
    assert (finding.sort, finding.hits) == (Sort.PACK, ())


def test_a_pack_that_is_in_no_index_is_no_damage(
    repository: Repository, store: MemoryStore
) -> None:
    back_up(repository, FIRST)
    store.put("data/aa/" + "aa" * 32, b"x")
    report = check(reopened(store))
    assert [each.sort for each in report.findings] == [Sort.UNINDEXED]
    assert report.error() is None


@pytest.mark.parametrize("kind", ["data", "snapshots", "keys"])
def test_what_is_read_wrong_once_is_read_again(
    repository: Repository, store: MemoryStore, kind: str
) -> None:
    back_up(repository, FIRST)
    faulty = FaultyStore(store)
    repository = reopened(faulty)
    faulty.add("get", Fault.FLIP, match=lambda name: name.startswith(f"{kind}/"))
    report = check(repository, read_data=EVERYTHING)
    assert [each.sort for each in report.findings] == [Sort.UNSTABLE]
    assert report.error() is None


def test_files_whose_size_is_not_that_of_their_pages(
    repository: Repository, store: MemoryStore
) -> None:
    with repository.writer() as writer:
        writer.add("memory.bin", noise(1, 1))
        writer._sizes["memory.bin"] = PAGE + 1
        commit = writer.commit(BackupMeta(hostname="h", paths=("/p",), time=1.0))
    report = check(reopened(store))
    assert hits(report, Sort.TREE) == {(commit.snapshot_id, "memory.bin")}


@pytest.mark.parametrize(
    ("text", "subset"),
    [
        ("1/7", PackSubset(part=(1, 7))),
        ("7/7", PackSubset(part=(7, 7))),
        ("2.5%", PackSubset(percent=2.5)),
        ("100%", PackSubset(percent=100)),
        ("10G", PackSubset(size=10 << 30)),
        ("5M", PackSubset(size=5 << 20)),
    ],
)
def test_parts_of_the_data(text: str, subset: PackSubset) -> None:
    assert PackSubset.parse(text) == subset


@pytest.mark.parametrize("text", ["", "0/7", "8/7", "0%", "101%", "10", "0G", "-1%", "1/7/2", "G"])
def test_what_is_no_part_of_the_data(text: str) -> None:
    with pytest.raises(UsageError):
        PackSubset.parse(text)


def test_all_parts_together_are_all_packs_once() -> None:
    packs = {f"{number * 2654435761 % 2**32:08x}" + "0" * 56: 10 for number in range(100)}
    parts = [PackSubset(part=(n, 7)).choose(packs, b"") for n in range(1, 8)]
    assert sorted(each for part in parts for each in part) == sorted(packs)
    assert all(parts)


def test_samples_are_of_the_size_that_was_asked_for() -> None:
    packs = {f"{number:064x}": 10 for number in range(100)}
    assert len(PackSubset(percent=25).choose(packs, b"a")) == 25
    assert len(PackSubset(percent=0.001).choose(packs, b"a")) == 1
    assert len(PackSubset(size=95).choose(packs, b"a")) == 10
    assert len(PackSubset(size=10**9).choose(packs, b"a")) == 100
    assert PackSubset(percent=25).choose(packs, b"a") != PackSubset(percent=25).choose(packs, b"b")
    assert PackSubset(percent=25).choose({}, b"a") == ()


def test_a_subset_reads_only_that(repository: Repository, store: MemoryStore) -> None:
    for number in range(5):
        back_up(repository, {"m": noise(number + 10, 1)})
    report = check(reopened(store), read_data=PackSubset(percent=30))
    assert report.packs == 10
    assert report.packs_read == 3
