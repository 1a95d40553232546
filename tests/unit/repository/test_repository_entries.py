"""Pages that get lost between threads, and parts that never come: nothing of that is committed."""

import hashlib
import random
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dfx_backup.errors import DamageError
from dfx_backup.repository.contents import ContentTable, weight
from dfx_backup.repository.entries import Entries
from dfx_backup.repository.file_writer import FileWriter
from dfx_backup.repository.layout import ID_BYTES, BlobKind
from dfx_backup.repository.memory import MemoryStore
from dfx_backup.repository.pack_writer import PackWriter
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.writer import BackupMeta, Writer
from tests.fakes.repositories import PAGE, contents, new_repository, noise, pages

META = BackupMeta(hostname="local", paths=("/aaaaa-aa",), time=1_780_000_000.0)
NAME = "stable_memory.bin"
GROUP = 1024
Write = Callable[[int, bytes], None]


@pytest.fixture
def repository() -> Repository:
    return new_repository(MemoryStore())


@pytest.fixture
def quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def racing_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of ids whose groups two threads may open at once; one of them loses its id."""
    both_look = threading.Barrier(2)

    def set_id(table: ContentTable, place: int, blob_id: bytes) -> None:
        number, at = divmod(place, GROUP)
        group = table._groups[number]
        if not isinstance(group, bytearray):
            both_look.wait(30)
            group = table._groups[number] = bytearray(group)
            both_look.wait(30)
        group[at * ID_BYTES : (at + 1) * ID_BYTES] = blob_id

    monkeypatch.setattr(ContentTable, "__setitem__", set_id)


def in_two_threads(write: Write) -> None:
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(write, place * PAGE, pages(place + 1)) for place in (0, 1)]:
            done.result()


def refused(repository: Repository, work: Callable[[Writer], None], match: str) -> None:
    def back_up() -> None:
        with repository.writer() as writer:
            work(writer)
            writer.commit(META)

    with pytest.raises(DamageError, match=match) as caught:
        back_up()
    assert caught.value.hint is not None
    assert "nothing was committed" in caught.value.hint
    assert repository.snapshots() == ()


@pytest.mark.usefixtures("racing_table")
@pytest.mark.parametrize("whole_hash", [True, False])
def test_a_lost_id_is_never_committed(
    repository: Repository,
    whole_hash: bool,  # noqa: FBT001 - a parameter
) -> None:
    def work(writer: Writer) -> None:
        file = writer.file(NAME, 2 * PAGE, whole_hash=whole_hash)
        in_two_threads(file.write)
        file.finish()

    refused(repository, work, f"pages of {NAME} were lost")


@pytest.mark.usefixtures("racing_table")
def test_a_lost_id_of_a_loose_file_is_never_committed(repository: Repository) -> None:
    def work(writer: Writer) -> None:
        file = writer.loose_file(NAME)
        file.resize(2 * PAGE)
        in_two_threads(file.write)
        file.finish()

    refused(repository, work, f"pages of {NAME} were lost")


@pytest.mark.usefixtures("racing_table")
def test_a_lost_id_is_found_before_a_loose_file_changes_its_size(repository: Repository) -> None:
    def work(writer: Writer) -> None:
        file = writer.loose_file(NAME)
        file.resize(2 * PAGE)
        in_two_threads(file.write)
        file.resize(4 * PAGE)

    refused(repository, work, f"pages of {NAME} were lost")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda table: table.__setitem__(5, table[4]),
        lambda table: table.__setitem__(0, table[3]),
        lambda table: table.__setitem__(7, hashlib.sha256(bytes(PAGE)).digest()),
        lambda table: table._groups[0].__delitem__(slice(0, ID_BYTES)),
        lambda table: (
            first := table[1],
            table.__setitem__(1, table[2]),
            table.__setitem__(2, first),
        ),
    ],
    ids=["another", "zeros become a page", "zeros", "shifted", "swapped"],
)
@pytest.mark.parametrize("loose", [False, True])
def test_ids_that_are_not_what_was_entered(
    repository: Repository,
    spoil: Callable[[ContentTable], None],
    loose: bool,  # noqa: FBT001 - a parameter
) -> None:
    data = pages(0, *range(1, 11)) + b"tail"

    def work(writer: Writer) -> None:
        if loose:
            file = writer.loose_file(NAME)
            file.resize(len(data))
        else:
            file = writer.file(NAME, len(data), whole_hash=False)
        file.write(0, data)
        if isinstance(file, FileWriter):
            with file._changed:
                file._changed.wait_for(lambda: not file._running, timeout=30)
        spoil(file.content)
        file.finish()

    refused(repository, work, "lost or mixed up")


@pytest.mark.parametrize("whole_hash", [True, False])
@pytest.mark.parametrize("missing", [0, 4, 9])
def test_a_part_that_never_comes(
    repository: Repository,
    missing: int,
    whole_hash: bool,  # noqa: FBT001 - a parameter
) -> None:
    def work(writer: Writer) -> None:
        file = writer.file(NAME, 10 * PAGE, whole_hash=whole_hash)
        for place in range(10):
            if place != missing:
                file.write(place * PAGE, pages(place))
        file.finish()

    refused(repository, work, "not every part")


def test_a_part_that_comes_twice(repository: Repository) -> None:
    def work(writer: Writer) -> None:
        file = writer.file(NAME, 3 * PAGE, whole_hash=False)
        for offset in (0, PAGE, PAGE):
            file.write(offset, pages(offset // PAGE))
        file.finish()

    refused(repository, work, "not every part")


def test_parts_that_overlap_where_others_are_missing(repository: Repository) -> None:
    def work(writer: Writer) -> None:
        file = writer.file(NAME, 6 * PAGE, whole_hash=False)
        file.write(0, pages(1, 2, 3))
        file.write(2 * PAGE, pages(3, 4, 5))
        file.finish()

    refused(repository, work, "not every part")


def test_a_job_that_gets_lost(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    submit = FileWriter._submit
    calls = iter(range(100))

    def forgetful(file: FileWriter, work: Callable[[], None]) -> None:
        if next(calls) != 3:
            submit(file, work)

    monkeypatch.setattr(FileWriter, "_submit", forgetful)

    def work(writer: Writer) -> None:
        file = writer.file(NAME, 9 * PAGE, whole_hash=False)
        for place in range(9):
            file.write(place * PAGE, pages(place))
        file.finish()

    refused(repository, work, "not every part")


def test_a_blob_that_is_claimed_and_never_added(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = PackWriter.add_blob
    lost = hashlib.sha256(pages(4)).digest()

    def forgetful(packs: PackWriter, kind: BlobKind, blob_id: bytes, data: bytes) -> None:
        if blob_id != lost:
            add(packs, kind, blob_id, data)

    monkeypatch.setattr(PackWriter, "add_blob", forgetful)

    def work(writer: Writer) -> None:
        file = writer.file(NAME, 9 * PAGE, whole_hash=False)
        file.write(0, pages(*range(9)))
        file.finish()

    refused(repository, work, "1 blobs were lost")


def test_a_file_that_is_not_finished_is_not_committed(repository: Repository) -> None:
    with repository.writer() as writer:
        file = writer.loose_file("other.bin")
        file.resize(PAGE)
        file.finish()
        file.write(0, pages(1))
        with pytest.raises(ValueError, match=r"other\.bin is not finished"):
            writer.commit(META)
        file.finish()
        writer.file(NAME, PAGE).write(0, pages(1))
        with pytest.raises(ValueError, match=rf"{NAME} is not finished"):
            writer.commit(META)
    assert repository.snapshots() == ()


def test_a_copy_whose_holes_were_read_wrongly(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "image"
    source.write_bytes(pages(1, 2, 3, 4))
    monkeypatch.setattr(
        "dfx_backup.repository.file_writer._extents",
        lambda _handle, _size, unit: iter([(0, 3 * unit), (2 * unit, 4 * unit)]),
    )

    refused(repository, lambda writer: writer.add_file(NAME, source, whole_hash=False), "not every")


def test_pages_that_changed_places_do_not_cancel_each_other() -> None:
    rng = random.Random(1)
    for _ in range(2000):
        one, two = rng.randbytes(ID_BYTES), rng.randbytes(ID_BYTES)
        here, there = rng.sample(range(1 << 20), 2)
        assert weight(here, one) + weight(there, two) != weight(here, two) + weight(there, one)


@pytest.mark.parametrize("begin", range(0, 20 * PAGE, PAGE))
def test_parts_in_a_row_do_not_make_up_for_each_other(begin: int) -> None:
    size = 40 * PAGE
    for step in (PAGE, 3 * PAGE, 7 * PAGE):
        entries = Entries(NAME)
        entries.cover(0, begin)
        for _ in range(2):
            entries.cover(begin, begin + step)
        entries.cover(begin + 2 * step, size)
        with pytest.raises(DamageError, match="not every part"):
            entries.check_cover(size)


def test_weights_tell_places_and_ids_apart() -> None:
    ids = [random.Random(seed).randbytes(ID_BYTES) for seed in range(100)]
    assert len({weight(place, each) for place in range(100) for each in ids}) == 10_000
    table = ContentTable(3 * GROUP + 5, bytes(ID_BYTES))
    places = [0, 7, GROUP + 1, 3 * GROUP + 4]
    for place, blob_id in zip(places, ids, strict=False):
        table[place] = blob_id
    zeros = (bytes(ID_BYTES),)
    assert table.tally(zeros) == sum(map(weight, places, ids))
    table[7] = bytes(ID_BYTES)
    assert table.tally(zeros) == sum(map(weight, places, ids)) - weight(7, ids[1])


@pytest.mark.usefixtures("quick_switches")
@pytest.mark.parametrize("seed", range(3))
def test_many_threads_lose_nothing(repository: Repository, seed: int) -> None:
    """Two files at the same time with pages in common, in slices that share groups."""
    rng = random.Random(seed)
    numbers = [rng.choice([0, 0, rng.randrange(1, 200)]) for _ in range(240)]
    data = {name: pages(*numbers) + noise(seed, 4) for name in ("a.bin", "b.bin")}
    jobs = [(name, at) for name in data for at in range(0, len(data[name]), 2 * PAGE)]
    rng.shuffle(jobs)
    with repository.writer(workers=4) as writer:
        files = {name: writer.file(name, len(data[name]), whole_hash=False) for name in data}
        loose = writer.loose_file("loose.bin")
        loose.resize(len(data["a.bin"]))

        def work(job: tuple[str, int]) -> None:
            name, at = job
            part = data[name][at : at + 2 * PAGE]
            files[name].write(at, part)
            if name == "a.bin":
                loose.write(at, pages(201, 202)[: len(part)])
                loose.write(at, part)

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, jobs))
        for file in (*files.values(), loose):
            file.finish()
        commit = writer.commit(META)

    assert contents(repository, commit.snapshot_id) == {**data, "loose.bin": data["a.bin"]}
