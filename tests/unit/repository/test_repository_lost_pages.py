"""Pages that a reader would pass over, blobs that no index lists, and many threads at once."""

import hashlib
import random
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from dfx_backup.errors import DamageError
from dfx_backup.repository import index, pack_writer, packs
from dfx_backup.repository.layout import BlobKind
from dfx_backup.repository.memory import MemoryStore
from dfx_backup.repository.ordered_hash import OrderedHash
from dfx_backup.repository.pack_writer import PackWriter
from dfx_backup.repository.reader import Reader
from dfx_backup.repository.repository import Repository
from tests.fakes.repositories import PAGE, back_up, contents, new_repository, noise, reopened

NAME = "stable_memory.bin"


@pytest.fixture
def repository() -> Repository:
    return new_repository(MemoryStore())


@pytest.fixture
def quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("part", [False, True])
def test_a_group_that_is_passed_over_is_not_restored_as_zeros(
    repository: Repository,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    part: bool,  # noqa: FBT001 - a parameter
) -> None:
    commit = back_up(repository, {NAME: noise(1, 12)})
    node = repository.tree(commit.tree).find(NAME)
    assert node is not None
    groups = Reader._groups

    def forgetful(reader: Reader, wanted: list[object]) -> Iterator[list[object]]:
        for group in groups(reader, wanted):  # type: ignore[arg-type] # passed on
            yield group[:-1]

    monkeypatch.setattr(Reader, "_groups", forgetful)
    with (tmp_path / "out").open("w+b") as out:

        def read() -> None:
            if part:
                repository.reader().read_range(node, 5, 12 * PAGE - 9)
            else:
                repository.reader().restore_file(node, out.fileno())

        with pytest.raises(DamageError, match="11 of 12 pages"):
            read()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_nobody_builds_upon_blobs_that_no_index_lists(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """Whoever catches what ended a writer, and goes on, stores the blobs again."""

    def fail(*_: object) -> None:
        raise error

    def work() -> None:
        with repository.writer() as writer:
            writer.add(NAME, noise(1, 3))
            writer._packs.write_packs()
            monkeypatch.setattr(PackWriter, "write_index", fail)

    with pytest.raises(error):
        work()
    monkeypatch.undo()
    assert list(repository.store.list("locks/")) == []

    commit = back_up(repository, {NAME: noise(1, 3)})
    assert contents(reopened(repository.store), commit.snapshot_id) == {NAME: noise(1, 3)}


@pytest.mark.parametrize("what", ["encode_index", "decode_header"])
def test_an_interrupt_while_the_index_is_written(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def fail(*_: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    def work() -> None:
        with repository.writer() as writer:
            writer.add(NAME, noise(1, 3))
            writer._packs.write_packs()
            monkeypatch.setattr(pack_writer, what, fail)
            writer._packs.write_index()

    with pytest.raises(KeyboardInterrupt):
        work()

    commit = back_up(repository, {NAME: noise(1, 3)})
    assert contents(reopened(repository.store), commit.snapshot_id) == {NAME: noise(1, 3)}


@pytest.mark.usefixtures("quick_switches")
@pytest.mark.parametrize("seed", range(3))
def test_blobs_of_many_threads_are_all_stored_and_once(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Packs are full, uploaded and entered while others look, and the index grows meanwhile."""
    monkeypatch.setattr(packs, "PACK_BYTES", 2000)
    monkeypatch.setattr(index, "_FIRST_SLOTS", 8)
    monkeypatch.setattr(pack_writer, "INDEX_EVERY_BYTES", 9000)
    repository.drop_index()
    blobs = [random.Random(number).randbytes(120) for number in range(400)]
    with repository.writer() as writer:

        def work(number: int) -> list[tuple[bytes, bytes]]:
            mine = random.Random(1000 * seed + number).choices(blobs, k=150)
            return [(writer._packs.store_blob(BlobKind.DATA, each), each) for each in mine]

        with ThreadPoolExecutor(6) as pool:
            stored = dict(pair for pairs in pool.map(work, range(6)) for pair in pairs)
        writer._packs.flush()
        assert writer.totals.new_blobs == len(stored)

    for again in (repository, reopened(repository.store)):
        assert len(again.index) == len(stored)
        for blob_id, blob in stored.items():
            assert again.load_blob(BlobKind.DATA, blob_id) == blob


@pytest.mark.usefixtures("quick_switches")
@pytest.mark.parametrize("seed", range(3))
def test_a_whole_hash_of_many_threads(seed: int) -> None:
    rng = random.Random(seed)
    data = rng.randbytes(300_000)
    cuts = sorted({0, len(data), *(rng.randrange(len(data)) for _ in range(200))})
    parts = list(pairwise(cuts))
    near = [parts[at : at + 12] for at in range(0, len(parts), 12)]
    for some in near:
        rng.shuffle(some)
    hashing = OrderedHash(len(data), look_ahead=20_000, patience_s=0.01)

    def bring(part: tuple[int, int]) -> None:
        begin, end = part
        hashing.reserve(begin, end - begin)
        hashing.offer(begin, data[begin:end])

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(bring, (part for some in near for part in some)))
    read: Callable[[int, int], Iterator[bytes]] = lambda at, size: iter([data[at : at + size]])  # noqa: E731 - typed
    assert hashing.finish(read) == hashlib.sha256(data).hexdigest()
