"""The base of an import through a snapshot: module and heap of the canister as it is now.

A snapshot is taken of it, its module, heap and Wasm chunks are copied to the disk, and it is
deleted: what is uploaded afterwards needs the slot. Interrupted at any point, all of that goes on.
"""

import hashlib
import shutil
from dataclasses import dataclass, replace

from dfx_backup.errors import BackupError
from dfx_backup.ic.snapshot_parts import Section
from dfx_backup.model import SnapshotId
from dfx_backup.operations import stable_held, transfers
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.ledger import Ledger
from dfx_backup.operations.locks import canister_lock
from dfx_backup.operations.snapshot_delete import delete_one
from dfx_backup.operations.stable_held import InUse, SnapshotRecord
from dfx_backup.operations.stable_snapshot_plans import SnapshotImportOptions
from dfx_backup.operations.state_files import private_folder, remove
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.transfer.folder import SECTION_NAMES
from dfx_backup.transfer.snapshot_download import download_snapshot
from dfx_backup.transfer.stable_image import WithoutStableMemory
from dfx_backup.transfer.terms import BackupIdentity, TransferProgress
from dfx_backup.transfer.upload_state import remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A base that is on the disk.

    Attributes:
        used: the snapshot that it was; it is gone.
        fetched_bytes: what was read of it in this run.
        warnings: one sentence for each thing to know.
    """

    used: InUse
    fetched_bytes: int
    warnings: tuple[str, ...] = ()


def usable(target: Target, record: SnapshotRecord, module_hash: str | None) -> InUse | None:
    """What an earlier run left, when it can be gone on with.

    Args:
        target: the canister.
        record: what is remembered.
        module_hash: of the canister's present module; a base with another one is of no use.

    Raises:
        DamageError, ProjectError: its record can't be read.
        NetworkError: as the network tells it.
    """
    used = record.read()
    if used is None or used.loading:
        return None
    if used.copied:
        return used if _has_module(record, module_hash) else None
    return used if stable_held.exists(target, used.snapshot_id) is not None else None


def _has_module(record: SnapshotRecord, module_hash: str | None) -> bool:
    try:
        return hashlib.sha256(module_of(record)).hexdigest() == module_hash
    except OSError:
        return False


def fetch(
    run: Runtime,
    target: Target,
    interrupts: Interrupts,
    record: SnapshotRecord,
    used: InUse | None,
    options: SnapshotImportOptions,
    progress: TransferProgress,
) -> Base:
    """Take the base snapshot, unless an earlier run has, copy what is needed of it, delete it.

    Args:
        run: the surroundings.
        target: the canister.
        interrupts: entered by the caller.
        record: what is remembered.
        used: what an earlier run took, or None.
        options: how.
        progress: hears how far it is.

    Raises:
        CanisterDownError: the canister could not be started again.
        InterruptedRunError: a signal has come; the same goes on.
        LockedError, RefusedError, NetworkError, ToolError, ProjectError: from a step.
    """
    told: tuple[str, ...] = ()
    fetched = 0
    if used is None:
        used, told = stable_held.take(
            run, target, interrupts, record, allow_stopped=options.allow_stopped
        )
    if not used.copied:
        fetched = _copy(run, target, interrupts, record, used, options, progress)
        used = replace(used, copied=True)
        record.write(used)
    if stable_held.exists(target, used.snapshot_id) is not None:
        told = (*told, *stable_held.release(run, target, record, used))
    return Base(used=used, fetched_bytes=fetched, warnings=told)


def _copy(
    run: Runtime,
    target: Target,
    interrupts: Interrupts,
    record: SnapshotRecord,
    used: InUse,
    options: SnapshotImportOptions,
    progress: TransferProgress,
) -> int:
    """Copy what is needed of the base; returns how many bytes came."""
    private_folder(record.folder.parent)
    with interrupts.deferred():
        report = download_snapshot(
            WithoutStableMemory(stable_held.require_direct(target).slices),
            BackupIdentity(
                canister_id=target.canister_id,
                snapshot_id=used.snapshot_id,
                network_id=target.network_id,
                tool=options.tool,
                created_at=run.clock.now(),
            ),
            record.folder,
            options=transfers.options(run, interrupts, options.window),
            progress=progress,
            resume=True,
        )
    return report.moved_bytes


def module_of(record: SnapshotRecord) -> bytes:
    """The canister's module, out of the base.

    Raises:
        OSError: it can't be read.
    """
    return (record.folder / SECTION_NAMES[Section.WASM_MODULE]).read_bytes()


def discard(run: Runtime, target: Target, record: SnapshotRecord) -> tuple[str, ...]:
    """Forget what an earlier run left, and delete its snapshots; a failure is only told."""
    told: tuple[str, ...] = ()
    used = record.read()
    if used is not None and stable_held.exists(target, used.snapshot_id) is not None:
        told = stable_held.release(run, target, record, used)
    begun = remembered(record.upload)
    if begun is not None:
        told = (*told, *delete_uploaded(run, target, begun))
    forget(record)
    return told


def delete_uploaded(run: Runtime, target: Target, snapshot: SnapshotId) -> tuple[str, ...]:
    """Delete what was uploaded, when it is recorded as ours; a failure is only told."""
    ours = {each.snapshot_id for each in Ledger(run.state, target.key).read()}
    if snapshot not in ours or stable_held.exists(target, snapshot) is None:
        return ()
    try:
        with canister_lock(run, target, purpose="stable import"):
            delete_one(run, target, snapshot)
    except BackupError as error:
        return (f"The uploaded snapshot {snapshot} could not be deleted: {error.message}.",)
    return ()


def forget(record: SnapshotRecord) -> None:
    """Nothing is left to be gone on with.

    Raises:
        ProjectError: a file can't be removed.
    """
    shutil.rmtree(record.folder, ignore_errors=True)
    remove(record.upload)
    record.drop()
