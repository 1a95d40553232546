"""Transfers through the driver's own commands: the way when only it can use the identity's key.

Nothing is certified to us on this way. The driver works in a scratch folder, because each tool
leaves files of its own behind; what it brings is checked, hashed and moved into the final folder.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dfx_backup.drivers.base import FolderTransfer
from dfx_backup.errors import BackupError, DamageError, ProjectError, RefusedError, UsageError
from dfx_backup.files import replace_file, sync_folder
from dfx_backup.ic.snapshot_metadata import SnapshotMetadata
from dfx_backup.ic.snapshot_parts import Section
from dfx_backup.model import SnapshotId
from dfx_backup.operations.state_files import private_folder
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.operations.transfer_plans import SnapshotUploadPlan, UploadOptions
from dfx_backup.transfer import backup_json, metadata_json
from dfx_backup.transfer import folder as folders
from dfx_backup.transfer.backup_json import BACKUP_NAME, BackupRecord
from dfx_backup.transfer.folder import CHUNKS_NAME, SECTION_NAMES, Contents, Source
from dfx_backup.transfer.metadata_json import METADATA_NAME
from dfx_backup.transfer.terms import (
    BackupIdentity,
    DownloadReport,
    FileRecord,
    ReadBack,
    TransferProgress,
)

NOTICE = (
    "Only {driver} can use the identity's key: it moves the data itself, through a scratch folder."
    " Nothing of it is certified to us, and it can't be resumed."
)

TIMEOUT_S = 24 * 3600.0
"""Seconds until the tool is ended; a large snapshot takes hours on this way."""

_SCRATCH = ".scratch"
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """A snapshot that the driver made, and what there is to know about it."""

    snapshot_id: SnapshotId
    warnings: tuple[str, ...] = ()


def require(target: Target) -> FolderTransfer:
    """The driver, as one that moves folders.

    Raises:
        RefusedError: it can't, and we have no key.
    """
    driver = target.driver
    if not isinstance(driver, FolderTransfer):
        raise RefusedError(
            f"{driver.describe()} can't transfer snapshots, and the identity's key can't be read",
            hint="use an identity whose key can be read (--identity): a viewer's is enough for"
            " downloads",
        )
    return driver


def require_upload(target: Target, plan: SnapshotUploadPlan, options: UploadOptions) -> None:
    """Refuse what the driver's own upload can't do.

    Raises:
        UsageError: --resume or --replace.
        RefusedError: the driver can't upload, or not this snapshot.
    """
    require(target)
    for given, name in ((options.resume, "--resume"), (options.replace, "--replace")):
        if given is not None:
            raise UsageError(
                f"{name} is not possible when {plan.driver} uploads by itself",
                hint="it needs an identity whose key we can read",
            )
    if plan.what.metadata.globals != _as_written(plan.what.metadata, plan.folder).globals:
        raise RefusedError(
            f"{plan.folder} has globals that metadata.json can't hold (NaN or infinite), and"
            f" {plan.driver} reads nothing else",
            hint="use an identity whose key can be read: then backup.json is used",
        )


def download(
    target: Target, what: BackupIdentity, folder: Path, progress: TransferProgress, run: Runtime
) -> DownloadReport:
    """Let the driver write into a scratch folder, and make a folder of ours out of it.

    Raises:
        RefusedError: the folder is not empty, or the driver can't do it.
        DamageError: what the driver brought is not whole.
        ProjectError: the folder can't be written.
        BackupError: as the driver tells.
    """
    driver = require(target)
    began = run.clock.monotonic()
    try:
        with _final(folder), _scratch(folder / _SCRATCH) as scratch:
            progress.step(f"{target}: {target.driver.describe()} downloads the snapshot")
            driver.download_folder(
                target.canister_id, what.snapshot_id, scratch.absolute(), timeout_s=TIMEOUT_S
            )
            progress.step("checking the files")
            files, metadata = _adopt(scratch, folder, what)
    except OSError as error:
        raise ProjectError(f"{folder} can't be written: {error.strerror or error}") from error
    total = sum(each.size for each in files if each.name != METADATA_NAME)
    return DownloadReport(
        folder=folder,
        metadata=metadata,
        files=files,
        total_bytes=total,
        moved_bytes=total,
        resumed_bytes=0,
        known_bytes=0,
        zero_bytes=0,
        slices=0,
        retries=0,
        seconds=run.clock.monotonic() - began,
        window=0,
    )


def upload(
    run: Runtime, target: Target, plan: SnapshotUploadPlan, progress: TransferProgress
) -> Uploaded:
    """Let the driver send a scratch folder of links.

    Raises:
        DamageError: what was read back is not what was sent.
        BackupError: as the driver tells; the hint names a snapshot that was left unfinished.
    """
    driver = require(target)
    before = {each.snapshot_id for each in plan.snapshots}
    contents = folders.open_folder(plan.folder)
    with _scratch(run.state / "scratch" / target.key) as scratch:
        _lay_out(contents, _wanted(plan), scratch)
        progress.step(f"{target}: {plan.driver} uploads the snapshot")
        try:
            made = driver.upload_folder(target.canister_id, scratch.absolute(), timeout_s=TIMEOUT_S)
        except BackupError as error:
            error.hint = error.hint or _left_behind(run, target, before)
            raise
    if plan.read_back is not ReadBack.ALL:
        return Uploaded(
            snapshot_id=made,
            warnings=(
                f"What {plan.driver} uploaded was not read back; --read-back all does that.",
            ),
        )
    with _scratch(run.state / "scratch" / target.key) as scratch:
        progress.step(f"{target}: {plan.driver} reads the snapshot back")
        driver.download_folder(target.canister_id, made, scratch.absolute(), timeout_s=TIMEOUT_S)
        _compare(contents, folders.open_folder(scratch), made)
    return Uploaded(snapshot_id=made)


@contextmanager
def _final(folder: Path) -> Iterator[None]:
    """An empty folder; one that was made for nothing is removed."""
    made = not folder.exists()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.rmtree(folder / _SCRATCH, ignore_errors=True)  # of a run that was killed
    if any(folder.iterdir()):
        raise RefusedError(f"{folder} is not empty", hint="Use a folder that is empty or new.")
    try:
        yield
    except BaseException:
        if made and not any(folder.iterdir()):
            folder.rmdir()
        raise


@contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    shutil.rmtree(path, ignore_errors=True)
    private_folder(path)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _adopt(
    scratch: Path, folder: Path, what: BackupIdentity
) -> tuple[tuple[FileRecord, ...], SnapshotMetadata]:
    """Move what belongs to the snapshot, hash it, and write backup.json; metadata.json is last."""
    contents = folders.open_folder(scratch)
    if contents.problems or contents.metadata is None:
        raise DamageError(
            f"what came of snapshot {what.snapshot_id} is not whole: {' '.join(contents.problems)}"
        )
    if contents.metadata.wasm_chunk_store:
        (folder / CHUNKS_NAME).mkdir(mode=0o700)
    sources = [*contents.sections.values(), *contents.chunks.values()]
    files = [_move(scratch, folder, source) for source in sources]
    for section in (Section.WASM_MODULE, Section.WASM_MEMORY):
        if section not in contents.sections:
            (folder / SECTION_NAMES[section]).touch(mode=0o600)
            empty = hashlib.sha256().hexdigest()
            files.append(FileRecord(name=SECTION_NAMES[section], size=0, sha256=empty))
    text = (scratch / METADATA_NAME).read_bytes()
    told = hashlib.sha256(text).hexdigest()
    files.append(FileRecord(name=METADATA_NAME, size=len(text), sha256=told))
    record = BackupRecord(identity=what, files=tuple(files), globals=contents.metadata.globals)
    replace_file(folder / BACKUP_NAME, backup_json.to_json(record))
    replace_file(folder / METADATA_NAME, text)
    return tuple(files), contents.metadata


def _move(scratch: Path, folder: Path, source: Source) -> FileRecord:
    sha256 = _hash(scratch / source.name)
    target = folder / source.name
    (scratch / source.name).replace(target)
    target.chmod(0o600)
    sync_folder(target.parent)
    return FileRecord(name=source.name, size=source.size, sha256=sha256)


def _hash(path: Path) -> str:
    """SHA-256 of a file, which is on the disk afterwards."""
    hashes = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            hashes.update(block)
        os.fsync(file.fileno())
    return hashes.hexdigest()


def _wanted(plan: SnapshotUploadPlan) -> SnapshotMetadata:
    """The metadata without what is left out."""
    metadata = plan.what.metadata
    return metadata if plan.keep_timer else replace(metadata, global_timer=None)


def _as_written(metadata: SnapshotMetadata, folder: Path) -> SnapshotMetadata:
    return metadata_json.from_json(metadata_json.to_json(metadata), folder / METADATA_NAME)


def _lay_out(contents: Contents, metadata: SnapshotMetadata, scratch: Path) -> None:
    """The layout that tools know: links to the files, and chunks one by one."""
    for section in (Section.WASM_MODULE, Section.WASM_MEMORY, Section.STABLE_MEMORY):
        place, source = scratch / SECTION_NAMES[section], contents.sections.get(section)
        if source is not None:
            place.symlink_to((contents.folder / source.name).resolve())
        elif section is not Section.STABLE_MEMORY:
            place.touch(mode=0o600)
    if contents.chunks:
        (scratch / CHUNKS_NAME).mkdir(mode=0o700)
    for hash_, source in contents.chunks.items():
        with (contents.folder / source.name).open("rb") as file:
            file.seek(source.start)
            (scratch / folders.chunk_name(hash_)).write_bytes(file.read(source.size))
    (scratch / METADATA_NAME).write_bytes(metadata_json.to_json(metadata))


def _compare(sent: Contents, back: Contents, made: SnapshotId) -> None:
    """Refuse a snapshot whose sections are not what was sent; chunks are named by their hash."""
    for section, source in sent.sections.items():
        there = back.sections.get(section)
        if there is None or _hash(sent.folder / source.name) != _hash(back.folder / there.name):
            raise DamageError(
                f"snapshot {made} does not hold what was sent: {SECTION_NAMES[section]} differs",
                hint=f"do not load it; delete it with `snapshot delete … {made}`",
            )
    missing = sorted(set(sent.chunks) - set(back.chunks))
    if missing:
        raise DamageError(f"snapshot {made} lacks the Wasm chunk {missing[0].hex()}")


def _left_behind(run: Runtime, target: Target, before: set[SnapshotId]) -> str | None:
    """What to do about snapshots that a failed upload may have begun."""
    try:
        now = target.driver.list_snapshots(target.canister_id)
    except BackupError:
        return f"look for an unfinished snapshot: `{run.command('snapshot list', target)}`"
    new = [each.snapshot_id for each in now if each.snapshot_id not in before]
    if not new:
        return None
    words = " and ".join(f"`{run.command('snapshot delete', target, each)}`" for each in new)
    return f"it may have left an unfinished snapshot, which is billed: {words}"
