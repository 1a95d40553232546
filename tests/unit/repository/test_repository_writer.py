"""Writing and reading backups: order, holes, dedup, the fence, and what a failed run leaves."""

import hashlib
import os
import random
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from dfx_backup.errors import BackupError, DamageError, LockedError
from dfx_backup.repository import pack_writer, reader
from dfx_backup.repository.contents import ContentBuilder, ContentTable
from dfx_backup.repository.keys import Password
from dfx_backup.repository.layout import BlobKind, ObjectKind, list_objects, object_name
from dfx_backup.repository.local import LocalStore
from dfx_backup.repository.memory import MemoryStore
from dfx_backup.repository.reader import Reader
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.store import StoreError
from dfx_backup.repository.trees import Node
from dfx_backup.repository.writer import BackupMeta, Commit, Writer
from tests.fakes.faulty_store import FOREVER, Fault, FaultyStore
from tests.fakes.repositories import (
    PAGE,
    back_up,
    contents,
    new_repository,
    noise,
    pages,
    reopened,
    this_machine,
)

META = BackupMeta(hostname="local", paths=("/aaaaa-aa",), time=1_780_000_000.0)
NAME = "stable_memory.bin"


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore())


@pytest.fixture
def repository(store: FaultyStore) -> Repository:
    return new_repository(store)


def node_of(repository: Repository, commit: Commit, name: str = NAME) -> Node:
    found = repository.tree(commit.tree).find(name)
    assert found is not None
    return found


def table(ids: list[bytes]) -> ContentTable:
    builder = ContentBuilder()
    builder.feed(b"".join(ids))
    return builder.finish()


def names(store: FaultyStore, kind: ObjectKind) -> set[str]:
    return {info.name for _, info in list_objects(store.inner, kind)}


def restored(repository: Repository, node: Node, path: Path) -> bytes:
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        repository.reader().restore_file(node, handle)
    finally:
        os.close(handle)
    return path.read_bytes()


@pytest.mark.parametrize("whole_hash", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_slices_in_any_order_from_many_threads(
    repository: Repository,
    tmp_path: Path,
    seed: int,
    whole_hash: bool,  # noqa: FBT001 - a parameter
) -> None:
    rng = random.Random(seed)
    data = noise(seed, 20) + pages(0, 0, 0, 5, 5, 0, 6) + noise(9, 3) + b"the tail"
    slices = list(range(0, len(data), 3 * PAGE))
    rng.shuffle(slices)
    with repository.writer() as writer:
        file = writer.file(NAME, len(data), whole_hash=whole_hash)
        lock = threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    if not slices:
                        return
                    offset = slices.pop()
                file.write(offset, data[offset : offset + 3 * PAGE])

        threads = [threading.Thread(target=work) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        record = file.finish()
        commit = writer.commit(META)

    assert record.sha256 == (hashlib.sha256(data).hexdigest() if whole_hash else None)
    again = reopened(repository.store)
    node = node_of(again, commit)
    assert node.size == len(data)
    assert node.content is not None
    assert record.content_sha256 == node.content.sha256()
    assert restored(again, node, tmp_path / "out") == data
    assert commit.stats.raw_bytes == len(data)
    assert commit.stats.new_blobs == len(set(node.content)) + 1


def test_what_is_skipped_is_zeros_and_a_hole(repository: Repository, tmp_path: Path) -> None:
    size = 300 * PAGE + 5
    with repository.writer() as writer:
        file = writer.file(NAME, size)
        file.skip(0, 100 * PAGE)
        file.write(100 * PAGE, pages(7))
        file.skip(101 * PAGE, 99 * PAGE)
        file.skip(200 * PAGE, 100 * PAGE + 5)
        record = file.finish()
        commit = writer.commit(META)

    expected = bytes(100 * PAGE) + pages(7) + bytes(199 * PAGE + 5)
    assert record.sha256 == hashlib.sha256(expected).hexdigest()
    node = node_of(repository, commit)
    assert restored(repository, node, tmp_path / "out") == expected
    assert (tmp_path / "out").stat().st_blocks * 512 <= 4 * PAGE
    assert list(repository.reader().data_ranges(node)) == [(100 * PAGE, 101 * PAGE)]
    assert commit.stats.new_blobs == 4  # the page, zeros, the shorter zeros at the end, the tree


def test_an_empty_backup_and_empty_files(repository: Repository) -> None:
    first = back_up(repository, {})
    second = back_up(repository, {"wasm_memory.bin": b"", "d/e/f.bin": b"x"})

    assert contents(repository, first.snapshot_id) == {}
    assert contents(repository, second.snapshot_id) == {"wasm_memory.bin": b"", "d/e/f.bin": b"x"}


def test_directories(repository: Repository) -> None:
    files = {"a.bin": b"1", "chunks/b.bin": b"2", "chunks/a.bin": b"3", "Z/y/x.bin": b"4"}
    with repository.writer() as writer:
        commit = writer.commit(META, files)

    assert contents(repository, commit.snapshot_id) == files
    tree = repository.tree(commit.tree)
    assert [node.name for node in tree.nodes] == ["Z", "a.bin", "chunks"]
    assert [node.type for node in tree.nodes] == ["dir", "file", "dir"]


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "../a", "a/../b", ".a", "a b", "ä", "a\n", "a//b"]
)
def test_what_is_no_name_of_a_file(repository: Repository, name: str) -> None:
    with repository.writer() as writer, pytest.raises(ValueError, match="no name"):
        writer.file(name, 5)


