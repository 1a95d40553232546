"""All of a stream's certified hashes, in as few calls as the canister can answer them."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from dfx_backup.ic.stable_endpoints import ChunkHashes
from dfx_backup.transfer.chunk_table import ChunkTable
from dfx_backup.transfer.stable_reads import StreamReader
from dfx_backup.transfer.terms import TransferOptions
from dfx_backup.transfer.window import Window, persist

HASH_WINDOW = 8
"""Calls in flight: each keeps the canister busy for as long as it may execute."""
_MOST = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class HashPass:
    """What one pass over a stream brought.

    Attributes:
        table: the hashes; not whole when the stream's size changed meanwhile.
        versions: the canister's version in each answer, rising.
        retries: requests that failed and were made again.
    """

    table: ChunkTable
    versions: tuple[int, ...]
    retries: int

    @property
    def is_quiet(self) -> bool:
        """Whether nothing but these calls changed the canister: all hashes are of one moment."""
        steps = zip(self.versions, self.versions[1:], strict=False)
        return self.table.is_whole() and all(after - before == 1 for before, after in steps)


class _Pass:
    def __init__(self, reader: StreamReader, stream: str, first: ChunkHashes, chunk: int) -> None:
        self._reader = reader
        self._stream = stream
        self._lock = threading.Lock()
        self.table = ChunkTable(first.size, chunk)
        self.versions: list[int] = []
        self.keep(0, first)

    def keep(self, index: int, found: ChunkHashes) -> bool:
        """Keep an answer; False when the stream has another size now."""
        with self._lock:
            self.versions.append(found.canister_version)
            if found.size != self.table.size:
                return False
            for place, hash_ in enumerate(found.hashes, index):
                self.table.put(place, hash_)
        return True

    def fill(self, index: int, end: int) -> None:
        """Ask until the hashes of these chunks are there."""
        chunk = self.table.chunk_size
        while index < end:
            found = self._reader.hashes(self._stream, index * chunk, chunk, end - index)
            if not self.keep(index, found) or not found.hashes:
                return
            index += len(found.hashes)


def certified_hashes(
    reader: StreamReader,
    stream: str,
    chunk: int,
    *,
    options: TransferOptions,
    on_retry: Callable[[str], None],
) -> HashPass:
    """The hashes of all chunks of a stream; the first answer tells how many fit into one.

    Raises:
        InterruptedRunError: `options.should_stop` said so.
        NetworkError: the canister refuses, or can't be reached.
    """
    first = persist(
        lambda: reader.hashes(stream, 0, chunk, _MOST),
        options,
        failed=lambda error: on_retry(error.message),
    )
    done = _Pass(reader, stream, first, chunk)
    step = max(1, len(first.hashes))
    starts = range(len(first.hashes), done.table.count, step)
    few = replace(options, window=min(options.window, HASH_WINDOW))
    window: Window[int] = Window(few, on_retry=on_retry)
    with reader.watch(window.noticed):
        window.run(starts, lambda at: done.fill(at, min(at + step, done.table.count)))
    return HashPass(table=done.table, versions=tuple(sorted(done.versions)), retries=window.retries)
