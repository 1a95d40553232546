"""A snapshot made of another one's module and heap, and of a stable memory from elsewhere."""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from dfx_backup.errors import DamageError
from dfx_backup.ic.snapshot_metadata import SnapshotMetadata
from dfx_backup.ic.snapshot_parts import ReadPart, Section
from dfx_backup.model import CanisterId, SnapshotId
from dfx_backup.transfer.chunk_table import ChunkTable
from dfx_backup.transfer.slices import ZERO_RUN_PAGES, is_zero, pieces, whole_pages
from dfx_backup.transfer.stable_check import checked_chunks
from dfx_backup.transfer.stable_data import StreamData
from dfx_backup.transfer.terms import (
    PAGE_BYTES,
    BackupIdentity,
    SliceReader,
    TransferProgress,
    TroubleListener,
)
from dfx_backup.transfer.upload_plan import SectionData, SourceFile, UploadPlan, plan_sections

STABLE_FILE = "stable memory"
"""What stands for the new stable memory's file in messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """What a look at a copy has found.

    Attributes:
        size: bytes of the stable memory that it makes: whole pages.
        runs: begin and end of what is not zero.
        wrong: offsets of chunks that do not have their hash.
    """

    size: int
    runs: tuple[tuple[int, int], ...]
    wrong: tuple[int, ...]


def scan(
    data: StreamData,
    hashes: ChunkTable,
    *,
    progress: TransferProgress,
    should_stop: Callable[[], bool],
) -> Scanned:
    """Compare a copy with its hashes, and find out what of it is zero: it is read once for both.

    Args:
        data: open, and as long as the hashes say.
        hashes: of all its chunks.
        progress: hears how far it is.
        should_stop: asked at every chunk.

    Raises:
        InterruptedRunError: `should_stop` said so.
        ProjectError, DamageError: it can't be read.
    """
    runs: list[tuple[int, int]] = []
    wrong = []
    chunks = checked_chunks(data, hashes, progress=progress, should_stop=should_stop)
    for offset, chunk, right in chunks:
        if not right:
            wrong.append(offset)
        for start, end in pieces(offset, len(chunk)):
            if not is_zero(chunk, start, end):
                _add(runs, offset + start, offset + end)
    size = whole_pages(hashes.size)
    return Scanned(
        size=size,
        runs=tuple((begin, min(whole_pages(end), size)) for begin, end in runs),
        wrong=tuple(wrong),
    )


def _add(runs: list[tuple[int, int]], begin: int, end: int) -> None:
    """Join runs between which so few zeros lie that one more call would cost more."""
    begin = begin // PAGE_BYTES * PAGE_BYTES
    if runs and begin - runs[-1][1] < ZERO_RUN_PAGES * PAGE_BYTES:
        runs[-1] = (runs[-1][0], max(runs[-1][1], end))
    else:
        runs.append((begin, end))


class WithoutStableMemory:
    """Reads a snapshot as if it had no stable memory: a `SliceReader`."""

    def __init__(self, reader: SliceReader) -> None:
        self._reader = reader

    def read_snapshot_metadata(
        self, canister: CanisterId, snapshot: SnapshotId, /
    ) -> SnapshotMetadata:
        """The metadata, without a stable memory."""
        found = self._reader.read_snapshot_metadata(canister, snapshot)
        return replace(found, stable_memory_size=0)

    def read_snapshot_data(
        self, canister: CanisterId, snapshot: SnapshotId, part: ReadPart, /
    ) -> bytes:
        """The certified bytes of a part."""
        return self._reader.read_snapshot_data(canister, snapshot, part)

    def watch(self, listener: TroubleListener, /) -> AbstractContextManager[None]:
        """Let the listener hear of failed requests until the block ends."""
        return self._reader.watch(listener)


class ImageOrigin:
    """Where the bytes of such a snapshot come from; an `upload_plan.Origin`.

    Args:
        base: module, heap and chunks, in a folder.
        what: names the copy.
        copy: opens the copy.
        size: bytes of the copy.
        file: the copy's file as it was when its hashes were compared, or None without one.
    """

    def __init__(
        self,
        base: UploadPlan,
        what: str,
        copy: Callable[[], StreamData],
        size: int,
        file: SourceFile | None,
    ) -> None:
        self._base = base.origin
        self._what = what
        self._copy = copy
        self._size = size
        self._file = file
        self._data: StreamData | None = None

    def __str__(self) -> str:
        return self._what

    @property
    def identity(self) -> BackupIdentity | None:
        """Of the base."""
        return self._base.identity

    @property
    def proven(self) -> bool:
        """Hashes prove both parts."""
        return self._base.proven

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the base; the copy was looked at before."""
        return self._base.problems

    def open(self) -> None:
        """Open both parts."""
        self._base.open()
        self._data = self._copy()

    def read(self, data: SectionData, offset: int, size: int) -> bytes:
        """Bytes of a section; beyond the copy's end the last page is zero."""
        if data.part is not Section.STABLE_MEMORY:
            return self._base.read(data, offset, size)
        assert self._data is not None  # or it was not opened
        there = max(0, min(size, self._size - offset))
        return self._data.read(offset, there) + bytes(size - there)

    def close(self) -> None:
        """Close both parts."""
        self._base.close()
        if self._data is not None:
            self._data.close()
            self._data = None

    def check_unchanged(self) -> None:
        """Compare both parts with what they were."""
        self._base.check_unchanged()
        if self._file is not None and not self._file.is_same():
            raise DamageError(f"{self._file.path} was changed while it was uploaded")


def plan_image(
    base: UploadPlan,
    what: str,
    copy: Callable[[], StreamData],
    hashes: ChunkTable,
    found: Scanned,
    file: SourceFile | None,
) -> UploadPlan:
    """What is sent: the base's module, heap and chunks, and the copy as stable memory.

    Args:
        base: of a folder that holds a snapshot without its stable memory.
        what: names the copy.
        copy: opens the copy.
        hashes: of its chunks.
        found: what `scan` found.
        file: the copy's file as it was before that, or None without one.
    """
    origin = ImageOrigin(base, what, copy, hashes.size, file)
    metadata = replace(base.metadata, stable_memory_size=found.size)
    stable = SectionData(
        part=Section.STABLE_MEMORY, file=STABLE_FILE, start=0, size=found.size, runs=found.runs
    )
    digest = hashlib.sha256(f"{base.digest}\0{hashes.size}\0{hashes.root()}".encode())
    sections = (*base.sections, *((stable,) if found.size else ()))
    return plan_sections(origin, metadata, sections, digest.hexdigest())