def test_what_is_no_part_of_a_file(repository: Repository) -> None:
    with repository.writer() as writer:
        file = writer.file(NAME, 3 * PAGE + 5)
        with pytest.raises(ValueError, match="no name"):
            writer.add(NAME, b"")
        for offset, length in ((1, PAGE), (0, 5), (3 * PAGE, PAGE), (-PAGE, PAGE), (2 * PAGE, 5)):
            with pytest.raises(ValueError, match="bytes at"):
                file.write(offset, bytes(length))
        file.write(0, pages(1))
        with pytest.raises(ValueError, match="twice"):
            file.write(0, pages(1))


def test_what_is_stored_is_not_stored_again(repository: Repository, store: FaultyStore) -> None:
    data = noise(1, 30)
    first = back_up(repository, {NAME: data})
    packs = names(store, ObjectKind.DATA)

    changed = data[: 10 * PAGE] + noise(2, 1) + data[11 * PAGE :]
    second = back_up(repository, {NAME: changed, "copy.bin": changed, "twice.bin": noise(3, 1) * 2})

    assert second.stats.new_blobs == 3  # two pages and the tree
    assert 2 * PAGE < second.stats.stored_bytes < 2 * PAGE + 12_000
    assert packs < names(store, ObjectKind.DATA)
    assert contents(repository, first.snapshot_id) == {NAME: data}
    assert contents(repository, second.snapshot_id)["copy.bin"] == changed


def test_stored_bytes_are_those_of_the_store(repository: Repository, store: FaultyStore) -> None:
    def stored() -> int:
        return sum(info.size for info in store.inner.list(""))

    before = stored()
    commit = back_up(repository, {NAME: noise(1, 3) + pages(1, 2, 3)})

    assert stored() - before == commit.stats.stored_bytes
    assert commit.stats.packs == 2


def test_zeros_are_stored_once(repository: Repository) -> None:
    first = back_up(repository, {NAME: bytes(50 * PAGE + 9)})
    second = back_up(repository, {NAME: bytes(90 * PAGE + 9)})

    assert first.stats.new_blobs == 3
    assert second.stats.new_blobs == 1


def test_a_file_with_holes_is_copied(repository: Repository, tmp_path: Path) -> None:
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(500 * PAGE)
        file.seek(70 * PAGE + 100)
        file.write(b"something")
        file.seek(450 * PAGE)
        file.write(noise(1, 45) + b"end")
    data = source.read_bytes()
    with repository.writer() as writer:
        record = writer.add_file(NAME, source)
        commit = writer.commit(META)

    assert record.sha256 == hashlib.sha256(data).hexdigest()
    assert restored(repository, node_of(repository, commit), tmp_path / "out") == data


def test_without_a_commit_nothing_is_seen(repository: Repository, store: FaultyStore) -> None:
    def fail(writer: Writer) -> None:
        file = writer.file(NAME, 300 * PAGE)
        for place in range(0, 300, 30):
            file.write(place * PAGE, noise(place, 30))
        file.finish()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), repository.writer() as writer:
        fail(writer)

    assert repository.snapshots() == ()
    assert names(store, ObjectKind.LOCK) == set()
    assert len(names(store, ObjectKind.INDEX)) == 1  # so that the next run finds the full pack
    with reopened(store).writer() as writer:
        file = writer.file(NAME, 300 * PAGE)
        for place in range(0, 300, 30):
            file.write(place * PAGE, noise(place, 30))
        file.finish()
        commit = writer.commit(META)
    assert commit.stats.new_blobs < 60


def test_index_objects_come_early(
    repository: Repository, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_writer, "INDEX_EVERY_BYTES", 1)
    with repository.writer() as writer:
        file = writer.file(NAME, 600 * PAGE)
        for place in range(0, 600, 30):
            file.write(place * PAGE, noise(place, 30))
        file.finish()
        writer._packs.write_packs()
        assert len(names(store, ObjectKind.INDEX)) >= 2
        commit = writer.commit(META)
    assert len(repository.index) == commit.stats.new_blobs


