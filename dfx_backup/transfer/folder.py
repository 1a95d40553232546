"""Snapshot folders of dfx, icp, Juno and this program: what is in them, and whether it is whole."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dfx_backup.errors import DamageError, ProjectError
from dfx_backup.ic.snapshot_metadata import SnapshotMetadata
from dfx_backup.ic.snapshot_parts import Section
from dfx_backup.transfer import backup_json, juno, metadata_json
from dfx_backup.transfer.backup_json import BACKUP_NAME, BackupRecord
from dfx_backup.transfer.metadata_check import metadata_problems
from dfx_backup.transfer.metadata_json import METADATA_NAME
from dfx_backup.transfer.page_hash import FileHash
from dfx_backup.transfer.slices import data_runs
from dfx_backup.transfer.terms import FileRecord, FolderKind, FolderReport, PageHash

JOURNAL_NAME = ".dfx-backup.partial"
"""There while a download of ours is not finished."""
CHUNKS_NAME = "wasm_chunk_store"
SECTION_NAMES: Mapping[Section, str] = {
    Section.WASM_MODULE: "wasm_module.bin",
    Section.WASM_MEMORY: "wasm_memory.bin",
    Section.STABLE_MEMORY: "stable_memory.bin",
}

_ICP_PARTIAL = ".download_progress.json"
_ICP_LOCK = ".lock"
_MAGICS = (b"\0asm", b"\x1f\x8b\x08")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A range of a file that holds a section or a chunk.

    Attributes:
        name: of the file, relative to the folder.
        start: where it begins.
        size: bytes.
        sha256: of the range, when it is known, hexadecimal.
        pages: hash of its pages, when it is known.
    """

    name: str
    start: int
    size: int
    sha256: str | None = None
    pages: PageHash | None = None

    @property
    def hashes(self) -> FileHash | None:
        """What hashes it as it was hashed before; None when no hash is known."""
        if self.sha256 is None and self.pages is None:
            return None
        return FileHash(
            whole=self.sha256 is not None,
            page_bytes=None if self.pages is None else self.pages.page_bytes,
        )


@dataclass(slots=True, kw_only=True)
class Contents:
    """A folder as it was found.

    Attributes:
        folder: which one.
        kind: who made it.
        metadata: the snapshot's, as exact as can be, or None when it can't be read.
        record: of backup.json, or None.
        metadata_sha256: of metadata.json, hexadecimal.
        sections: where the sections are, without those that are empty.
        chunks: where the chunks of the Wasm chunk store are, by SHA-256.
        problems: what is wrong, full sentences.
    """

    folder: Path
    kind: FolderKind = FolderKind.UNKNOWN
    metadata: SnapshotMetadata | None = None
    record: BackupRecord | None = None
    metadata_sha256: str = ""
    sections: dict[Section, Source] = field(default_factory=dict)
    chunks: dict[bytes, Source] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def report(self, files: tuple[FileRecord, ...]) -> FolderReport:
        """The report on it, with metadata.json after these files."""
        if self.metadata_sha256:
            size = (self.folder / METADATA_NAME).stat().st_size
            last = FileRecord(name=METADATA_NAME, size=size, sha256=self.metadata_sha256)
            files = (*files, last)
        return FolderReport(
            folder=self.folder,
            kind=self.kind,
            metadata=self.metadata,
            identity=None if self.record is None else self.record.identity,
            files=files,
            hashes=self.kind in (FolderKind.OURS, FolderKind.JUNO),
            problems=tuple(self.problems),
        )


def section_sizes(metadata: SnapshotMetadata) -> Mapping[Section, int]:
    """Bytes of each section, in the order in which they are moved."""
    return {
        Section.WASM_MODULE: metadata.wasm_module_size,
        Section.WASM_MEMORY: metadata.wasm_memory_size,
        Section.STABLE_MEMORY: metadata.stable_memory_size,
    }


def chunk_name(hash_: bytes) -> str:
    """Where a chunk of the Wasm chunk store is, relative to the folder."""
    return f"{CHUNKS_NAME}/{hash_.hex()}.bin"


def check_folder(folder: Path) -> FolderReport:
    """Look at a folder and check everything that can be checked without a network.

    Sizes against the metadata always; hashes where the folder records them, and of chunks.

    Raises:
        ProjectError: there is no such folder, or it can't be read, or a newer program made it.
    """
    contents = open_folder(folder)
    sources = (*contents.sections.values(), *contents.chunks.values())
    return contents.report(tuple(check_source(contents, source) for source in sources))


def open_folder(folder: Path) -> Contents:
    """Read everything that is small, and look at the sizes of what is large.

    Raises:
        ProjectError: there is no such folder, or it can't be read, or a newer program made it.
    """
    contents = Contents(folder=folder)
    try:
        if not folder.is_dir():
            raise ProjectError(f"there is no folder {folder}")
        names = {each.name for each in folder.iterdir()}
        for partial in {JOURNAL_NAME, _ICP_PARTIAL} & names:
            contents.problems.append(f"It holds an unfinished download ({partial}).")
        if METADATA_NAME not in names:
            contents.problems.append(f"It has no {METADATA_NAME}.")
            return contents
        _read(contents, names)
    except OSError as error:
        raise ProjectError(f"{folder} can't be read: {error.strerror or error}") from error
    return contents


