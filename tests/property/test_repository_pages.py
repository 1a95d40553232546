"""Whatever pages change from backup to backup: every one is restored as it was."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfx_backup.repository.check import check
from dfx_backup.repository.memory import MemoryStore
from dfx_backup.repository.subset import EVERYTHING
from dfx_backup.repository.trees import Node
from dfx_backup.repository.writer import BackupMeta
from tests.fakes.repositories import PAGE, new_repository, pages, reopened

NAME = "stable_memory.bin"


@dataclass(frozen=True)
class Generation:
    """What happens to a memory between two backups, and how it is written."""

    edits: dict[int, int]
    size: int
    tail: bytes
    order: list[int]
    whole_hash: bool
    slice_pages: int
    skips: bool


GENERATIONS = st.lists(
    st.builds(
        Generation,
        edits=st.dictionaries(st.integers(0, 30), st.integers(0, 9), max_size=8),
        size=st.integers(0, 31),
        tail=st.sampled_from([b"", b"t", bytes(5), b"x" * (PAGE - 1)]),
        order=st.permutations(range(16)),
        whole_hash=st.booleans(),
        slice_pages=st.integers(2, 5),
        skips=st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(GENERATIONS)
def test_every_generation_is_restored(generations: list[Generation]) -> None:
    store = MemoryStore()
    repository = new_repository(store)
    memory = [0] * 31
    expected = {}
    for number, generation in enumerate(generations):
        for place, value in generation.edits.items():
            memory[place] = value
        data = pages(*memory[: generation.size]) + generation.tail
        with repository.writer() as writer:
            file = writer.file(NAME, len(data), whole_hash=generation.whole_hash)
            step = generation.slice_pages * PAGE
            starts = list(range(0, len(data), step))
            for index in generation.order:
                if index >= len(starts):
                    continue
                part = data[starts[index] : starts[index] + step]
                if not any(part) and generation.skips:
                    file.skip(starts[index], len(part))
                else:
                    file.write(starts[index], part)
            file.finish()
            meta = BackupMeta(hostname="h", paths=("/c",), time=1_780_000_000.0 + number)
            expected[writer.commit(meta).snapshot_id] = data

    again = reopened(store)
    assert check(again, read_data=EVERYTHING).findings == ()
    for snapshot in again.snapshots():
        (node,) = again.tree(snapshot.tree).nodes
        data = expected[snapshot.snapshot_id]
        assert _restored(again.reader().restore_file, node) == data
        ranges = list(again.reader().data_ranges(node))
        rebuilt = bytearray(len(data))
        for begin, end in ranges:
            rebuilt[begin:end] = data[begin:end]
        assert rebuilt == data
        assert not any(end == begin for (_, end), (begin, _) in pairwise(ranges))


def _restored(restore: Callable[[Node, int], None], node: Node) -> bytes:
    with tempfile.TemporaryFile() as file:
        file.write(b"what was here before")
        file.flush()
        restore(node, file.fileno())
        return os.pread(file.fileno(), node.size + 1, 0)
