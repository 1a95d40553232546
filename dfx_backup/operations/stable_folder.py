"""A folder that holds a backup of a stream, as `export` or restic wrote it, into the repository."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dfx_backup.errors import DamageError, ProjectError
from dfx_backup.operations.backup_files import commit_backup
from dfx_backup.operations.stable_copies import FileCopy
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.writer import Commit, Writer
from dfx_backup.transfer import backup_json
from dfx_backup.transfer.backup_details import KIND_STABLE
from dfx_backup.transfer.backup_json import BACKUP_NAME, BackupRecord
from dfx_backup.transfer.stable_check import damage_of
from dfx_backup.transfer.stable_details import MEMORY_NAME, SIDECAR_NAME, StableDetails
from dfx_backup.transfer.terms import FileRecord, PageHash, SilentTransfer

if TYPE_CHECKING:
    from dfx_backup.operations.backup_import import ImportOptions


def stream_record(folder: Path) -> BackupRecord | None:
    """The manifest of a folder that holds a backup of a stream; None of any other.

    Raises:
        DamageError: it can't be understood.
        ProjectError: a newer program wrote it, or it can't be read.
    """
    path = folder / BACKUP_NAME
    if not (folder / MEMORY_NAME).exists() or not path.exists():
        return None
    try:
        record = backup_json.from_json(path.read_bytes(), path)
    except OSError as error:
        raise ProjectError(f"{path} can't be read: {error.strerror or error}") from error
    return None if record.backup is None or record.backup.kind != KIND_STABLE else record


def import_stream_folder(
    repository: Repository, record: BackupRecord, options: "ImportOptions"
) -> tuple[BackupRecord, Commit]:
    """Make a backup out of such a folder; it keeps its id.

    Args:
        repository: where to.
        record: of `stream_record`.
        options: what is imported.

    Raises:
        DamageError: the folder is not whole.
        ProjectError: it can't be read.
        LockedError: somebody works on the repository alone.
        StoreError: the repository can't be written.
    """
    details, copy = record.backup, FileCopy.read(options.folder / MEMORY_NAME)
    assert details is not None  # or it would be no backup
    if StableDetails.of(copy.sidecar) != details.stable:
        raise DamageError(f"{copy.paths.sidecar} is not the one that {BACKUP_NAME} speaks of")
    with closing(copy.open()) as data:
        wrong = damage_of(
            data, copy.sidecar.hashes, progress=SilentTransfer(), should_stop=lambda: False
        )
    if wrong:
        raise DamageError(f"{copy.file}{wrong[0]}")
    with repository.writer() as writer:
        record = replace(
            record,
            identity=replace(record.identity, tool=options.tool),
            files=(_memory(writer, copy.file, record), _sidecar(writer, copy, record)),
        )
        return commit_backup(writer, record, None, tags=options.tags)


def _memory(writer: Writer, path: Path, record: BackupRecord) -> FileRecord:
    """Copy the bytes; they were compared with their hashes, and may not have changed since."""
    try:
        stored = writer.add_file(MEMORY_NAME, path, whole_hash=False)
    except OSError as error:
        raise ProjectError(f"{path} can't be read: {error.strerror or error}") from error
    pages = PageHash(page_bytes=writer.blob_size, sha256=stored.content_sha256)
    told = _told(record, MEMORY_NAME)
    comparable = told.pages is not None and told.pages.page_bytes == writer.blob_size
    if comparable and told.pages != pages:
        raise DamageError(f"{path} is damaged: its SHA-256 is not the recorded one")
    return FileRecord(name=MEMORY_NAME, size=stored.size, sha256=None, pages=pages)


def _sidecar(writer: Writer, copy: FileCopy, record: BackupRecord) -> FileRecord:
    stored = writer.add(SIDECAR_NAME, copy.paths.sidecar.read_bytes())
    if stored.sha256 != _told(record, SIDECAR_NAME).sha256:
        raise DamageError(f"{copy.paths.sidecar} is damaged: its SHA-256 is not the recorded one")
    return FileRecord(name=SIDECAR_NAME, size=stored.size, sha256=stored.sha256)


def _told(record: BackupRecord, name: str) -> FileRecord:
    for each in record.files:
        if each.name == name:
            return each
    raise DamageError(f"{BACKUP_NAME} does not tell of {name}")