def test_the_fence_looks_for_every_pack(repository: Repository, store: FaultyStore) -> None:
    back_up(repository, {NAME: noise(1, 3)})
    (pack, *_) = {
        repository.index.pack_id(place.pack)
        for kind, _, place in repository.index.entries()
        if kind is BlobKind.DATA
    }
    before = repository.snapshots()
    with repository.writer() as writer:
        writer.add(NAME, noise(1, 3))
        store.inner.delete(object_name(ObjectKind.DATA, pack))
        with pytest.raises(DamageError, match=f"{pack} is missing"):
            writer.commit(META)

    assert repository.snapshots() == before


def test_the_fence_sees_a_pack_that_was_cut_off(repository: Repository, store: FaultyStore) -> None:
    back_up(repository, {NAME: noise(1, 3)})
    (pack, *_) = {
        repository.index.pack_id(place.pack)
        for kind, _, place in repository.index.entries()
        if kind is BlobKind.DATA
    }
    before = repository.snapshots()
    name = object_name(ObjectKind.DATA, pack)
    whole = store.inner.get(name)
    for wrong in (whole[:-1], b"", whole + b"x"):
        store.inner.put(name, wrong)
        with repository.writer() as writer:
            writer.add(NAME, noise(1, 3))
            with pytest.raises(DamageError, match=f"{pack} has {len(wrong)} bytes"):
                writer.commit(META)
    assert repository.snapshots() == before

    store.inner.put(name, whole)
    assert contents(repository, back_up(repository, {NAME: noise(1, 3)}).snapshot_id)


def test_the_fence_looks_for_our_lock(repository: Repository, store: FaultyStore) -> None:
    with repository.writer() as writer:
        writer.add(NAME, noise(1, 3))
        for name in names(store, ObjectKind.LOCK):
            store.inner.delete(name)
        with pytest.raises(LockedError, match="was lost"):
            writer.commit(META)

    assert repository.snapshots() == ()


def test_order_of_writes(repository: Repository, store: FaultyStore) -> None:
    store.log.clear()

    back_up(repository, {NAME: noise(1, 3)})

    writes = [name.partition("/")[0] for operation, name in store.log if operation == "put"]
    assert writes == ["locks", "data", "data", "index", "snapshots"]
    last = [(operation, name.partition("/")[0]) for operation, name in store.log][-4:]
    assert last == [("list", "data"), ("list", "locks"), ("put", "snapshots"), ("delete", "locks")]


@pytest.mark.parametrize("whole_hash", [True, False])
def test_a_full_disk_ends_everything_at_once(
    repository: Repository,
    store: FaultyStore,
    whole_hash: bool,  # noqa: FBT001 - a parameter
) -> None:
    switch = store.add("put", Fault.FULL, times=FOREVER, match=lambda name: name.startswith("data"))

    def work() -> None:
        with repository.writer() as writer:
            file = writer.file(NAME, 3000 * PAGE, whole_hash=whole_hash)
            for place in range(0, 3000, 30):
                file.write(place * PAGE, noise(place, 30))
            file.finish()

    with pytest.raises(StoreError):
        work()

    assert switch.hits <= 3
    assert names(store, ObjectKind.LOCK) == set()
    store.switches.clear()
    assert back_up(repository, {NAME: noise(1, 3)})


def test_another_writer_at_the_same_time(repository: Repository, store: FaultyStore) -> None:
    with repository.writer() as one:
        one.add("a.bin", noise(1, 3))
        with reopened(store).writer() as two:
            two.add("b.bin", noise(1, 3))
            second = two.commit(META)
        first = one.commit(META)

    again = reopened(store)
    assert contents(again, first.snapshot_id) == {"a.bin": noise(1, 3)}
    assert contents(again, second.snapshot_id) == {"b.bin": noise(1, 3)}


def test_what_others_wrote_since_is_found(repository: Repository, store: FaultyStore) -> None:
    assert len(repository.index) == 0
    commit = back_up(reopened(store), {NAME: noise(1, 3)})

    assert contents(repository, commit.snapshot_id) == {NAME: noise(1, 3)}


def test_parts_of_a_file(repository: Repository) -> None:
    data = noise(1, 5) + bytes(3 * PAGE) + noise(2, 2) + b"tail"
    node = node_of(repository, back_up(repository, {NAME: data, "empty.bin": b""}))
    read = repository.reader().read_range
    rng = random.Random(1)

    for _ in range(40):
        start, end = sorted(rng.choices(range(len(data) + 1), k=2))
        assert read(node, start, end - start) == data[start:end]
    for offset, length in ((-1, 5), (0, len(data) + 1), (len(data), 1)):
        with pytest.raises(ValueError, match="bytes at"):
            read(node, offset, length)


