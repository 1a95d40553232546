"""Files whose size and parts change until they are done, and the table of ids that they share."""

import hashlib
import random
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfx_backup.errors import DamageError
from dfx_backup.repository.contents import ContentTable
from dfx_backup.repository.layout import BlobKind
from dfx_backup.repository.memory import MemoryStore
from dfx_backup.repository.reader import Reader
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.writer import BackupMeta
from tests.fakes.repositories import PAGE, new_repository, noise, pages

META = BackupMeta(hostname="local", paths=("/aaaaa-aa",), time=1_780_000_000.0)


@pytest.fixture(scope="module")
def repository() -> Repository:
    return new_repository(MemoryStore())


@pytest.fixture
def quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


page = st.integers(0, 3)
step = st.one_of(
    st.integers(0, 6 * PAGE).map(lambda size: ("resize", size, [])),
    st.tuples(st.just("write"), st.integers(0, 5), st.lists(page, min_size=1, max_size=3)),
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(step, min_size=1, max_size=8))
def test_it_holds_what_came_last(
    repository: Repository, steps: list[tuple[str, int, list[int]]]
) -> None:
    model = bytearray()
    with repository.writer() as writer:
        file = writer.loose_file("memory")
        for kind, number, content in steps:
            if kind == "resize":
                kept = min(len(model), number) // PAGE * PAGE
                model = bytearray(model[:kept].ljust(number, b"\0"))
                file.resize(number)
            else:
                data = pages(*content)[: max(0, len(model) - number * PAGE)]
                if data:
                    model[number * PAGE : number * PAGE + len(data)] = data
                    file.write(number * PAGE, data)
        record = file.finish()
        commit = writer.commit(META)

    node = repository.tree(commit.tree).find("memory")
    assert node is not None
    assert node.size == record.size == len(model)
    assert Reader(repository).read_range(node, 0, node.size) == model
    ids = b"".join(
        hashlib.sha256(model[at : at + PAGE]).digest() for at in range(0, len(model), PAGE)
    )
    assert record.content_sha256 == hashlib.sha256(ids).hexdigest()


@pytest.mark.parametrize(("offset", "length"), [(1, PAGE), (0, PAGE - 1), (PAGE, 2 * PAGE)])
def test_parts_are_whole_blobs(repository: Repository, offset: int, length: int) -> None:
    with repository.writer() as writer:
        file = writer.loose_file("memory")
        file.resize(2 * PAGE)
        with pytest.raises(ValueError, match="bytes at"):
            file.write(offset, bytes(length))


def test_the_fence_looks_for_packs_of_blobs_that_were_there(repository: Repository) -> None:
    data = noise(9, 2)
    with repository.writer() as writer:
        writer.add("one", data)
        writer.commit(META)
    place = repository.find_blob(BlobKind.DATA, hashlib.sha256(data[:PAGE]).digest())
    pack = repository.index.pack_id(place.pack)
    with repository.writer() as writer:
        file = writer.loose_file("memory")
        file.resize(len(data))
        file.write(0, data)
        file.finish()
        repository.store.delete(f"data/{pack[:2]}/{pack}")
        with pytest.raises(DamageError, match=pack[:8]):
            writer.commit(META)


@pytest.mark.usefixtures("quick_switches")
def test_threads_that_open_the_same_group_lose_nothing() -> None:
    groups, threads = 40, 6
    table = ContentTable(1024 * groups, bytes(32))
    wanted = {
        place: random.Random(place).randbytes(32)
        for group in range(groups)
        for place in range(group * 1024, group * 1024 + threads)
    }

    def fill(first: int, begin: threading.Barrier) -> None:
        for group in range(groups):
            begin.wait()
            table[group * 1024 + first] = wanted[group * 1024 + first]

    begin = threading.Barrier(threads)
    workers = [threading.Thread(target=fill, args=(each, begin)) for each in range(threads)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()

    assert {place: table[place] for place in wanted} == wanted
