"""Copy a native snapshot into a folder. The canister need not be stopped, nor be ours."""

import shutil
from pathlib import Path

from dfx_backup.errors import NetworkError, RejectError, UsageError
from dfx_backup.ic.snapshot_metadata import SnapshotMetadata
from dfx_backup.ic.snapshot_parts import Section
from dfx_backup.model import CanisterSnapshot, SnapshotId
from dfx_backup.operations import cycles, durations, folder_way, snapshot_ids, transfers
from dfx_backup.operations.direct import DirectCalls
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.operations.transfer_plans import (
    DownloadOptions,
    Sizes,
    SnapshotDownloadPlan,
    SnapshotDownloadResult,
    Way,
)
from dfx_backup.transfer.folder import SECTION_NAMES
from dfx_backup.transfer.snapshot_download import download_snapshot
from dfx_backup.transfer.terms import (
    BackupIdentity,
    KnownModule,
    TransferProgress,
)

_NOT_CONTROLLER = "IC0512"


def plan_download(
    target: Target, snapshot: SnapshotId, options: DownloadOptions
) -> SnapshotDownloadPlan:
    """Say what a download will bring, and what it costs.

    Raises:
        UsageError: the canister has no such snapshot, or the driver can't do what was asked.
        RefusedError: the snapshot belongs to another canister.
        ToolError: only the driver could transfer it, and it can't.
        NetworkError, ToolError: as the network or the driver tells them.
    """
    return _plan(target, snapshot, options)[0]


def download(
    run: Runtime,
    target: Target,
    snapshot: SnapshotId,
    options: DownloadOptions,
    progress: TransferProgress,
) -> SnapshotDownloadResult:
    """Copy the snapshot into the folder; interrupted at any point, it can be resumed.

    Raises:
        InterruptedRunError: a signal has come; the folder can be resumed.
        LockedError: another run works on the folder.
        RefusedError: the folder holds something else.
        DamageError: what an earlier run left in the folder is not what it wrote.
        UsageError, NetworkError, ToolError: as `plan_download`, or from the transfer.
    """
    with Interrupts() as interrupts:
        plan, metadata = _plan(target, snapshot, options)
        identity = BackupIdentity(
            canister_id=target.canister_id,
            snapshot_id=plan.snapshot.snapshot_id,
            network_id=target.network_id,
            tool=options.tool,
            created_at=run.clock.now(),
        )
        if target.direct is None or metadata is None:
            report = folder_way.download(target, identity, options.folder, progress, run)
            return SnapshotDownloadResult(plan=plan, report=report, cycles=None)
        known = _known_module(target.direct.calls, target, metadata, options)
        with interrupts.deferred(), transfers.goes_on(_again(run, target, plan)):
            report = download_snapshot(
                target.direct.slices,
                identity,
                options.folder,
                options=transfers.options(run, interrupts, options.window),
                progress=progress,
                resume=options.resume,
                known_module=known,
            )
        paid = cycles.download_cost(report.moved_bytes, report.slices)
        return SnapshotDownloadResult(plan=plan, report=report, cycles=paid)


def _plan(
    target: Target, snapshot: SnapshotId, options: DownloadOptions
) -> tuple[SnapshotDownloadPlan, SnapshotMetadata | None]:
    found = find_snapshot(target, snapshot)
    metadata = None
    warnings: list[str] = []
    if target.direct is None:
        folder_way.require(target)
        if options.resume:
            raise UsageError(
                f"a copy that {target.driver.describe()} makes can't be resumed",
                hint="remove what is in the folder, and leave --resume out",
            )
        warnings.append(folder_way.NOTICE.format(driver=target.driver.describe()))
    else:
        metadata = target.direct.calls.read_snapshot_metadata(target.canister_id, found.snapshot_id)
    sizes = None if metadata is None else Sizes.of(metadata)
    total = found.size_bytes if sizes is None else sum(sizes.sections)
    warnings += _room(options.folder, total)
    calls = None if sizes is None else sizes.calls
    plan = SnapshotDownloadPlan(
        canister=target.ref,
        network=target.network,
        network_id=target.network_id,
        driver=target.driver.describe(),
        snapshot=found,
        folder=options.folder,
        way=Way.DRIVER if sizes is None else Way.DIRECT,
        resume=options.resume,
        sizes=sizes,
        calls=calls,
        window=options.window,
        seconds=None if calls is None else durations.download_time(calls, options.window),
        cycles=None if calls is None else cycles.download_cost(total or 0, calls),
        warnings=tuple(warnings),
    )
    return plan, metadata


def find_snapshot(target: Target, snapshot: SnapshotId) -> CanisterSnapshot:
    """The snapshot, asked for by ourselves where we can: the driver may want a controller.

    Raises:
        UsageError: the canister has no such snapshot.
        RefusedError: it belongs to another canister.
        NetworkError, ToolError: as the network or the driver tells them.
    """
    lister = target.driver if target.direct is None else target.direct.calls
    try:
        listed = lister.list_snapshots(target.canister_id)
    except RejectError as error:
        if error.error_code == _NOT_CONTROLLER or error.hint is None:
            error.hint = (
                "use the identity of a controller (--identity), or let a controller make yours a"
                " viewer of the snapshots: setting snapshot_visibility"
            )
        raise
    return snapshot_ids.find(snapshot, listed, target.canister_id)


def _room(folder: Path, needed: int | None) -> tuple[str, ...]:
    """A warning when the disk may not hold it; runs of zeros need no room, so it still may."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), None)
    if there is None or needed is None:
        return ()
    free = shutil.disk_usage(there).free
    if free >= needed:
        return ()
    told = (
        f"The disk of {folder} has {free:,} bytes left, and the snapshot may need {needed:,}:"
        " only what is zero needs none."
    )
    return (told,)


def _known_module(
    direct: DirectCalls, target: Target, metadata: SnapshotMetadata, options: DownloadOptions
) -> KnownModule | None:
    """Evidence on the module: the installed one's hash, certified at the snapshot's own version.

    With a file at hand it saves reading the module; without one, what was read must have this
    hash. A viewer may not be allowed to see the status: then there is no evidence.
    """
    try:
        status = direct.status(target.canister_id)
    except NetworkError:
        return None
    if status.version != metadata.canister_version or status.module_hash is None:
        return None
    return KnownModule(
        path=options.known_module or options.folder / SECTION_NAMES[Section.WASM_MODULE],
        module_hash=status.module_hash,
        canister_version=status.version,
    )


def _again(run: Runtime, target: Target, plan: SnapshotDownloadPlan) -> str:
    words = (plan.snapshot.snapshot_id, "--dir", str(plan.folder), "--resume")
    command = run.command("snapshot download", target, *words)
    return f"go on, with what has arrived: `{command}`"