def _read(contents: Contents, names: set[str]) -> None:
    path = contents.folder / METADATA_NAME
    raw = path.read_bytes()
    contents.metadata_sha256 = hashlib.sha256(raw).hexdigest()
    parsed = metadata_json.parse(raw)
    try:
        if juno.is_juno(parsed):
            contents.kind = FolderKind.JUNO
            contents.metadata = juno.read_metadata(parsed, path)
            _find_juno(contents, juno.read_files(parsed, path))
        else:
            contents.kind = FolderKind.ICP if _ICP_LOCK in names else FolderKind.DFX
            contents.metadata = metadata_json.from_content(parsed, path)
            if BACKUP_NAME in names:
                contents.kind = FolderKind.OURS
                _read_record(contents)
            _find(contents)
    except DamageError as error:
        contents.problems.append(f"{error.message}.")
        return
    contents.problems.extend(metadata_problems(contents.metadata))


def _read_record(contents: Contents) -> None:
    path = contents.folder / BACKUP_NAME
    record = backup_json.from_json(path.read_bytes(), path)
    contents.record = record
    assert contents.metadata is not None
    completed = record.completed(contents.metadata)
    told = {each.name: each.sha256 for each in record.files}
    if completed is None or told.get(METADATA_NAME) != contents.metadata_sha256:
        contents.problems.append(f"{METADATA_NAME} is not the one that {BACKUP_NAME} speaks of.")
    contents.metadata = completed or contents.metadata


def _find(contents: Contents) -> None:
    """Where dfx, icp and this program put things."""
    metadata, record = contents.metadata, contents.record
    assert metadata is not None
    told = {} if record is None else {each.name: each for each in record.files}
    wanted: dict[Section | bytes, tuple[str, int | None]] = {
        section: (SECTION_NAMES[section], size)
        for section, size in section_sizes(metadata).items()
        if size
    }
    wanted |= {hash_: (chunk_name(hash_), None) for hash_ in metadata.wasm_chunk_store}
    for key, (name, size) in wanted.items():
        known = told.get(name)
        if record is not None and (known is None or size not in (None, known.size)):
            contents.problems.append(f"{BACKUP_NAME} tells no size of {name}, or a wrong one.")
        found = _size(contents, name, size if known is None else known.size)
        if found is None:
            continue
        if size is None and found > juno.CHUNK_BYTES:
            contents.problems.append(f"{name} is larger than a chunk can be.")
        if isinstance(key, Section):
            contents.sections[key] = Source(
                name=name,
                start=0,
                size=found,
                sha256=None if known is None else known.sha256,
                pages=None if known is None else known.pages,
            )
        else:
            contents.chunks[key] = Source(name=name, start=0, size=found, sha256=key.hex())


def _find_juno(contents: Contents, files: Mapping[str, tuple[str, int, str]]) -> None:
    metadata = contents.metadata
    assert metadata is not None
    for section, size in section_sizes(metadata).items():
        name, told, sha256 = files.get(section.value, (SECTION_NAMES[section], 0, ""))
        if size != told:
            contents.problems.append(f"{METADATA_NAME} tells two sizes of {name}.")
        found = _size(contents, name, size) if size else None
        if found is not None:
            source = Source(name=name, start=0, size=found, sha256=sha256)
            contents.sections[section] = source
    if not metadata.wasm_chunk_store:
        return
    name, size, sha256 = files.get("wasm_chunk_store", ("chunks-store.bin", 0, ""))
    if _size(contents, name, size) is None:
        return
    data = (contents.folder / name).read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        contents.problems.append(f"{name} is damaged: its SHA-256 is not the recorded one.")
        return
    ranges = juno.split_chunks(data, metadata.wasm_chunk_store, contents.folder / name)
    for hash_, (start, length) in zip(metadata.wasm_chunk_store, ranges, strict=True):
        source = Source(name=name, start=start, size=length, sha256=hash_.hex())
        contents.chunks[hash_] = source


def _size(contents: Contents, name: str, wanted: int | None) -> int | None:
    """The size of a file; None, and a problem, when it is not there or has another one."""
    path = contents.folder / name
    if not path.is_file():
        contents.problems.append(f"{name} is missing.")
        return None
    size = path.stat().st_size
    if wanted is not None and size != wanted:
        contents.problems.append(f"{name} has {size} bytes where {wanted} belong.")
        return None
    return size


def check_source(
    contents: Contents, source: Source, *, runs: list[tuple[int, int]] | None = None
) -> FileRecord:
    """Compare a file with its hash, when it is known; add problems.

    Args:
        contents: the folder.
        source: a section or a chunk.
        runs: receives the ranges that are not zero; None only compares.

    Raises:
        ProjectError: it can't be read.
    """
    hashes = source.hashes
    path = contents.folder / source.name
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            module = source is contents.sections.get(Section.WASM_MODULE)
            if module and not os.pread(handle, 4, 0).startswith(_MAGICS):
                contents.problems.append(f"{source.name} is no Wasm module.")
            if hashes is not None or runs is not None:
                found = list(data_runs(handle, source.size, start=source.start, hashes=hashes))
        finally:
            os.close(handle)
    except OSError as error:
        raise ProjectError(f"{path} can't be read: {error.strerror or error}") from error
    if runs is not None:
        runs.extend(found)
    record = FileRecord(
        name=source.name,
        size=source.size,
        sha256=None if hashes is None else hashes.sha256,
        pages=None if hashes is None else hashes.pages,
    )
    if (record.sha256, record.pages) != (source.sha256, source.pages):
        contents.problems.append(f"{source.name} is damaged: its SHA-256 is not the recorded one.")
    return record
