"""Copy a canister's stable memory into a file through a snapshot: any canister, no code in it.

The canister is stopped only while the snapshot is taken; it runs while that is read.
"""

from dataclasses import replace

from dfx_backup.errors import RefusedError
from dfx_backup.ic.snapshot_metadata import SnapshotSource
from dfx_backup.model import CanisterSnapshot, NetworkId, SnapshotId
from dfx_backup.operations import cycles, preflight, stable_held, transfers
from dfx_backup.operations.durations import download_time, take_outage
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.recover import refuse_pending
from dfx_backup.operations.snapshot_download import find_snapshot
from dfx_backup.operations.stable_costs import read_calls
from dfx_backup.operations.stable_held import InUse, SnapshotRecord
from dfx_backup.operations.stable_snapshot_plans import (
    SnapshotExportOptions,
    SnapshotExportPlan,
    SnapshotExportResult,
)
from dfx_backup.operations.stable_source import import_in_progress
from dfx_backup.operations.take_together import remark, shortcoming
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.transfer.stable_sidecar import (
    SNAPSHOT_PROTOCOL,
    STABLE_STREAM,
    StablePaths,
    StreamIdentity,
)
from dfx_backup.transfer.stable_snapshot import SnapshotExport, export_snapshot
from dfx_backup.transfer.stable_work import check_previous
from dfx_backup.transfer.terms import TransferProgress

_GOES_ON = (
    "Snapshot {snapshot} of {target} was taken by an earlier run, at {moment}, and is gone on with:"
    " the copy is of that moment, without a new outage. `{command}` deletes it, when a"
    " new one is wanted."
)
_UPLOADED = (
    "Snapshot {snapshot} was uploaded, not taken: what it holds is what somebody has put there."
)


def plan_export(run: Runtime, target: Target, options: SnapshotExportOptions) -> SnapshotExportPlan:
    """Say what will be read, for how long the canister will be stopped, and what it costs.

    Raises:
        UsageError: the identity's key can't be read, or the canister has no such snapshot.
        RefusedError: the files hold something else, or it would not be safe.
        NetworkError, ToolError: as the network or the driver tells them.
    """
    return _plan(run, target, options)[0]


def export(
    run: Runtime, target: Target, options: SnapshotExportOptions, progress: TransferProgress
) -> SnapshotExportResult:
    """Take a snapshot, unless one is named or was taken by an earlier run; read it; delete it.

    Raises:
        CanisterDownError: the canister could not be started again.
        InterruptedRunError: a signal has come; the same command goes on.
        LockedError: another run holds the canister, or works with the files.
        UsageError, RefusedError, NetworkError, ToolError, ProjectError: as `plan_export`, or from
            a step.
    """
    record = _record(run, target, StablePaths.of(options.file))
    with Interrupts() as interrupts:
        plan, used = _plan(run, target, options)
        told: tuple[str, ...] = ()
        if plan.take is not None:
            used, told = stable_held.take(
                run, target, interrupts, record, allow_stopped=options.allow_stopped
            )
        snapshot = _chosen(plan, used)
        with interrupts.deferred(), transfers.goes_on(_again(run, target, plan, options)):
            report = export_snapshot(
                stable_held.require_direct(target).slices,
                identity(target),
                snapshot,
                plan.paths,
                tool=options.tool,
                created_at=run.clock.now(),
                options=transfers.options(run, interrupts, options.window),
                progress=progress,
            )
            result = _result(plan, report, used, told)
            if used is None:
                return result
            troubles = stable_held.release(run, target, record, used)
            record.drop()
    return replace(result, deleted=not troubles, warnings=(*result.warnings, *troubles))


def identity(target: Target) -> StreamIdentity:
    """The whole stable memory of a canister, read from a snapshot."""
    return StreamIdentity(
        network_id=NetworkId(target.network_id),
        canister_id=target.canister_id,
        stream=STABLE_STREAM,
        protocol=SNAPSHOT_PROTOCOL,
    )


def _record(run: Runtime, target: Target, paths: StablePaths) -> SnapshotRecord:
    return SnapshotRecord(run, target, stable_held.EXPORT, str(paths.base.absolute()))


