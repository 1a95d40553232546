"""A canister that writes while it is read, at random moments.

moments = move(fake, edits, grows)
…an export…
assert copy in moments
"""

from collections.abc import Collection
from hashlib import sha256

from hypothesis import strategies as st

from dfx_backup.transfer.chunk_table import ChunkTable
from tests.fakes.memory_endpoints import Call, MemoryEndpoints

Edit = tuple[int, int, int]
"""After which call, where, and what."""
GROWS = st.lists(st.integers(0, 20), max_size=2)
"""After which calls the memory grows."""


def turns(chunk: int) -> st.SearchStrategy[list[list[Edit]]]:
    """The edits of one export after the other, of nine chunks."""
    edit = st.tuples(
        st.integers(0, 11),  # a round has about eight calls
        st.integers(0, 8).map(lambda index: index * chunk),
        st.integers(0, 2),  # it can be what was there
    )
    return st.lists(st.lists(edit, min_size=1, max_size=10), min_size=1, max_size=3)


def move(fake: MemoryEndpoints, edits: Collection[Edit], grows: Collection[int]) -> set[bytes]:
    """Let `memory` move after the calls to come; all that it will have been, and is now."""
    began = len(fake.calls)
    moments = {bytes(fake.streams["memory"])}

    def after(call: Call) -> None:
        for when, where, what in edits:
            if call.number - began == when:
                fake.touch("memory", where, bytes([what]))
                moments.add(bytes(fake.streams["memory"]))
        if call.number - began in grows:
            fake.streams["memory"] += b"g" * 100
            fake.version += 1
        moments.add(bytes(fake.streams["memory"]))

    fake.after = after
    return moments


def require_hashes(memory: bytes, hashes: ChunkTable) -> None:
    """Every chunk has its hash."""
    assert hashes.size == len(memory)
    assert hashes.count > 0
    for index, hash_ in enumerate(hashes):
        at = index * hashes.chunk_size
        assert sha256(memory[at : at + hashes.chunk_size]).digest() == hash_
