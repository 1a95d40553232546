"""Make a snapshot the canister's state, keeping the present state in a safety snapshot."""

from dataclasses import dataclass

from dfx_backup.errors import BackupError, RefusedError, UsageError
from dfx_backup.model import CanisterSnapshot, RunState, SnapshotId
from dfx_backup.operations import cycles, preflight, snapshot_ids
from dfx_backup.operations.hold import Held, Moment, stopped
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.journal import CallKind, RunKind
from dfx_backup.operations.ledger import SAFETY, Ledger, OwnSnapshot
from dfx_backup.operations.locks import canister_lock
from dfx_backup.operations.patience import CANNOT_ASK
from dfx_backup.operations.plans import CyclesCheck, LoadOptions, LoadPlan, LoadResult
from dfx_backup.operations.recover import finish_what_is_over, refuse_pending
from dfx_backup.operations.snapshot_delete import delete_one
from dfx_backup.operations.target import Runtime, Target

_NO_SLOT = (
    "delete a snapshot with `snapshot delete`, name one that the safety snapshot may replace with"
    " --replace, or go without one with --skip-safety-snapshot"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """The snapshot to load and what its metadata tells."""

    snapshot: CanisterSnapshot
    foreign: bool
    version: int | None = None
    uploaded: bool | None = None


def plan_load(run: Runtime, target: Target, options: LoadOptions) -> LoadPlan:
    """Check everything that can be checked while the canister runs, and say what will be lost.

    Raises:
        UsageError: the canister has no such snapshot, or the options contradict each other.
        RefusedError: it would not be safe; nothing was touched.
        NetworkError, ToolError: as the driver tells them.
    """
    refuse_pending(run, target)
    return _plan(run, target, options, preflight.survey(target))


def load(run: Runtime, target: Target, options: LoadOptions) -> LoadResult:
    """Plan again under the canister's lock, then stop, safety snapshot, load, start.

    When the load fails, the old state is started and the safety snapshot is kept and named.

    Raises:
        LockedError: another run holds the canister.
        CanisterDownError: the canister could not be started again.
        InterruptedRunError: a signal has come; the canister was started.
        UsageError, RefusedError, NetworkError, ToolError: as `plan_load`, or from a step.
    """
    with Interrupts() as interrupts, canister_lock(run, target, purpose="snapshot load"):
        settled = finish_what_is_over(run, target)
        found = preflight.survey(target)
        plan = _plan(run, target, options, found)
        entry = preflight.new_entry(run, target, found, RunKind.LOAD)
        with interrupts.deferred():
            with stopped(
                run, target, interrupts, entry, stops=plan.stops, top_up=plan.cycles.required
            ) as held:
                safety = _take_safety(run, target, plan, held)
                _load_or_name(plan, held, safety)
                before_start = held.look()
            incomplete = _incomplete(plan, held, before_start)
            confirmed = not incomplete and not held.recovery_pending
            deleted, troubles = _delete_older(run, target, plan) if confirmed else ((), ())
        return LoadResult(
            plan=plan,
            safety=safety,
            outage_s=held.outage_s,
            running=held.running,
            deleted=deleted,
            recovery_pending=held.recovery_pending,
            incomplete=incomplete,
            warnings=(*settled, *plan.warnings, *held.warnings, *troubles),
        )


def _take_safety(
    run: Runtime, target: Target, plan: LoadPlan, held: Held
) -> CanisterSnapshot | None:
    if not plan.safety_snapshot:
        return None
    replace = None if plan.replaces is None else plan.replaces.snapshot_id
    safety = held.take(replace=replace)
    if held.book.entry.acknowledged:
        own = OwnSnapshot(snapshot_id=safety.snapshot_id, purpose=SAFETY, taken_at=run.clock.now())
        Ledger(run.state, target.key).add(own)
    return safety


def _load_or_name(plan: LoadPlan, held: Held, safety: CanisterSnapshot | None) -> None:
    try:
        held.load(plan.snapshot.snapshot_id)
    except BackupError as error:
        if safety is not None:
            error.advise(f"the state from before is kept in safety snapshot {safety.snapshot_id}")
        raise


def _delete_older(
    run: Runtime, target: Target, plan: LoadPlan
) -> tuple[tuple[SnapshotId, ...], tuple[str, ...]]:
    """Delete older safety snapshots of ours; a failure is only told."""
    deleted: list[SnapshotId] = []
    troubles: list[str] = []
    for snapshot in plan.deletes:
        try:
            delete_one(run, target, snapshot)
        except BackupError as error:
            troubles.append(
                f"Old safety snapshot {snapshot} could not be deleted: {error.message}."
            )
        else:
            deleted.append(snapshot)
            run.progress.step(f"{target}: deleted old safety snapshot {snapshot}")
    return tuple(deleted), tuple(troubles)


def _incomplete(plan: LoadPlan, held: Held, before_start: Moment) -> tuple[str, ...]:
    """Whether somebody wrote to the canister between the safety snapshot and the load."""
    loads = held.book.count(CallKind.LOAD)
    first, last = held.after_stop, before_start
    moved = (
        first.version is not None
        and last.version is not None
        and not first.version < last.version <= first.version + loads
    )
    ran = any(moment.state not in {None, RunState.STOPPED} for moment in (first, last))
    if not moved and not ran:
        return ()
    what = f"Somebody had {plan.canister} running, or changed it, between our stop and our start"
    return (f"{what}: what was written then may be in neither state.",)


def _plan(run: Runtime, target: Target, options: LoadOptions, found: preflight.Survey) -> LoadPlan:
    status = found.status
    preflight.require_state(run, target, status, allow_stopped=options.allow_stopped)
    source = _source(target, options, found)
    replaces = _replaced(target, options, found, source)
    deletes = _old_safety_snapshots(run, target, options, found, source)
    safety = not options.skip_safety_snapshot and status.module_hash is not None
    check = _cycles(found, source, safety=safety)
    warnings = [*preflight.require_cycles(target, check), *_warnings(target, source)]
    if not safety:
        warnings.append(f"The present state of {target} is not kept: no safety snapshot.")
    return LoadPlan(
        canister=target.ref,
        network=target.network,
        network_id=target.network_id,
        driver=target.driver.describe(),
        state=status.state,
        stops=status.state is RunState.RUNNING,
        snapshot=source.snapshot,
        snapshot_version=source.version,
        canister_version=status.version,
        module_hash=status.module_hash,
        uploaded=source.uploaded,
        safety_snapshot=safety,
        replaces=replaces,
        deletes=deletes,
        cycles=check,
        will_be_lost=_lost(target, source, replaces, deletes),
        warnings=tuple(warnings),
    )


def _source(target: Target, options: LoadOptions, found: preflight.Survey) -> _Source:
    wanted = snapshot_ids.canonical(options.snapshot)
    foreign = wanted not in found.ids
    if foreign and options.other_canister:
        snapshot = CanisterSnapshot(snapshot_id=wanted)
        if snapshot_ids.owner(wanted) == target.canister_id:
            snapshot_ids.find(wanted, found.snapshots, target.canister_id)
    else:
        try:
            snapshot = snapshot_ids.find(wanted, found.snapshots, target.canister_id)
        except RefusedError as error:
            error.hint = "--from-other-canister loads it nevertheless, when that is what you want"
            raise
    owner = snapshot_ids.owner(wanted) if foreign else target.canister_id
    if target.reader is None or owner is None:
        return _Source(snapshot=snapshot, foreign=foreign)
    try:
        metadata = target.reader.read_snapshot_metadata(owner, wanted)
    except CANNOT_ASK:
        return _Source(snapshot=snapshot, foreign=foreign)
    return _Source(
        snapshot=snapshot,
        foreign=foreign,
        version=metadata.canister_version,
        uploaded=None if metadata.source is None else metadata.source == "metadata_upload",
    )


def _replaced(
    target: Target, options: LoadOptions, found: preflight.Survey, source: _Source
) -> CanisterSnapshot | None:
    if options.skip_safety_snapshot:
        if options.replace is not None:
            raise UsageError(
                "--replace names what the safety snapshot replaces, and none is taken",
                hint="leave out --replace or --skip-safety-snapshot",
            )
        return None
    if options.replace is None:
        preflight.require_slot(target, found.snapshots, _NO_SLOT)
        return None
    replaces = snapshot_ids.find(options.replace, found.snapshots, target.canister_id)
    if replaces.snapshot_id == source.snapshot.snapshot_id:
        raise RefusedError(
            f"snapshot {replaces.snapshot_id} is the one to load; the safety snapshot can't"
            " replace it",
            hint="name another snapshot with --replace",
        )
    return replaces


def _old_safety_snapshots(
    run: Runtime, target: Target, options: LoadOptions, found: preflight.Survey, source: _Source
) -> tuple[SnapshotId, ...]:
    """Safety snapshots of ours beyond the newest one, as things will be after the load."""
    keep = {source.snapshot.snapshot_id}
    if options.replace is not None:
        keep.add(snapshot_ids.canonical(options.replace))
    ours = [
        own.snapshot_id
        for own in Ledger(run.state, target.key).read()
        if own.purpose == SAFETY and own.snapshot_id in found.ids
    ]
    if options.skip_safety_snapshot:
        ours = ours[:-1]
    return tuple(own for own in ours if own not in keep)


def _cycles(found: preflight.Survey, source: _Source, *, safety: bool) -> CyclesCheck:
    present = cycles.snapshot_bytes(found.status)
    coming = source.snapshot.size_bytes
    if present is None:
        return cycles.check(found.status, added_bytes=None, cost=None)
    grows = 0 if coming is None else max(0, coming - present)
    added = grows + (present if safety else 0)
    cost = cycles.load_cost(present if coming is None else coming)
    if safety:
        cost += cycles.take_cost(present)
    return cycles.check(found.status, added_bytes=added, cost=cost)


def _lost(
    target: Target,
    source: _Source,
    replaces: CanisterSnapshot | None,
    deletes: tuple[SnapshotId, ...],
) -> tuple[str, ...]:
    if source.foreign:
        lost = [f"The whole present state of {target}: another canister's takes its place."]
    else:
        since = f"What {target} did since snapshot {source.snapshot.snapshot_id} was taken"
        lost = [f"{since}: code, heap, stable memory and certified data go back to that moment."]
    if replaces is not None:
        lost.append(
            f"Snapshot {replaces.snapshot_id} of {target}: the safety snapshot takes its place."
        )
    lost.extend(
        f"Snapshot {old} of {target}: an older safety snapshot of ours, deleted afterwards."
        for old in deletes
    )
    return tuple(lost)


def _warnings(target: Target, source: _Source) -> list[str]:
    timer = {
        True: "The snapshot was uploaded: its global timer comes back with it.",
        False: "The snapshot is a native one: the global timer is not brought back by it.",
        None: "Whether the global timer comes back is not known: only uploaded snapshots do that.",
    }[source.uploaded]
    warnings = [
        "Settings, controllers, cycles, logs and history stay as they are now.",
        timer,
        "Effects outside the canister, such as transfers and calls to others, are not undone.",
    ]
    if source.foreign:
        warnings.append(
            "Keys bound to a canister id (threshold signatures, vetKeys, Internet Identity"
            f" principals) differ: what the snapshot holds was not made for {target}."
        )
    return warnings