def test_blobs_of_any_size(repository: Repository, tmp_path: Path) -> None:
    pieces = [noise(1, 1)[:1000], noise(2, 1), b"x", bytes(5000), noise(3, 2), bytes(PAGE)]
    packs = pack_writer.PackWriter(repository)
    with repository.lock(exclusive=False):
        ids = [packs.store_blob(BlobKind.DATA, piece) for piece in pieces]
        packs.flush()
        packs.close()
    data = b"".join(pieces)
    commit = back_up(repository, {NAME: b""})
    node = node_of(repository, commit)
    strange = replace(node, size=len(data), content=table(ids))

    assert restored(repository, strange, tmp_path / "out") == data
    rng = random.Random(1)
    for _ in range(20):
        start, end = sorted(rng.choices(range(len(data) + 1), k=2))
        assert repository.reader().read_range(strange, start, end - start) == data[start:end]
    with pytest.raises(DamageError, match=f"{NAME} has {len(data)} bytes and should have"):
        restored(repository, replace(strange, size=len(data) + 1), tmp_path / "out")


def test_a_wrong_bit_is_never_restored(repository: Repository, tmp_path: Path) -> None:
    commit = back_up(repository, {NAME: noise(1, 3)})
    node = node_of(repository, commit)
    memory = repository.store.inner
    for name in names(repository.store, ObjectKind.DATA):
        data = bytearray(memory.get(name))
        data[len(data) // 2] ^= 1
        memory.put(name, data)

    with pytest.raises(DamageError, match=r"blob [0-9a-f]{64} in pack [0-9a-f]{64} is damaged"):
        restored(repository, node, tmp_path / "out")
    with pytest.raises(DamageError, match="is damaged"):
        repository.reader().read_range(node, 0, node.size)


def test_a_missing_pack_is_named(repository: Repository, tmp_path: Path) -> None:
    commit = back_up(repository, {NAME: noise(1, 3)})
    node = node_of(repository, commit)
    for name in names(repository.store, ObjectKind.DATA):
        repository.store.delete(name)

    with pytest.raises(DamageError, match=r"data/.* is missing"):
        restored(repository, node, tmp_path / "out")
    with pytest.raises(DamageError, match="is missing"):
        repository.tree(commit.tree)


def test_near_pages_are_read_together(repository: Repository, store: FaultyStore) -> None:
    data = noise(1, 60)
    node = node_of(repository, back_up(repository, {NAME: data}))
    reading = Reader(repository)

    store.counts.clear()
    assert reading.read_range(node, 0, len(data)) == data
    assert store.counts["get_range"] == 1
    store.counts.clear()
    # Two of sixty, far apart: not the whole pack.
    sparse = [node.content[0]] * 29 + [node.content[59]]  # type: ignore[index]  # it is a file
    few = replace(node, size=30 * PAGE, content=table(sparse))
    assert reading.read_range(few, 0, 30 * PAGE) == data[:PAGE] * 29 + data[59 * PAGE :]
    assert store.counts["get_range"] == 2


def test_long_files_are_planned_in_windows(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_WINDOW", 7)
    monkeypatch.setattr(repository.store, "longest_read", 3 * PAGE)
    data = noise(1, 40) + pages(0, 1, 1, 0, 2) + noise(1, 40)
    node = node_of(repository, back_up(repository, {NAME: data}))

    assert restored(repository, node, tmp_path / "out") == data


def test_large_blobs(store: FaultyStore, tmp_path: Path) -> None:
    large = Repository.init(store, Password("x"), this_machine(), blob_size=4 * PAGE)
    data = noise(1, 9) + b"end"
    with large.writer() as writer:
        file = writer.file(NAME, len(data))
        with pytest.raises(ValueError, match="no whole blobs"):
            file.write(0, data[:PAGE])
        file.write(8 * PAGE, data[8 * PAGE :])
        file.write(0, data[: 8 * PAGE])
        file.finish()
        commit = writer.commit(META)

    assert commit.stats.new_blobs == 4
    assert restored(large, node_of(large, commit), tmp_path / "out") == data


def test_files_of_a_local_repository_are_private(tmp_path: Path) -> None:
    repository = new_repository(LocalStore(tmp_path / "deep" / "repository"))
    back_up(repository, {NAME: noise(1, 2)})

    found = list((tmp_path / "deep").rglob("*"))
    assert found
    assert {path.stat().st_mode & 0o777 for path in found if path.is_file()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in found if path.is_dir()} == {0o700}


def test_an_error_of_the_backups_kind_everywhere(repository: Repository) -> None:
    for broken in (bytes(32), b"\xff" * 32):
        with pytest.raises(BackupError, match="is in no index"):
            repository.load_blob(BlobKind.DATA, broken)
