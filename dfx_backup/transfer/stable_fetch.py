"""Chunks into the working file: from the canister, from an earlier export, or known to be zero."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from dfx_backup.transfer.chunk_table import ChunkTable, ZeroHashes
from dfx_backup.transfer.section_file import SectionFile
from dfx_backup.transfer.slices import read_exactly
from dfx_backup.transfer.stable_reads import (
    CERTIFIED_BYTES,
    CHUNK_BYTES,
    QUERY_BYTES,
    Pieces,
    StreamReader,
)
from dfx_backup.transfer.stable_terms import ExportTally
from dfx_backup.transfer.stable_work import ExportWork
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
    """Fills the working file of one export.

    Args:
        reader: reads the network.
        work: the files.
        size: of the stream, in bytes.
        options: window, patience and surroundings.
        progress: hears of every chunk.
    """

    def __init__(
        self,
        reader: StreamReader,
        work: ExportWork,
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
        self._table = ChunkTable(size, CHUNK_BYTES)  # of what is in the file
        self._file = SectionFile(work.paths.part, size)
        stream = work.stream
        self._certified = Pieces(reader, stream, certified=True, largest=CERTIFIED_BYTES)
        self._queries = Pieces(reader, stream, certified=False, largest=QUERY_BYTES)

    @property
    def resumed(self) -> int:
        """Bytes that an interrupted run had read."""
        return self._count.resumed

    @property
    def executed(self) -> int:
        """Certified reads that the canister has answered, and that have raised its version."""
        return self._certified.executed

    def snapshot(self) -> ChunkTable:
        """The hashes of what is in the file now."""
        return self._table.resized(self._table.size)

    def forget(self) -> None:
        """Read everything again."""
        self._table = ChunkTable(self._table.size, CHUNK_BYTES)

    def resize(self, size: int) -> None:
        """The stream has this size now."""
        if size != self._table.size:
            os.ftruncate(self._file.handle, size)
            self._file.size = size
            self._table = self._table.resized(size)

    def take_resumed(self, indexes: Iterable[int]) -> None:
        """Look at the chunks that an interrupted run has put into the file."""
        for index in indexes:
            if 0 <= index < self._table.count:
                data = self._file.read(index * CHUNK_BYTES, self._table.length(index))
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
        """Bring the file to certified hashes.

        Args:
            wanted: whole, and of the file's size.

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
        """Force the bytes to the disk."""
        self._file.sync()

    def close(self) -> bool:
        """Close the file; False when reads that are still in flight may write to it."""
        if self._running:
            return False
        self._file.close()
        return True

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
        """From the second pass on, zeros have to be written over what the first one has put there.

        A file that was opened when it was empty leaves them out.
        """
        if self._passes:
            self._file.close()
            self._file = SectionFile(self._work.paths.part, self._table.size)
        self._passes += 1

    # Without the network

    def _take_near(self, indexes: list[int], wanted: ChunkTable) -> list[int]:
        """Take what is zero or in the earlier export; the chunks that have to be read are left."""
        far = []
        previous = self._work.previous
        table = None if previous is None else previous.hashes
        with _Earlier(self._work, table) as earlier:
            for index in indexes:
                hash_, length = wanted.get(index), wanted.length(index)
                data = None
                if hash_ == self._zeros.of(length):
                    data = bytes(length)
                    self._count.zeros += length
                elif hash_ is not None:
                    data = earlier.chunk(index, length, hash_)
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
            most = max(1, min(_MOST_AT_ONCE, pieces.largest // CHUNK_BYTES))
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
        end = min((run.first + run.count) * CHUNK_BYTES, self._table.size)
        return pieces.read(run.first * CHUNK_BYTES, end - run.first * CHUNK_BYTES)

    def _cut(self, data: bytes) -> Iterator[memoryview]:
        view = memoryview(data)
        return (view[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES))

    def _keep(self, first: int, data: bytes, hashes: Sequence[bytes]) -> None:
        """Put chunks into the file; the journal hears of them last."""
        self._file.put(first * CHUNK_BYTES, data)
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
            self._file.sync()
            self._work.sync()

    def _retry(self, reason: str) -> None:
        with self._lock:
            self._progress.retry(reason)


class _Earlier:
    """The bytes of the earlier export, opened when they are first needed."""

    def __init__(self, work: ExportWork, table: ChunkTable | None) -> None:
        self._path = work.paths.data
        self._table = table
        self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._handle >= 0:
            os.close(self._handle)

    def chunk(self, index: int, length: int, hash_: bytes) -> bytes | None:
        """A chunk, when it is there, and what it should be."""
        table = self._table
        if table is None or table.chunk_size != CHUNK_BYTES or table.get(index) != hash_:
            return None
        try:
            if self._handle < 0:
                self._handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            data = read_exactly(self._handle, length, index * CHUNK_BYTES)
        except OSError:
            return None  # then it is read from the canister
        return data if hashlib.sha256(data).digest() == hash_ else None
