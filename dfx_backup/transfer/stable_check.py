"""A copy against its hashes."""

import hashlib
from collections.abc import Callable

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
    if data.size != hashes.size:
        return (f" has {data.size:,} bytes instead of {hashes.size:,}",)
    progress.begin("checking", total_bytes=hashes.size, done_bytes=0)
    wrong = []
    for index in range(hashes.count):
        if should_stop():
            raise InterruptedRunError("the check was interrupted")
        offset, length = index * hashes.chunk_size, hashes.length(index)
        if hashlib.sha256(data.read(offset, length)).digest() != hashes.get(index):
            wrong.append(offset)
        progress.advance(length)
    if not wrong:
        return ()
    count = f"{len(wrong)} chunk{'' if len(wrong) == 1 else 's'}"
    return (f": {count} changed, the first at offset {wrong[0]:,}",)
