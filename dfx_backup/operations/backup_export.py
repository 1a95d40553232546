"""Write a backup into a folder in the layout of dfx and icp."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dfx_backup.errors import DamageError, ProjectError, RefusedError
from dfx_backup.files import sync_folder
from dfx_backup.operations.backups import Backup
from dfx_backup.progress import Progress
from dfx_backup.repository.reader import Reader
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.trees import Node, Tree
from dfx_backup.transfer.backup_json import BACKUP_NAME
from dfx_backup.transfer.page_hash import FileHash, hash_file
from dfx_backup.transfer.terms import FileRecord

_PARTIAL = ".partial"
_LARGEST_DEPTH = 1
"""Folders in folders: there is wasm_chunk_store and no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """What was written.

    Attributes:
        backup: of which backup.
        folder: where it is.
        files: every file, in the order of their names.
        total_bytes: of them all, zero pages included.
    """

    backup: Backup
    folder: Path
    files: tuple[FileRecord, ...]
    total_bytes: int


def export_backup(
    repository: Repository, backup: Backup, folder: Path, *, progress: Progress
) -> ExportResult:
    """Restore a backup's files into a new folder: first beside it, and renamed when all is well.

    To be called inside `reading`.

    Raises:
        RefusedError: there is something at that place.
        DamageError: something is not what was written; no folder is left.
        ProjectError: the folder can't be written.
        StoreError: the repository can't be read.
    """
    if backup.problem is not None:
        raise backup.problem
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError(f"{folder} is not empty", hint="Name a folder that is empty or new.")
    partial = folder.parent / f"{folder.name}{_PARTIAL}"
    if partial.exists():
        raise RefusedError(
            f"{partial} is in the way: it may be what an export left that was killed",
            hint="Remove it when nobody needs it.",
        )
    progress.step(f"exporting {backup} to {folder}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir(mode=0o700)
        try:
            files = _restore(repository, backup, partial)
            partial.replace(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        sync_folder(folder.parent)
    except OSError as error:
        raise ProjectError(f"{folder} can't be written: {error.strerror or error}") from error
    total = sum(each.size for each in files)
    return ExportResult(backup=backup, folder=folder, files=files, total_bytes=total)


def files_of(repository: Repository, tree: Tree, prefix: str = "") -> Iterator[tuple[str, Node]]:
    """Every file of a backup with its name.

    Raises:
        DamageError: a folder can't be read, or a name leads elsewhere.
    """
    for node in tree.nodes:
        name = f"{prefix}{node.name}"
        if node.name in ("", ".", "..") or "/" in node.name or "\0" in node.name:
            raise DamageError(f"{node.name!r} can't be the name of a file")
        if node.subtree is not None:
            if name.count("/") >= _LARGEST_DEPTH:
                raise DamageError(f"{name} is no folder of a snapshot")
            yield from files_of(repository, repository.tree(node.subtree), f"{name}/")
        elif node.type == "file":
            yield name, node


def same_pages(node: Node, record: FileRecord) -> bool:
    """Whether a file's blobs are those whose hash its record has; all of them, in their order.

    False also when the record has no such hash, or one of pages that are not the blobs.
    """
    if record.pages is None or node.content is None or node.size != record.size:
        return False
    return node.content.sha256() == record.pages.sha256


def hashes_for(record: FileRecord) -> FileHash:
    """What hashes a file as its record wants."""
    pages = None if record.pages is None else record.pages.page_bytes
    return FileHash(whole=record.sha256 is not None, page_bytes=pages)


def _restore(repository: Repository, backup: Backup, folder: Path) -> tuple[FileRecord, ...]:
    assert backup.record is not None  # or its problem was raised
    wanted = {each.name: each for each in backup.record.files}
    reader = repository.reader()
    files = []
    for name, node in files_of(repository, repository.tree(backup.snapshot.tree)):
        path = folder / name
        if path.parent != folder:
            path.parent.mkdir(mode=0o700, exist_ok=True)
        told = wanted.pop(name, None)
        found = replace(_restore_file(reader, node, path, told), name=name)
        if name != BACKUP_NAME and found != told:
            raise DamageError(f"{name} of {backup} does not have the SHA-256 of {BACKUP_NAME}")
        files.append(found)
    if wanted:
        raise DamageError(f"{backup} lacks {min(wanted)}")
    for each in (*(path for path in folder.iterdir() if path.is_dir()), folder):
        sync_folder(each)
    return tuple(files)


def _restore_file(reader: Reader, node: Node, path: Path, told: FileRecord | None) -> FileRecord:
    """Restore a file, and hash it as its record wants; without a record as a whole."""
    known = told is not None and told.sha256 is None and same_pages(node, told)
    hashes = FileHash() if told is None else hashes_for(told)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        reader.restore_file(node, handle)
        os.fsync(handle)
        # The reader has compared every page with its hash, so that is not done again.
        if not known:
            hash_file(handle, hashes)
    finally:
        os.close(handle)
    pages = told.pages if told is not None and known else hashes.pages
    return FileRecord(name=path.name, size=node.size, sha256=hashes.sha256, pages=pages)
