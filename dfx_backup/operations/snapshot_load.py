"""Make a snapshot the canister's state, keeping the present state in a safety snapshot."""

from dataclasses import dataclass
from typing import Protocol

from dfx_backup.errors import BackupError
from dfx_backup.model import CanisterSnapshot, RunState, SnapshotId
from dfx_backup.operations import load_planning, preflight
from dfx_backup.operations.hold import Held, Moment, stopped
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.journal import CallKind, JournalEntry, RunKind
from dfx_backup.operations.ledger import SAFETY, Ledger, OwnSnapshot
from dfx_backup.operations.locks import canister_lock
from dfx_backup.operations.plans import LoadOptions, LoadPlan, LoadResult
from dfx_backup.operations.recover import finish_what_is_over, refuse_pending
from dfx_backup.operations.snapshot_delete import delete_one
from dfx_backup.operations.target import Runtime, Target


def plan_load(run: Runtime, target: Target, options: LoadOptions) -> LoadPlan:
    """Check everything that can be checked while the canister runs, and say what will be lost.

    Raises:
        UsageError: the canister has no such snapshot, or the options contradict each other.
        RefusedError: it would not be safe; nothing was touched.
        NetworkError, ToolError: as the driver tells them.
    """
    refuse_pending(run, target)
    return load_planning.plan(run, target, options, preflight.survey(target))


class LoadSteps(Protocol):
    """What goes with a load while the canister is held.

    Attributes:
        kind: what the journal tells.
    """

    @property
    def kind(self) -> RunKind:
        """What the journal tells of the run."""

    def begins(self, held: Held, /) -> None:
        """All is ready for the load."""

    def loaded(self, held: Held, safety: CanisterSnapshot | None, /) -> None:
        """It was loaded, and `safety` is the state from before."""


def load(
    run: Runtime, target: Target, options: LoadOptions, *, steps: LoadSteps | None = None
) -> LoadResult:
    """Plan again under the canister's lock, then stop, safety snapshot, load, start.

    When the load fails, the old state is started and the safety snapshot is kept and named.

    Args:
        run: the surroundings.
        target: the canister.
        options: how.
        steps: what goes with it, or None.

    Raises:
        LockedError: another run holds the canister.
        CanisterDownError: the canister could not be started again.
        InterruptedRunError: a signal has come; the canister was started.
        UsageError, RefusedError, NetworkError, ToolError: as `plan_load`, or from a step.
    """
    with Interrupts() as interrupts, canister_lock(run, target, purpose="snapshot load"):
        kind = RunKind.LOAD if steps is None else steps.kind
        ready = prepare(run, target, options, kind=kind)
        with interrupts.deferred():
            with stopped(
                run,
                target,
                interrupts,
                ready.entry,
                stops=ready.plan.stops,
                top_up=ready.plan.cycles.required,
            ) as held:
                safety = take_safety(run, target, ready.plan, held)
                if steps is not None:
                    steps.begins(held)
                _load_or_name(ready.plan, held, safety)
                if steps is not None:
                    steps.loaded(held, safety)
                before_start = held.look()
                if options.leave_stopped:
                    held.leave_stopped()
            return conclude(run, target, ready, held, safety, before_start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A load that may begin.

    Attributes:
        plan: what will be done.
        entry: the journal entry with which it begins.
        settled: what the user should know of an old run.
    """

    plan: LoadPlan
    entry: JournalEntry
    settled: tuple[str, ...]


def prepare(
    run: Runtime, target: Target, options: LoadOptions, *, kind: RunKind = RunKind.LOAD
) -> Ready:
    """Plan under the canister's lock, which the caller holds.

    Raises:
        UsageError, RefusedError, NetworkError, ToolError: as `plan_load`.
    """
    settled = finish_what_is_over(run, target)
    found = preflight.survey(target)
    plan = load_planning.plan(run, target, options, found)
    entry = preflight.new_entry(run, target, found, kind)
    return Ready(plan=plan, entry=entry, settled=settled)


def conclude(
    run: Runtime,
    target: Target,
    ready: Ready,
    held: Held,
    safety: CanisterSnapshot | None,
    before_start: Moment,
) -> LoadResult:
    """Judge a load once the canister is released, and delete older safety snapshots of ours."""
    incomplete = _incomplete(ready.plan, held, before_start)
    confirmed = not incomplete and not held.recovery_pending
    deleted, troubles = _delete_older(run, target, ready.plan) if confirmed else ((), ())
    return LoadResult(
        plan=ready.plan,
        safety=safety,
        outage_s=held.outage_s,
        running=held.running,
        deleted=deleted,
        recovery_pending=held.recovery_pending,
        incomplete=incomplete,
        warnings=(*ready.settled, *ready.plan.warnings, *held.warnings, *troubles),
    )


def take_safety(
    run: Runtime, target: Target, plan: LoadPlan, held: Held
) -> CanisterSnapshot | None:
    """Keep the state of a canister that is held; None when the plan wants none.

    Raises:
        BackupError: as `Held.take`.
    """
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
    loads = held.book.count(CallKind.LOAD) + held.book.count(CallKind.UPGRADE)
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
