"""What an upload sends, decided and checked before anything is sent; and where it is read."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from dfx_backup.errors import DamageError, ProjectError
from dfx_backup.ic.snapshot_metadata import SnapshotMetadata
from dfx_backup.ic.snapshot_parts import Section, UploadPlace, WasmChunk
from dfx_backup.transfer import backup_json, metadata_json
from dfx_backup.transfer.folder import Source, check_source, open_folder
from dfx_backup.transfer.slices import read_exactly
from dfx_backup.transfer.terms import SLICE_BYTES, BackupIdentity, FileRecord, FolderReport


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file of the folder as it was when it was planned with.

    Attributes:
        path: the file.
        size: bytes.
        modified_ns: its time of modification.
    """

    path: Path
    size: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> "SourceFile":
        """The file as it is now.

        Raises:
            OSError: it is gone.
        """
        found = path.stat()
        return cls(path=path, size=found.st_size, modified_ns=found.st_mtime_ns)

    def is_same(self) -> bool:
        """Whether the file is still there, and as it was."""
        try:
            return SourceFile.of(self.path) == self
        except OSError:
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionData:
    """A section, or a chunk of the Wasm chunk store, and what of it is sent.

    Attributes:
        part: which one; a chunk is sent whole.
        file: name of the file that holds it.
        start: where it begins in the file.
        size: bytes.
        runs: begin and end of the ranges that are sent, counted from `start`.
    """

    part: Section | WasmChunk
    file: str
    start: int
    size: int
    runs: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSlice:
    """What one call sends.

    Attributes:
        place: where it goes.
        data: the section or chunk that it is of.
        size: bytes.
    """

    place: UploadPlace
    data: SectionData
    size: int


class Origin(Protocol):
    """Where the bytes of an upload come from; as a text it names itself in messages."""

    @property
    def identity(self) -> BackupIdentity | None:
        """Of what it is a copy, when that is known."""

    @property
    def proven(self) -> bool:
        """Whether hashes prove that it is what was once downloaded."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with it, full sentences; an upload with problems is refused."""

    def open(self) -> None:
        """Get ready to be read.

        Raises:
            OSError: a file can't be opened.
        """

    def read(self, data: SectionData, offset: int, size: int) -> bytes:
        """Bytes of a section, `offset` counted from its begin; called by several threads.

        Raises:
            DamageError: they are not what was once written.
            OSError: a file can't be read.
        """

    def close(self) -> None:
        """Nothing is read any more."""

    def check_unchanged(self) -> None:
        """Compare it with what it was when it was planned with.

        Raises:
            DamageError: it has changed.
        """


