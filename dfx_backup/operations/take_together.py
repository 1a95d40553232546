"""Take snapshots of several canisters at one moment: all stopped, all taken, all started."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

from dfx_backup.model import CanisterSnapshot, Consistency, RunState
from dfx_backup.operations.hold import Held, Moment, stopped
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.journal import JournalEntry
from dfx_backup.operations.plans import CreatePlan, Versions
from dfx_backup.operations.target import Runtime, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A canister that is locked and checked.

    Attributes:
        target: the canister.
        plan: what will be done.
        entry: the journal entry to begin with.
    """

    target: Target
    plan: CreatePlan
    entry: JournalEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A snapshot, and what says how good it is.

    Attributes:
        target: the canister.
        plan: what was planned.
        snapshot: the new snapshot.
        held: the canister in our hands; when it is started again, its outage is known.
        before_start: what a look right before the start showed.
    """

    target: Target
    plan: CreatePlan
    snapshot: CanisterSnapshot
    held: Held
    before_start: Moment

    @property
    def is_live(self) -> bool:
        """Whether the canister was left running."""
        return self.plan.state is RunState.RUNNING and not self.plan.stops


def take_together(
    run: Runtime,
    interrupts: Interrupts,
    prepared: Sequence[Prepared],
    *,
    each: Callable[[Target, CanisterSnapshot, Held], None] = lambda _target, _snapshot, _held: None,
    when_all: Callable[[Sequence[Taken]], None] = lambda _taken: None,
) -> tuple[Taken, ...]:
    """Stop in order, take each, start in reverse, whatever happens.

    Args:
        run: the surroundings.
        interrupts: entered by the caller.
        prepared: the canisters in the order in which they are stopped; the caller has their locks.
        each: hears of every snapshot right after it was taken.
        when_all: hears of all of them while the canisters are still held.

    Raises:
        CanisterDownError: a canister could not be started.
        InterruptedRunError: a signal has come; all canisters were started.
        NetworkError, RejectError, ToolError: from a step; all canisters were started.
    """
    with interrupts.deferred():
        with ExitStack() as stack:
            held = [stack.enter_context(_stopped(run, interrupts, one)) for one in prepared]
            snapshots = []
            for one, hold in zip(prepared, held, strict=True):
                replaces = one.plan.replaces
                snapshot = hold.take(replace=None if replaces is None else replaces.snapshot_id)
                each(one.target, snapshot, hold)
                snapshots.append(snapshot)
            taken = tuple(
                Taken(
                    target=one.target,
                    plan=one.plan,
                    snapshot=snapshot,
                    held=hold,
                    before_start=hold.look(),
                )
                for one, hold, snapshot in zip(prepared, held, snapshots, strict=True)
            )
            when_all(taken)
        return taken


def _stopped(run: Runtime, interrupts: Interrupts, one: Prepared) -> AbstractContextManager[Held]:
    plan = one.plan
    return stopped(
        run, one.target, interrupts, one.entry, stops=plan.stops, top_up=plan.cycles.required
    )


def judge(versions: Versions, moments: Sequence[Moment], *, live: bool) -> Consistency:
    """What a snapshot promises.

    Args:
        versions: the canister's versions at the moments that must agree.
        moments: what the looks between stop and start showed.
        live: the canister was left running.
    """
    if live:
        return Consistency.LIVE
    if any(moment.state not in {None, RunState.STOPPED} for moment in moments):
        return Consistency.NOT_CONSISTENT
    told = (versions.after_stop, versions.in_snapshot, versions.before_start)
    known = {version for version in told if version is not None}
    if len(known) > 1:
        return Consistency.NOT_CONSISTENT
    return Consistency.UNVERIFIED if None in told else Consistency.CONSISTENT


def shortcoming(what: str, consistency: Consistency) -> tuple[str, ...]:
    """What a snapshot that was not consistent is told as: the sentence that makes it incomplete.

    Args:
        what: names the snapshot and the canister.
        consistency: what it promises.
    """
    if consistency is not Consistency.NOT_CONSISTENT:
        return ()
    told = "is not consistent: somebody had the canister running, or changed it, between our stop"
    return (f"{what} {told} and our start.",)


def remark(canister: object, consistency: Consistency) -> tuple[str, ...]:
    """The warning that goes with a snapshot whose moment nothing proves."""
    if consistency is not Consistency.UNVERIFIED:
        return ()
    told = "running while the snapshot was taken is not proven: its version could not be read."
    return (f"That nobody had {canister} {told}",)
