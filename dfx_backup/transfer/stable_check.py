"""A copy against its hashes."""

import hashlib
from collections.abc import Callable, Iterator, Sequence

from dfx_backup.errors import InterruptedRunError
from dfx_backup.transfer.chunk_table import ChunkTable
from dfx_backup.transfer.stable_data import FileData, StreamData
from dfx_backup.transfer.stable_sidecar import Sidecar, StablePaths
from dfx_backup.transfer.terms import TransferProgress


def damaged_chunks(
    paths: StablePaths,
    sidecar: Sidecar,
    *,
    progress: TransferProgress,
    should_stop: Callable[[], bool],
) -> tuple[str, ...]:
    """What is wrong with a file, one sentence each; empty when it is what it should be.

    Raises:
        InterruptedRunError: `should_stop` said so.
        ProjectError: the file can't be read.
    """
    if not paths.data.exists():
        return (f"{paths.data.name} is missing",)
    data = FileData.open(paths.data)
    try:
        told = damage_of(data, sidecar.hashes, progress=progress, should_stop=should_stop)
        return tuple(f"{paths.data.name}{each}" for each in told)
    finally:
        data.close()


def damage_of(
    data: StreamData,
    hashes: ChunkTable,
    *,
    progress: TransferProgress,
    should_stop: Callable[[], bool],
) -> tuple[str, ...]:
    """What is wrong with a copy: what to say behind its name; empty when all hashes match.

    Raises:
        InterruptedRunError: `should_stop` said so.
        ProjectError, DamageError: it can't be read.
    """
    found = size_problem(data.size, hashes)
    if found is None:
        chunks = checked_chunks(data, hashes, progress=progress, should_stop=should_stop)
        found = chunks_problem([offset for offset, _, right in chunks if not right])
    return () if found is None else (found,)


def size_problem(size: int, hashes: ChunkTable) -> str | None:
    """What to say behind the name of a copy of this size; None when its hashes have the same."""
    if size == hashes.size:
        return None
    return f" has {size:,} bytes instead of {hashes.size:,}"


def chunks_problem(wrong: Sequence[int]) -> str | None:
    """What to say behind a copy's name when the chunks at these offsets changed, or None."""
    if not wrong:
        return None
    count = f"{len(wrong)} chunk{'' if len(wrong) == 1 else 's'}"
    return f": {count} changed, the first at offset {wrong[0]:,}"


def checked_chunks(
    data: StreamData,
    hashes: ChunkTable,
    *,
    progress: TransferProgress,
    should_stop: Callable[[], bool],
) -> Iterator[tuple[int, bytes, bool]]:
    """Every chunk of a copy: its offset, its bytes, and whether they have their hash.

    Args:
        data: open, and as long as the hashes say.
        hashes: of all its chunks.
        progress: hears how far it is.
        should_stop: asked at every chunk.

    Raises:
        InterruptedRunError: `should_stop` said so.
        ProjectError, DamageError: it can't be read.
    """
    progress.begin("checking", total_bytes=hashes.size, done_bytes=0)
    for index in range(hashes.count):
        if should_stop():
            raise InterruptedRunError("the check was interrupted")
        offset = index * hashes.chunk_size
        chunk = data.read(offset, hashes.length(index))
        yield offset, chunk, hashlib.sha256(chunk).digest() == hashes.get(index)
        progress.advance(len(chunk))
