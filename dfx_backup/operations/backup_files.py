"""The files of a backup as they are written into a repository, whoever brings them."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dfx_backup.errors import DamageError, ProjectError
from dfx_backup.ic.snapshot_metadata import SnapshotMetadata
from dfx_backup.ic.snapshot_parts import Section
from dfx_backup.operations.backups import backup_meta
from dfx_backup.repository.file_writer import FileRecord as Stored
from dfx_backup.repository.writer import Commit, Writer
from dfx_backup.transfer import backup_json, metadata_json
from dfx_backup.transfer.backup_json import BACKUP_NAME, BackupRecord
from dfx_backup.transfer.folder import SECTION_NAMES, Contents, Source, chunk_name
from dfx_backup.transfer.metadata_json import METADATA_NAME
from dfx_backup.transfer.page_hash import FileHash, hash_file
from dfx_backup.transfer.terms import FileRecord, FolderKind, PageHash

BY_PAGES = frozenset(SECTION_NAMES[each] for each in (Section.WASM_MEMORY, Section.STABLE_MEMORY))
"""They may be large: to hash them as a whole too would take as long as hashing their blobs."""
_EMPTY_TOO = (Section.WASM_MODULE, Section.WASM_MEMORY)
"""dfx wants these files even when they are empty."""


def commit_backup(
    writer: Writer, record: BackupRecord, text: bytes | None, *, tags: Sequence[str]
) -> tuple[BackupRecord, Commit]:
    """Make the files that were written a backup.

    Args:
        writer: wrote them.
        record: the manifest; what the files took is added to it.
        text: what metadata.json holds; None when there is none.
        tags: the user's.

    Returns:
        The manifest as it was written, and the commit.

    Raises:
        UsageError: a tag can't be used.
        LockedError: our lock was lost meanwhile.
        DamageError: something that is needed is not in the store.
        StoreError: the store can't be used.
    """
    assert record.backup is not None  # a folder alone is no backup
    details = replace(
        record.backup,
        raw_bytes=sum(each.size for each in record.files),
        # The small files that follow are left out.
        new_bytes=writer.totals.new_raw_bytes,
        stored_bytes=writer.totals.new_sealed_bytes,
    )
    record = replace(record, backup=details)
    commit = writer.commit(
        backup_meta(record, tags=tags),
        ({} if text is None else {METADATA_NAME: text})
        | {BACKUP_NAME: backup_json.to_json(record)},
    )
    return record, commit


def is_ours_only(metadata: SnapshotMetadata) -> bool:
    """Whether metadata.json can't hold it exactly, so that other programs can't upload it."""
    written = metadata_json.from_json(metadata_json.to_json(metadata), Path(METADATA_NAME))
    return None in written.globals


def file_record(stored: Stored, blob_size: int) -> FileRecord:
    """What the manifest tells of a file that was written, in blobs of so many bytes."""
    pages = PageHash(page_bytes=blob_size, sha256=stored.content_sha256)
    return FileRecord(
        name=stored.name,
        size=stored.size,
        sha256=stored.sha256,
        pages=pages if stored.name in BY_PAGES else None,
    )


def write_folder(
    writer: Writer, contents: Contents, metadata: SnapshotMetadata
) -> tuple[tuple[FileRecord, ...], bytes]:
    """Write sections and chunks; the record of every file, and what metadata.json holds.

    Raises:
        DamageError: a file is not what the folder tells of it.
        ProjectError: a file can't be read.
        StoreError: an upload failed.
    """
    files = []
    for section, name in SECTION_NAMES.items():
        source = contents.sections.get(section)
        if source is not None:
            files.append(_write(writer, contents.folder, source, name))
        elif section in _EMPTY_TOO:
            files.append(file_record(writer.add(name, b""), writer.blob_size))
    for hash_, source in contents.chunks.items():
        files.append(_write(writer, contents.folder, source, chunk_name(hash_)))
    text = (contents.folder / METADATA_NAME).read_bytes()
    if contents.kind is FolderKind.JUNO:
        text = metadata_json.to_json(metadata)
    sha256 = hashlib.sha256(text).hexdigest()
    files.append(FileRecord(name=METADATA_NAME, size=len(text), sha256=sha256))
    return tuple(files), text


def _write(writer: Writer, folder: Path, source: Source, name: str) -> FileRecord:
    """Copy a file, and compare it with what the folder tells of it."""
    path = folder / source.name
    whole = name not in BY_PAGES or source.sha256 is not None
    try:
        if source.start or path.stat().st_size != source.size:
            with path.open("rb") as file:  # Juno keeps all chunks in one file
                file.seek(source.start)
                stored = writer.add(name, file.read(source.size))
        else:
            stored = writer.add_file(name, path, whole_hash=whole)
        found = file_record(stored, writer.blob_size)
        # What is stored counts, and not the file: it is hashed itself only where it must be.
        pages: PageHash | None = PageHash(page_bytes=writer.blob_size, sha256=stored.content_sha256)
        if source.pages is not None and source.pages.page_bytes != writer.blob_size:
            with path.open("rb") as file:  # a repository with blobs of another size made it
                hashes = FileHash(whole=False, page_bytes=source.pages.page_bytes)
                hash_file(file.fileno(), hashes)
            pages = hashes.pages
    except OSError as error:
        raise ProjectError(f"{path} can't be read: {error.strerror or error}") from error
    same = source.pages in (None, pages) and source.sha256 in (None, found.sha256)
    if found.size != source.size or not same:
        raise DamageError(f"{path} is damaged: its SHA-256 is not the recorded one")
    return found
