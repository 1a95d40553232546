"""A file against its sidecar."""

import hashlib
import os
from collections.abc import Callable

from dfx_backup.errors import InterruptedRunError
from dfx_backup.transfer.slices import read_exactly
from dfx_backup.transfer.stable_export import unusable
from dfx_backup.transfer.stable_sidecar import Sidecar, StablePaths
from dfx_backup.transfer.terms import TransferProgress


def damaged_chunks(
    paths: StablePaths,
    sidecar: Sidecar,
    *,
    progress: TransferProgress,
    should_stop: Callable[[], bool],
) -> tuple[str, ...]:
    """What is wrong with the bytes, one sentence each; empty when they are what they should be.

    Raises:
        InterruptedRunError: `should_stop` said so.
        ProjectError: the file can't be read.
    """
    hashes = sidecar.hashes
    try:
        handle = os.open(paths.data, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return (f"{paths.data.name} is missing",)
    except OSError as error:
        raise unusable(paths.data, error) from error
    try:
        size = os.fstat(handle).st_size
        if size != hashes.size:
            return (f"{paths.data.name} has {size:,} bytes instead of {hashes.size:,}",)
        progress.begin("checking", total_bytes=size, done_bytes=0)
        wrong = []
        for index in range(hashes.count):
            if should_stop():
                raise InterruptedRunError("the check was interrupted")
            offset, length = index * hashes.chunk_size, hashes.length(index)
            if hashlib.sha256(read_exactly(handle, length, offset)).digest() != hashes.get(index):
                wrong.append(offset)
            progress.advance(length)
    except OSError as error:
        raise unusable(paths.data, error) from error
    finally:
        os.close(handle)
    if not wrong:
        return ()
    count = f"{len(wrong)} chunk{'' if len(wrong) == 1 else 's'}"
    return (f"{paths.data.name}: {count} changed, the first at offset {wrong[0]:,}",)