def _plan(
    run: Runtime, target: Target, options: SnapshotExportOptions
) -> tuple[SnapshotExportPlan, InUse | None]:
    direct = stable_held.require_direct(target)
    paths = StablePaths.of(options.file)
    check_previous(paths, identity(target))
    if options.snapshot is not None:
        found = find_snapshot(target, options.snapshot)
        return _of_existing(target, options, paths, found), None
    refuse_pending(run, target)
    used = _record(run, target, paths).read()
    there = None if used is None else stable_held.exists(target, used.snapshot_id)
    if used is not None and there is not None:
        plan = replace(_of_existing(target, options, paths, there), goes_on=True)
        command = run.command("snapshot delete", target, there.snapshot_id)
        told = _GOES_ON.format(
            snapshot=there.snapshot_id, target=target, moment=used.moment, command=command
        )
        return replace(plan, warnings=(*plan.warnings, told)), used
    survey = preflight.survey(target)
    _require_whole_memory(target)
    take = stable_held.plan_take(run, target, survey, allow_stopped=options.allow_stopped)
    status = direct.calls.full_status(target.canister_id).status
    whole = cycles.snapshot_bytes(status)
    size = whole if status.stable_bytes is None else status.stable_bytes
    plan = _priced(target, options, paths, size)
    reading, taking = plan.cycles, take.cycles.cost
    return (
        replace(
            plan,
            take=take,
            outage=take_outage(whole or 0) if take.stops else None,
            cycles=None if reading is None or taking is None else reading + taking,
            warnings=(*take.warnings, *stable_held.left_over(run, target, survey)),
        ),
        None,
    )


def _require_whole_memory(target: Target) -> None:
    """Refuse while an import is in progress: the snapshot would hold half of it.

    Raises:
        RefusedError: one is.
    """
    found = import_in_progress(target)
    if found is not None:
        raise RefusedError(
            f"an import of {found.stream} is in progress on {target}, or it was not upgraded since",
            hint="end the import (`stable import`, the same again or with --abort), and install"
            " the module again; a snapshot that is there can be named with --snapshot",
        )


def _of_existing(
    target: Target,
    options: SnapshotExportOptions,
    paths: StablePaths,
    snapshot: CanisterSnapshot,
) -> SnapshotExportPlan:
    calls = stable_held.require_direct(target).calls
    metadata = calls.read_snapshot_metadata(target.canister_id, snapshot.snapshot_id)
    plan = _priced(target, options, paths, metadata.stable_memory_size)
    warnings: tuple[str, ...] = ()
    if metadata.source is SnapshotSource.METADATA_UPLOAD:
        warnings = (_UPLOADED.format(snapshot=snapshot.snapshot_id),)
    return replace(plan, snapshot=snapshot, warnings=warnings)


def _priced(
    target: Target, options: SnapshotExportOptions, paths: StablePaths, size: int | None
) -> SnapshotExportPlan:
    calls = None if size is None else read_calls(size)
    return SnapshotExportPlan(
        canister=target.ref,
        network=target.network,
        network_id=target.network_id,
        driver=target.driver.describe(),
        take=None,
        snapshot=None,
        goes_on=False,
        paths=paths,
        size=size,
        calls=calls,
        window=options.window,
        outage=None,
        seconds=None if calls is None else download_time(calls, options.window),
        cycles=None if calls is None else cycles.download_cost(size or 0, calls),
    )


def _chosen(plan: SnapshotExportPlan, used: InUse | None) -> SnapshotId:
    if used is not None:
        return used.snapshot_id
    assert plan.snapshot is not None  # or one was taken
    return plan.snapshot.snapshot_id


def _result(
    plan: SnapshotExportPlan, report: SnapshotExport, used: InUse | None, told: tuple[str, ...]
) -> SnapshotExportResult:
    consistency = None if used is None else used.consistency(report.metadata.canister_version)
    snapshot = report.sidecar.snapshot
    assert snapshot is not None  # it was read
    what = f"Snapshot {snapshot} of {plan.canister}"
    incomplete = () if consistency is None else shortcoming(what, consistency)
    remarks = () if consistency is None else remark(plan.canister, consistency)
    return SnapshotExportResult(
        plan=plan,
        report=report,
        snapshot_id=snapshot,
        outage_s=0.0 if used is None else used.outage_s,
        consistency=consistency,
        deleted=False,
        cycles=cycles.download_cost(report.tally.moved_bytes, report.tally.calls),
        incomplete=incomplete,
        warnings=(*told, *remarks),
    )


def _again(
    run: Runtime, target: Target, plan: SnapshotExportPlan, options: SnapshotExportOptions
) -> str:
    words = ["--via", "snapshot", "--file", str(plan.paths.base)]
    if options.snapshot is not None:
        words += ["--snapshot", options.snapshot]
    command = run.command("stable export", target, *words)
    return f"go on, with what has arrived and without another outage: `{command}`"
