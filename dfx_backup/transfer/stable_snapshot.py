"""The stable memory of a snapshot into a file: certified slices, resumable, of one moment.

A snapshot never changes, so nothing has to be read twice. What an interrupted run has read is
compared with the hashes that it noted, since nobody else can tell them.
"""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from dfx_backup.ic.snapshot_metadata import SnapshotMetadata
from dfx_backup.ic.snapshot_parts import ReadPart, Section, Slice
from dfx_backup.ic.stable_endpoints import StreamKind
from dfx_backup.model import SnapshotId
from dfx_backup.transfer.chunk_table import ChunkTable
from dfx_backup.transfer.parts import PartsReader, PartsReport
from dfx_backup.transfer.stable_reads import CERTIFIED_BYTES, CHUNK_BYTES
from dfx_backup.transfer.stable_sidecar import (
    Certified,
    Moment,
    Sidecar,
    StablePaths,
    StreamIdentity,
)
from dfx_backup.transfer.stable_terms import ExportTally
from dfx_backup.transfer.stable_work import ExportWork, opened
from dfx_backup.transfer.terms import SliceReader, TransferOptions, TransferProgress

_KIT = "none: read from a snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotExport:
    """What an export from a snapshot did.

    Attributes:
        sidecar: what is known of them.
        metadata: the snapshot's.
        tally: what moved; of its zeros, what takes no space in the file.
    """

    sidecar: Sidecar
    metadata: SnapshotMetadata
    tally: ExportTally


def export_snapshot(
    reader: SliceReader,
    what: StreamIdentity,
    snapshot: SnapshotId,
    paths: StablePaths,
    *,
    tool: str,
    created_at: float,
    options: TransferOptions,
    progress: TransferProgress,
) -> SnapshotExport:
    """Copy a snapshot's stable memory into NAME.stable.bin, with NAME.stable.json beside it.

    An earlier export stays as it is until the new one is complete. An interrupted one is gone on
    with, when it was of the same snapshot.

    Args:
        reader: reads the network; certifies what it reads.
        what: which memory; goes into the sidecar, as `tool` and `created_at` do.
        snapshot: which snapshot.
        paths: the files.
        tool: name and version of the program.
        created_at: seconds since the epoch.
        options: window, patience and surroundings.
        progress: hears how far it is.

    Raises:
        InterruptedRunError: `options.should_stop` said so.
        NetworkError: the network refuses, or can't be reached.
        RefusedError, LockedError, ProjectError: the files can't be used, or hold something else.
    """
    with opened(paths, what, CHUNK_BYTES, snapshot=snapshot) as work:
        parts = PartsReader(reader, what.canister_id, snapshot, options=options, progress=progress)
        try:
            metadata = parts.metadata()
            run = _Export(parts, work, metadata.stable_memory_size, options, progress)
            moved = run.carry_out()
            sidecar = _sidecar(what, snapshot, metadata, run.table, tool, created_at)
            work.commit(sidecar)
            return SnapshotExport(sidecar=sidecar, metadata=metadata, tally=run.tally(moved))
        finally:
            if not parts.running:  # or a thread may still write
                work.close()


def _sidecar(
    what: StreamIdentity,
    snapshot: SnapshotId,
    metadata: SnapshotMetadata,
    table: ChunkTable,
    tool: str,
    created_at: float,
) -> Sidecar:
    return Sidecar(
        identity=what,
        kind=StreamKind.STABLE_MEMORY.value,
        kit=_KIT,
        hashes=table,
        certified=Certified.READS,
        moment=Moment.SNAPSHOT,
        versions=(metadata.canister_version, metadata.canister_version),
        tool=tool,
        created_at=created_at,
        snapshot=snapshot,
    )


class _Export:
    """One run."""

    def __init__(
        self,
        parts: PartsReader,
        work: ExportWork,
        size: int,
        options: TransferOptions,
        progress: TransferProgress,
    ) -> None:
        self._parts = parts
        self._work = work
        self._options = options
        self._progress = progress
        self._lock = threading.Lock()
        self._resumed = self._zeros = self._since_sync = 0
        self.table = ChunkTable(size, CHUNK_BYTES)
        work.begin(size)

    def carry_out(self) -> PartsReport:
        """Everything from the first slice to the last byte on the disk."""
        self._take_resumed()
        self._progress.begin("reading", total_bytes=self.table.size, done_bytes=self._resumed)
        moved = self._parts.read(self._slices(), self._keep)
        self.table.require_whole("the snapshot's stable memory")
        self._work.sync()
        return moved

    def tally(self, moved: PartsReport) -> ExportTally:
        """What moved."""
        return ExportTally(
            moved_bytes=moved.moved_bytes,
            resumed_bytes=self._resumed,
            copied_bytes=0,
            zero_bytes=self._zeros,
            calls=moved.calls,
            retries=moved.retries,
            seconds=moved.seconds,
            window=moved.window,
        )

    def _take_resumed(self) -> None:
        """Keep chunks of an interrupted run that are still what it has read."""
        if self._work.hashes:
            self._progress.step("checking what is there already")
        for index, hash_ in self._work.hashes.items():
            if not 0 <= index < self.table.count:
                continue
            data = self._work.read(index * CHUNK_BYTES, self.table.length(index))
            if hashlib.sha256(data).digest() == hash_:
                self.table.put(index, hash_)
                self._resumed += len(data)

    def _slices(self) -> Iterator[Slice]:
        """What is missing, two chunks at a time where both are."""
        most = CERTIFIED_BYTES // CHUNK_BYTES
        missing = [index for index in range(self.table.count) if self.table.get(index) is None]
        at = 0
        while at < len(missing):
            first, count = missing[at], 1
            while count < most and missing[at + count : at + count + 1] == [first + count]:
                count += 1
            at += count
            offset = first * CHUNK_BYTES
            end = min(offset + count * CHUNK_BYTES, self.table.size)
            yield Slice(section=Section.STABLE_MEMORY, offset=offset, size=end - offset)

    def _keep(self, part: ReadPart, data: bytes) -> None:
        """Put a slice into the file; the journal hears of it last."""
        assert isinstance(part, Slice)  # nothing else was asked for
        first, view = part.offset // CHUNK_BYTES, memoryview(data)
        hashes = [
            hashlib.sha256(view[at : at + CHUNK_BYTES]).digest()
            for at in range(0, len(data), CHUNK_BYTES)
        ]
        zeros = self._work.file.put(part.offset, data)
        for index, hash_ in enumerate(hashes, first):
            self.table.put(index, hash_)
        self._work.note_hashes(first, hashes)
        with self._lock:
            self._zeros += zeros
            self._since_sync += len(data)
            due = self._since_sync >= self._options.checkpoint_bytes
            if due:
                self._since_sync = 0
        if due:
            self._work.sync()
