"""A copy into a stream: only the chunks that differ there are sent, and the canister checks all.

Nothing has to be remembered between two runs: the canister knows its session, and its certified
hashes tell what is still to be sent.
"""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from dfx_backup.errors import DamageError, EndpointError, NetworkError
from dfx_backup.ic.stable_endpoints import EndpointsInfo, ImportSession
from dfx_backup.transfer.chunk_table import ChunkTable
from dfx_backup.transfer.stable_data import StreamData
from dfx_backup.transfer.stable_hashes import HashPass, certified_hashes
from dfx_backup.transfer.stable_reads import SMALLEST_BYTES, StreamReader, is_too_large
from dfx_backup.transfer.stable_terms import ImportReport
from dfx_backup.transfer.terms import TransferOptions, TransferProgress
from dfx_backup.transfer.window import Window, persist

HASHES_AT_ONCE = 16_384
"""Hashes of one message: about half a MiB."""
_MOST_FINISHES = 100_000
_LARGEST_BYTES = 2 * 1024 * 1024 - 65_536


class StreamWriter(StreamReader, Protocol):
    """Writes a canister's streams as well."""

    def import_begin(self, stream: str, size: int, chunk_size: int, /) -> ImportSession:
        """Begin: from now on the canister is in import mode."""

    def import_hashes(self, session: int, first: int, hashes: Sequence[bytes], /) -> None:
        """The hashes that the chunks from number `first` on have to have."""

    def import_write(self, session: int, offset: int, data: bytes, /) -> None:
        """Write; the same again changes nothing."""

    def import_finish(self, session: int, /) -> int | None:
        """Let the canister check: bytes that are left, or None when it is done."""


def goes_on_with(info: EndpointsInfo, stream: str, hashes: ChunkTable) -> ImportSession | None:
    """The session of an interrupted import of the same, or None."""
    found = info.import_session
    if found is None:
        return None
    same = (found.stream, found.size, found.chunk_size) == (
        stream,
        hashes.size,
        hashes.chunk_size,
    )
    return found if same else None


def import_stream(
    writer: StreamWriter,
    stream: str,
    data: StreamData,
    hashes: ChunkTable,
    *,
    options: TransferOptions,
    progress: TransferProgress,
) -> ImportReport:
    """Make a stream what a copy is. Interrupted at any point, the same call goes on.

    Args:
        writer: calls the canister.
        stream: which stream.
        data: the copy; closed in the end, unless writes are still in flight.
        hashes: of all its chunks.
        options: window, patience and surroundings.
        progress: hears how far it is.

    Raises:
        DamageError: the copy is not what its hashes say.
        InterruptedRunError: `options.should_stop` said so.
        EndpointError: the canister answers with an error: another import is in progress, memory
            can't grow, or what it holds in the end does not have the hashes.
        NetworkError: the canister refuses, or can't be reached.
        ProjectError: the copy can't be read.
    """
    run = _Import(writer, stream, data, hashes, options, progress)
    try:
        return run.carry_out()
    finally:
        if not run.running:
            data.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    offset: int
    size: int


