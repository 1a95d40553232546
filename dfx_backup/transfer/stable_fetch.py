"""Chunks of an export: from the canister, from an earlier export, or known to be zero."""

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from dfx_backup.errors import InterruptedRunError
from dfx_backup.transfer.chunk_table import ChunkTable, ZeroHashes
from dfx_backup.transfer.stable_reads import (
    CERTIFIED_CHUNKS,
    QUERY_CHUNKS,
    Pieces,
    StreamReader,
)
from dfx_backup.transfer.stable_terms import ExportTally, StreamWork
from dfx_backup.transfer.terms import TransferOptions, TransferProgress
from dfx_backup.transfer.window import Window

QUERY_WINDOW = 8
"""Queries in flight: nodes answer no more of them at a time to one client."""
_TRIES = 3
"""How often a chunk is asked for that does not match its hash: a node can lag behind."""
_LAG_S = 1.0
_MOST_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """Chunks one after the other: the first one's number, and how many."""

    first: int
    count: int


class _Count:
    """What was done so far; sizes are bytes."""

    def __init__(self) -> None:
        self.resumed = self.copied = self.zeros = 0
        self.retries = self.window = self.since_sync = 0
        self.seconds = 0.0


class Fetcher:
    """Brings the chunks of one export.

    Args:
        reader: reads the network.
        work: where they are put.
        size: of the stream, in bytes.
        options: window, patience and surroundings.
        progress: hears of every chunk.
    """

    def __init__(
        self,
        reader: StreamReader,
        work: StreamWork,
        size: int,
        options: TransferOptions,
        progress: TransferProgress,
    ) -> None:
        self._reader = reader
        self._work = work
        self._options = options
        self._progress = progress
        self._lock = threading.Lock()
        self._zeros = ZeroHashes()
        self._count = _Count()
        self._running = self._passes = 0
        self._chunk = chunk = work.chunk_bytes
        self._table = ChunkTable(size, chunk)  # of what is there
        work.begin(size)
        stream = work.stream
        self._certified = Pieces(reader, stream, certified=True, largest=CERTIFIED_CHUNKS * chunk)
        self._queries = Pieces(reader, stream, certified=False, largest=QUERY_CHUNKS * chunk)

    @property
    def resumed(self) -> int:
        """Bytes that an interrupted run had read."""
        return self._count.resumed

    @property
    def executed(self) -> int:
        """Certified reads that the canister has answered, and that have raised its version."""
        return self._certified.executed

    def snapshot(self) -> ChunkTable:
        """The hashes of what is there now."""
        return self._table.resized(self._table.size)

    def forget(self) -> None:
        """Read everything again."""
        self._table = ChunkTable(self._table.size, self._chunk)

    def resize(self, size: int) -> None:
        """The stream has this size now."""
        if size != self._table.size:
            self._work.resize(size)
            self._table = self._table.resized(size)

    def take_resumed(self, indexes: Iterable[int]) -> None:
        """Look at the chunks that an interrupted run has put there."""
        for index in indexes:
            if 0 <= index < self._table.count:
                data = self._work.read(index * self._chunk, self._table.length(index))
                self._table.put(index, hashlib.sha256(data).digest())
                self._count.resumed += len(data)

    def read_certified(self) -> None:
        """Read every chunk that is not known, in certified answers."""
        self._begin_pass()
        missing = [i for i in range(self._table.count) if self._table.get(i) is None]
        left = sum(self._table.length(index) for index in missing)
        size = self._table.size
        self._progress.begin("reading", total_bytes=size, done_bytes=size - left)
        self._run(self._runs(missing, self._certified), self._read_run, self._options)

    def fetch(self, wanted: ChunkTable) -> bool:
        """Bring what is there to certified hashes.

        Args:
            wanted: whole, and of the stream's size.

        Returns:
            Whether it has them all; else the canister has changed since.
        """
        self._begin_pass()
        differ = [i for i in range(wanted.count) if self._table.get(i) != wanted.get(i)]
        size = wanted.size
        done = size - sum(wanted.length(index) for index in differ)
        self._progress.begin("reading what differs", total_bytes=size, done_bytes=done)
        far = self._take_near(differ, wanted)
        few = replace(self._options, window=min(self._options.window, QUERY_WINDOW))
        for attempt in range(_TRIES):
            if attempt and far:
                self._options.surroundings.sleep(_LAG_S)
            self._run(self._runs(far, self._queries), lambda run: self._query_run(run, wanted), few)
            far = [index for index in far if self._table.get(index) != wanted.get(index)]
            if not far:
                break
        return not far

    def sync(self) -> None:
        """Force what is there to the disk."""
        self._work.sync()

    @property
    def is_idle(self) -> bool:
        """Whether no read is in flight that may still bring something."""
        return not self._running

    def tally(self, retries: int) -> ExportTally:
        """What moved so far, with retries of others added."""
        count = self._count
        return ExportTally(
            moved_bytes=self._certified.moved + self._queries.moved,
            resumed_bytes=count.resumed,
            copied_bytes=count.copied,
            zero_bytes=count.zeros,
            calls=self._certified.calls + self._queries.calls,
            retries=count.retries + retries,
            seconds=count.seconds,
            window=count.window,
        )

    def _begin_pass(self) -> None:
        """From the second pass on, there may be something else at each place."""
        if self._passes:
            self._work.begin_again()
        self._passes += 1

    # Without the network

    def _take_near(self, indexes: list[int], wanted: ChunkTable) -> list[int]:
        """Take what is zero or in the earlier export; the chunks that have to be read are left."""
        far = []
        for index in indexes:
            hash_, length = wanted.get(index), wanted.length(index)
            data = None
            if hash_ == self._zeros.of(length):
                data = bytes(length)
                self._count.zeros += length
            elif hash_ is not None:
                if self._options.should_stop():
                    raise InterruptedRunError("the transfer was interrupted")
                data = self._work.earlier(index, length, hash_)
                self._count.copied += 0 if data is None else length
            if data is None:
                far.append(index)
            else:
                self._keep(index, data, [hash_ or b""])
        return far

    # Through the network

    def _runs(self, indexes: list[int], pieces: Pieces) -> Iterator[_Run]:
        """Chunks that follow each other, as many as fit into one read now."""
        at = 0
        while at < len(indexes):
            first, count = indexes[at], 1
            most = max(1, min(_MOST_AT_ONCE, pieces.largest // self._chunk))
            while (
                count < most and at + count < len(indexes) and indexes[at + count] == first + count
            ):
                count += 1
            yield _Run(first=first, count=count)
            at += count

    def _run(
        self, runs: Iterable[_Run], work: Callable[[_Run], None], options: TransferOptions
    ) -> None:
        window: Window[_Run] = Window(options, on_retry=self._retry)
        try:
            with self._reader.watch(window.noticed):
                window.run(runs, work)
        finally:
            self._running = window.running
            count = self._count
            count.retries += window.retries
            count.seconds += window.seconds
            count.window = max(count.window, window.widest)

    def _read_run(self, run: _Run) -> None:
        data = self._read(run, self._certified)
        self._keep(run.first, data, [hashlib.sha256(each).digest() for each in self._cut(data)])

    def _query_run(self, run: _Run, wanted: ChunkTable) -> None:
        data = self._read(run, self._queries)
        for index, chunk in enumerate(self._cut(data), run.first):
            hash_ = hashlib.sha256(chunk).digest()
            if hash_ == wanted.get(index):
                self._keep(index, bytes(chunk), [hash_])

    def _read(self, run: _Run, pieces: Pieces) -> bytes:
        end = min((run.first + run.count) * self._chunk, self._table.size)
        return pieces.read(run.first * self._chunk, end - run.first * self._chunk)

    def _cut(self, data: bytes) -> Iterator[memoryview]:
        view = memoryview(data)
        return (view[at : at + self._chunk] for at in range(0, len(data), self._chunk))

    def _keep(self, first: int, data: bytes, hashes: Sequence[bytes]) -> None:
        """Put chunks where they are kept; that is noted last."""
        self._work.put(first * self._chunk, data)
        for index, hash_ in enumerate(hashes, first):
            self._table.put(index, hash_)
        self._work.note(range(first, first + len(hashes)))
        with self._lock:
            count = self._count
            self._progress.advance(len(data))
            count.since_sync += len(data)
            due = count.since_sync >= self._options.checkpoint_bytes
            if due:
                count.since_sync = 0
        if due:
            self._work.sync()

    def _retry(self, reason: str) -> None:
        with self._lock:
            self._progress.retry(reason)
