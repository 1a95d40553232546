"""Take a native snapshot of a canister, with a guarded outage."""

from dfx_backup.errors import UsageError
from dfx_backup.model import CanisterSnapshot, RunState, SnapshotId
from dfx_backup.operations import cycles, preflight, snapshot_ids
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.journal import RunKind
from dfx_backup.operations.locks import canister_lock
from dfx_backup.operations.patience import CANNOT_ASK
from dfx_backup.operations.plans import CreateOptions, CreatePlan, CreateResult, Versions
from dfx_backup.operations.recover import finish_what_is_over, refuse_pending
from dfx_backup.operations.take_together import (
    Prepared,
    Taken,
    judge,
    remark,
    shortcoming,
    take_together,
)
from dfx_backup.operations.target import Runtime, Target

_LIVE = (
    "The canister keeps running: the snapshot holds one moment between two messages, without"
    " calls that are still out; after a load their answers are lost."
)


def plan_create(run: Runtime, target: Target, options: CreateOptions) -> CreatePlan:
    """Check everything that can be checked while the canister runs, and say what will be done.

    Raises:
        UsageError: the driver can't do what was asked, or `replace` names no snapshot.
        RefusedError: it would not be safe; nothing was touched.
        NetworkError, ToolError: as the driver tells them.
    """
    refuse_pending(run, target)
    return plan_found(run, target, options, preflight.survey(target))


def create(run: Runtime, target: Target, options: CreateOptions) -> CreateResult:
    """Plan again under the canister's lock, then stop, take, start.

    Raises:
        LockedError: another run holds the canister.
        CanisterDownError: the canister could not be started again.
        InterruptedRunError: a signal has come; the canister was started.
        UsageError, RefusedError, NetworkError, ToolError: as `plan_create`, or from a step.
    """
    with (
        Interrupts() as interrupts,
        canister_lock(run, target, purpose="snapshot create"),
    ):
        settled = finish_what_is_over(run, target)
        found = preflight.survey(target)
        plan = plan_found(run, target, options, found)
        entry = preflight.new_entry(run, target, found, RunKind.CREATE)
        (taken,) = take_together(run, interrupts, [Prepared(target=target, plan=plan, entry=entry)])
        return _result(taken, _version_in(target, taken.snapshot.snapshot_id), settled)


def plan_found(
    run: Runtime, target: Target, options: CreateOptions, found: preflight.Survey
) -> CreatePlan:
    """The plan for a canister that was just looked at.

    Raises:
        UsageError, RefusedError: as `plan_create`.
    """
    driver, status = target.driver, found.status
    if options.live and not driver.capabilities.take_running:
        raise UsageError(
            f"{driver.describe()} can't take a snapshot of a running canister",
            hint="--live needs --driver agent",
        )
    preflight.require_state(run, target, status, allow_stopped=options.allow_stopped)
    preflight.require_code(target, status)
    replaces = _replaced(target, options, found)
    size = cycles.snapshot_bytes(status)
    check = cycles.check(
        status, added_bytes=size, cost=None if size is None else cycles.take_cost(size)
    )
    warnings = list(preflight.require_cycles(target, check))
    if options.live:
        warnings.append(_LIVE)
    lost: tuple[str, ...] = ()
    if replaces is not None:
        lost = (f"Snapshot {replaces.snapshot_id} of {target}: the new one takes its place.",)
    return CreatePlan(
        canister=target.ref,
        network=target.network,
        network_id=target.network_id,
        driver=driver.describe(),
        state=status.state,
        stops=status.state is RunState.RUNNING and not options.live,
        replaces=replaces,
        snapshots=found.snapshots,
        cycles=check,
        will_be_lost=lost,
        warnings=tuple(warnings),
    )


def _replaced(
    target: Target, options: CreateOptions, found: preflight.Survey
) -> CanisterSnapshot | None:
    if options.replace is not None:
        return snapshot_ids.find(options.replace, found.snapshots, target.canister_id)
    preflight.require_slot(
        target,
        found.snapshots,
        "delete one with `snapshot delete`, or name one with --replace",
    )
    return None


def _version_in(target: Target, snapshot: SnapshotId) -> int | None:
    """The version inside the snapshot; read after the start, because it can't change."""
    if target.reader is None:
        return None
    try:
        return target.reader.read_snapshot_metadata(target.canister_id, snapshot).canister_version
    except CANNOT_ASK:
        return None


def _result(taken: Taken, in_snapshot: int | None, settled: tuple[str, ...]) -> CreateResult:
    plan, held, before_start = taken.plan, taken.held, taken.before_start
    versions = Versions(
        after_stop=held.after_stop.version,
        in_snapshot=in_snapshot,
        before_start=before_start.version,
    )
    consistency = judge(versions, (held.after_stop, before_start), live=taken.is_live)
    what = f"Snapshot {taken.snapshot.snapshot_id} of {plan.canister}"
    return CreateResult(
        plan=plan,
        snapshot=taken.snapshot,
        outage_s=held.outage_s,
        consistency=consistency,
        versions=versions,
        running=held.running,
        recovery_pending=held.recovery_pending,
        incomplete=shortcoming(what, consistency),
        warnings=(*settled, *plan.warnings, *held.warnings, *remark(plan.canister, consistency)),
    )