class _Import:
    """One run; `running` are the writes that were left behind in flight."""

    def __init__(
        self,
        writer: StreamWriter,
        stream: str,
        data: StreamData,
        hashes: ChunkTable,
        options: TransferOptions,
        progress: TransferProgress,
    ) -> None:
        self._writer = writer
        self._stream = stream
        self._data = data
        self._hashes = hashes
        self._options = options
        self._progress = progress
        self._lock = threading.Lock()
        self._retries = self._moved = self._calls = 0
        self._largest = _LARGEST_BYTES
        self.running = 0

    def carry_out(self) -> ImportReport:
        """From the first call to the canister's last word."""
        session, resumed = self._session()
        there = self._there()
        differ = [
            index
            for index in range(self._hashes.count)
            if there.table.get(index) != self._hashes.get(index)
        ]
        left = sum(self._hashes.length(index) for index in differ)
        total = self._hashes.size
        self._progress.begin("writing what differs", total_bytes=total, done_bytes=total - left)
        window: Window[_Run] = Window(self._options, on_retry=self._retry)
        try:
            with self._writer.watch(window.noticed):
                window.run(self._runs(differ), lambda run: self._write(session, run))
        finally:
            self.running = window.running
        finishes = self._finish(session)
        return ImportReport(
            session=session,
            resumed=resumed,
            total_bytes=total,
            moved_bytes=self._moved,
            same_bytes=total - left,
            calls=self._calls,
            hash_calls=len(there.versions),
            finish_calls=finishes,
            retries=self._retries + window.retries + there.retries,
            seconds=window.seconds,
            window=window.widest,
        )

    def _session(self) -> tuple[int, bool]:
        """The session, with all hashes; True when it was there before."""
        info = persist(self._writer.info, self._options, failed=self._failed)
        self._largest = min(self._largest, info.max_write)
        found = goes_on_with(info, self._stream, self._hashes)
        if found is not None:
            try:
                self._send_hashes(found.session)
            except EndpointError as error:
                if error.case != "no_such_session":  # it has come to its end
                    raise
            else:
                return found.session, True
        session = self._begin()
        self._send_hashes(session)
        return session, False

    def _begin(self) -> int:
        """Begin; after a lost answer the session can be there already."""

        def begin() -> int:
            args = (self._stream, self._hashes.size, self._hashes.chunk_size)
            try:
                return self._writer.import_begin(*args).session
            except EndpointError as error:
                info = self._writer.info() if error.case == "import_in_progress" else None
                found = None if info is None else goes_on_with(info, self._stream, self._hashes)
                if found is None:
                    raise
                return found.session

        return persist(begin, self._options, failed=self._failed)

    def _send_hashes(self, session: int) -> None:
        self._progress.step("sending hashes")
        known = [hash_ or b"" for hash_ in self._hashes]
        for first in range(0, len(known), HASHES_AT_ONCE):
            some = known[first : first + HASHES_AT_ONCE]
            persist(
                lambda at=first, part=some: self._writer.import_hashes(session, at, part),  # type: ignore[misc] # bound now
                self._options,
                failed=self._failed,
            )

    def _there(self) -> HashPass:
        """What the canister holds now: chunks that are equal need not be sent."""
        self._progress.step("asking for certified hashes")
        return certified_hashes(
            self._writer,
            self._stream,
            self._hashes.chunk_size,
            options=self._options,
            on_retry=self._retry,
        )

    def _runs(self, indexes: Sequence[int]) -> Iterator[_Run]:
        """Chunks that follow each other, as many as one message holds."""
        chunk = self._hashes.chunk_size
        at = 0
        while at < len(indexes):
            count = 1
            while (
                at + count < len(indexes)
                and indexes[at + count] == indexes[at] + count
                and (count + 1) * chunk <= self._largest
            ):
                count += 1
            offset = indexes[at] * chunk
            yield _Run(offset=offset, size=min(count * chunk, self._hashes.size - offset))
            at += count

    def _write(self, session: int, run: _Run) -> None:
        data = self._checked(run)
        at = 0
        while at < run.size:
            step = min(self._largest, run.size - at)
            try:
                piece = data if step == run.size else data[at : at + step]
                self._writer.import_write(session, run.offset + at, piece)
            except NetworkError as error:
                if not is_too_large(error) or step <= SMALLEST_BYTES:
                    raise
                with self._lock:
                    self._largest = min(self._largest, max(SMALLEST_BYTES, step // 2))
                continue
            at += step
            with self._lock:
                self._calls += 1
                self._moved += step
                self._progress.advance(step)

    def _checked(self, run: _Run) -> bytes:
        """Bytes of the copy, which must still be what its hashes say."""
        data = self._data.read(run.offset, run.size)
        chunk = self._hashes.chunk_size
        for at in range(0, run.size, chunk):
            found = hashlib.sha256(memoryview(data)[at : at + chunk]).digest()
            if found != self._hashes.get((run.offset + at) // chunk):
                raise DamageError(f"{self._data} has changed at offset {run.offset + at:,}")
        return data

    def _finish(self, session: int) -> int:
        """Let the canister check all of it; returns in how many calls."""
        self._progress.step("the canister checks all hashes")
        for calls in range(1, _MOST_FINISHES):
            left = persist(
                lambda: self._writer.import_finish(session), self._options, failed=self._failed
            )
            if left is None:
                return calls
        raise EndpointError("backup_import_finish never comes to an end", case="malformed")

    def _failed(self, error: NetworkError) -> None:
        with self._lock:
            self._retries += 1
        self._retry(error.message)

    def _retry(self, reason: str) -> None:
        with self._lock:
            self._progress.retry(reason)
