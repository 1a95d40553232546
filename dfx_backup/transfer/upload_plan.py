"""What an upload sends, decided and checked before anything is sent."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from dfx_backup.errors import DamageError, ProjectError
from dfx_backup.ic.snapshot_metadata import SnapshotMetadata
from dfx_backup.ic.snapshot_parts import Section, UploadPlace, WasmChunk
from dfx_backup.transfer import backup_json, metadata_json
from dfx_backup.transfer.folder import Contents, Source, check_source, open_folder
from dfx_backup.transfer.terms import SLICE_BYTES, FileRecord, FolderReport


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionData:
    """A section, or a chunk of the Wasm chunk store, and what of it is sent.

    Attributes:
        part: which one; a chunk is sent whole.
        path: the file that holds it.
        start: where it begins in the file.
        size: bytes.
        runs: begin and end of the ranges that are sent, counted from `start`.
    """

    part: Section | WasmChunk
    path: Path
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


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPlan:
    """What an upload would send; sizes are bytes.

    Attributes:
        report: the folder and its problems; an upload with problems is refused.
        metadata: what is uploaded, exact to the bit.
        total_bytes: module, memories and chunks together.
        send_bytes: the part that is sent.
        zero_bytes: the part that is zero and not sent.
        envelopes: calls that carry it.
        chunks: how many of them are chunks of the Wasm chunk store.
        digest: tells this content from any other, hexadecimal.
        sections: everything that is sent, in the order in which it is sent.
        files: the files as they were; they must not change until the upload is done.
    """

    report: FolderReport
    metadata: SnapshotMetadata
    total_bytes: int
    send_bytes: int
    zero_bytes: int
    envelopes: int
    chunks: int
    digest: str
    sections: tuple[SectionData, ...] = field(repr=False)
    files: tuple[SourceFile, ...] = field(repr=False)

    def slices(self) -> Iterator[UploadSlice]:
        """Every call that carries data, in order."""
        for data in self.sections:
            if isinstance(data.part, WasmChunk):
                yield UploadSlice(place=UploadPlace(section=None), data=data, size=data.size)
                continue
            for begin, end in data.runs:
                for offset in range(begin, end, SLICE_BYTES):
                    place = UploadPlace(section=data.part, offset=offset)
                    yield UploadSlice(place=place, data=data, size=min(SLICE_BYTES, end - offset))

    def check_unchanged(self) -> None:
        """Compare the files with what they were.

        Raises:
            DamageError: one has changed.
        """
        for each in self.files:
            try:
                same = SourceFile.of(each.path) == each
            except OSError:
                same = False
            if not same:
                raise DamageError(f"{each.path} was changed while it was uploaded")


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
    digest = hashlib.sha256(metadata_json.to_json(metadata))
    digest.update(repr(backup_json.globals_to_json(metadata.globals)).encode())
    for part, source in sources:
        runs: list[tuple[int, int]] = []
        record = check_source(contents, source, runs=runs)
        records.append(record)
        if isinstance(part, WasmChunk):
            runs = [(0, source.size)]
        data = SectionData(
            part=part,
            path=folder / source.name,
            start=source.start,
            size=source.size,
            runs=tuple(runs),
        )
        sections.append(data)
        digest.update(_identity(data, record, files))
    return _plan(contents, metadata, tuple(records), tuple(sections), files, digest.hexdigest())


def _files(paths: set[Path]) -> tuple[SourceFile, ...]:
    try:
        return tuple(SourceFile.of(path) for path in sorted(paths))
    except OSError as error:
        raise ProjectError(f"{error.filename} can't be read: {error.strerror}") from error


def _identity(data: SectionData, record: FileRecord, files: tuple[SourceFile, ...]) -> bytes:
    """What tells this content from another: its hash, or else its file's size and time."""
    file = next(each for each in files if each.path == data.path)
    known: tuple[object, ...] = (file.size, file.modified_ns)
    if record.sha256 is not None:
        known = (record.sha256,)
    elif record.pages is not None:
        known = (record.pages.page_bytes, record.pages.sha256)
    return repr((data.part, data.size, data.runs, *known)).encode()


def _plan(
    contents: Contents,
    metadata: SnapshotMetadata,
    records: tuple[FileRecord, ...],
    sections: tuple[SectionData, ...],
    files: tuple[SourceFile, ...],
    digest: str,
) -> UploadPlan:
    total = sum(each.size for each in sections)
    send = sum(end - begin for each in sections for begin, end in each.runs)
    chunks = sum(isinstance(each.part, WasmChunk) for each in sections)
    plan = UploadPlan(
        report=contents.report(records),
        metadata=metadata,
        total_bytes=total,
        send_bytes=send,
        zero_bytes=total - send,
        envelopes=0,
        chunks=chunks,
        digest=digest,
        sections=sections,
        files=files,
    )
    return replace(plan, envelopes=sum(1 for _ in plan.slices()))