class FolderOrigin:
    """A snapshot's folder.

    Args:
        report: the folder and its problems.
        files: the files as they were; they must not change until the upload is done.
    """

    def __init__(self, report: FolderReport, files: tuple[SourceFile, ...]) -> None:
        self.report = report
        self._files = files
        self._handles: dict[str, int] = {}

    def __str__(self) -> str:
        return str(self.report.folder)

    @property
    def identity(self) -> BackupIdentity | None:
        """What backup.json says."""
        return self.report.identity

    @property
    def proven(self) -> bool:
        """Whether the folder records hashes."""
        return self.report.hashes

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the folder."""
        return self.report.problems

    def open(self) -> None:
        """Open all files."""
        for each in self._files:
            name = each.path.relative_to(self.report.folder).as_posix()
            self._handles[name] = os.open(each.path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, data: SectionData, offset: int, size: int) -> bytes:
        """Bytes of a section."""
        return read_exactly(self._handles[data.file], size, data.start + offset)

    def close(self) -> None:
        """Close all files."""
        for handle in self._handles.values():
            os.close(handle)
        self._handles.clear()

    def check_unchanged(self) -> None:
        """Compare sizes and times."""
        for each in self._files:
            if not each.is_same():
                raise DamageError(f"{each.path} was changed while it was uploaded")


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPlan:
    """What an upload would send; sizes are bytes.

    Attributes:
        origin: where the bytes are.
        metadata: what is uploaded, exact to the bit.
        total_bytes: module, memories and chunks together.
        send_bytes: the part that is sent.
        zero_bytes: the part that is zero and not sent.
        envelopes: calls that carry it.
        chunks: how many of them are chunks of the Wasm chunk store.
        digest: tells this content from any other, hexadecimal.
        sections: everything that is sent, in the order in which it is sent.
        slice_bytes: most bytes of a call.
    """

    origin: Origin
    metadata: SnapshotMetadata
    total_bytes: int
    send_bytes: int
    zero_bytes: int
    envelopes: int
    chunks: int
    digest: str
    sections: tuple[SectionData, ...] = field(repr=False)
    slice_bytes: int = SLICE_BYTES

    def slices(self) -> Iterator[UploadSlice]:
        """Every call that carries data, in order."""
        step = self.slice_bytes
        for data in self.sections:
            if isinstance(data.part, WasmChunk):
                yield UploadSlice(place=UploadPlace(section=None), data=data, size=data.size)
                continue
            for begin, end in data.runs:
                for offset in range(begin, end, step):
                    place = UploadPlace(section=data.part, offset=offset)
                    yield UploadSlice(place=place, data=data, size=min(step, end - offset))


def plan_sections(
    origin: Origin,
    metadata: SnapshotMetadata,
    sections: tuple[SectionData, ...],
    digest: str,
    *,
    slice_bytes: int = SLICE_BYTES,
) -> UploadPlan:
    """The plan that sends these sections; see `UploadPlan`."""
    total = sum(each.size for each in sections)
    send = sum(end - begin for each in sections for begin, end in each.runs)
    chunks = sum(isinstance(each.part, WasmChunk) for each in sections)
    plan = UploadPlan(
        origin=origin,
        metadata=metadata,
        total_bytes=total,
        send_bytes=send,
        zero_bytes=total - send,
        envelopes=0,
        chunks=chunks,
        digest=digest,
        sections=sections,
        slice_bytes=slice_bytes,
    )
    return replace(plan, envelopes=sum(1 for _ in plan.slices()))


def content_digest(metadata: SnapshotMetadata) -> "hashlib._Hash":
    """The begin of `UploadPlan.digest`: what the metadata says, to the bit."""
    digest = hashlib.sha256(metadata_json.to_json(metadata))
    digest.update(repr(backup_json.globals_to_json(metadata.globals)).encode())
    return digest


def plan_upload(folder: Path) -> UploadPlan:
    """Check a folder and decide what is sent.

    Reads every byte that is not in a hole, once: for its hash, where one is recorded, and to find
    zeros. Problems are in the plan's report.

    Raises:
        DamageError: the metadata can't be read at all.
        ProjectError: the folder can't be read, or a newer program made it.
    """
    contents = open_folder(folder)
    metadata = contents.metadata
    if metadata is None:
        raise DamageError(f"{folder} can't be uploaded: {' '.join(contents.problems)}")
    sources: list[tuple[Section | WasmChunk, Source]] = [*contents.sections.items()]
    sources += [(WasmChunk(hash=hash_), each) for hash_, each in contents.chunks.items()]
    files = _files({folder / each.name for _, each in sources})
    records = []
    sections = []
    digest = content_digest(metadata)
    for part, source in sources:
        runs: list[tuple[int, int]] = []
        record = check_source(contents, source, runs=runs)
        records.append(record)
        if isinstance(part, WasmChunk):
            runs = [(0, source.size)]
        data = SectionData(
            part=part,
            file=source.name,
            start=source.start,
            size=source.size,
            runs=tuple(runs),
        )
        sections.append(data)
        digest.update(_identity(data, record, files, folder))
    origin = FolderOrigin(contents.report(tuple(records)), files)
    return plan_sections(origin, metadata, tuple(sections), digest.hexdigest())


def _files(paths: set[Path]) -> tuple[SourceFile, ...]:
    try:
        return tuple(SourceFile.of(path) for path in sorted(paths))
    except OSError as error:
        raise ProjectError(f"{error.filename} can't be read: {error.strerror}") from error


def _identity(
    data: SectionData, record: FileRecord, files: tuple[SourceFile, ...], folder: Path
) -> bytes:
    """What tells this content from another: its hash, or else its file's size and time."""
    file = next(each for each in files if each.path == folder / data.file)
    known: tuple[object, ...] = (file.size, file.modified_ns)
    if record.sha256 is not None:
        known = (record.sha256,)
    elif record.pages is not None:
        known = (record.pages.page_bytes, record.pages.sha256)
    return repr((data.part, data.size, data.runs, *known)).encode()
