"""Finish what an interrupted run left undone: start the canister, settle what was sent, report."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

from dfx_backup.errors import (
    BackupError,
    CanisterDownError,
    InterruptedRunError,
    NetworkError,
    RefusedError,
)
from dfx_backup.model import CanisterRef, RunState, SnapshotId
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.journal import (
    CallKind,
    Journal,
    JournalEntry,
    OpenEntry,
    Outcome,
    RunKind,
    Side,
    Step,
)
from dfx_backup.operations.ledger import SAFETY, Ledger, OwnSnapshot
from dfx_backup.operations.loading import await_late_load
from dfx_backup.operations.locks import canister_lock
from dfx_backup.operations.patience import sleep_watching
from dfx_backup.operations.pending import pending_for
from dfx_backup.operations.processes import this_process
from dfx_backup.operations.set_sides import Member, require_all, to_one_side, together
from dfx_backup.operations.starting import note_step, start_again, watch
from dfx_backup.operations.target import Runtime, Target

_MARGIN_S = 30.0
"""How much longer than the last expiry `recover` watches, for looks that fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverAction:
    """What `recover` will do with one canister.

    Attributes:
        canister: the canister.
        state: its status now.
        from_journal: True: a journal entry says what is left to do. False: the canister was just
            found not running, and starting it needs the user's word.
        will: one sentence for each step.
    """

    canister: CanisterRef
    state: RunState
    from_journal: bool
    will: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverPlan:
    """What `recover` will do; `needs_consent` when it starts canisters that no journal names."""

    actions: tuple[RecoverAction, ...]

    @property
    def needs_consent(self) -> bool:
        """Whether a canister would be started without a journal entry that says so."""
        return any(not action.from_journal for action in self.actions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What `recover` did with one canister.

    Attributes:
        canister: the canister.
        state: its status at the end.
        started: whether we had to start it.
        closed: whether the journal entry is closed; False: run `recover` again later.
        snapshot_id: the snapshot that the interrupted run is known to have taken, or None.
        orphans: snapshots that are new since that run began and that it never acknowledged; they
            are not ours for certain, so they are only reported.
        warnings: one sentence for each thing to know.
    """

    canister: CanisterRef
    state: RunState
    started: bool
    closed: bool
    snapshot_id: SnapshotId | None = None
    orphans: tuple[SnapshotId, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverResult:
    """What `recover` did; not empty `incomplete`: exit 3."""

    recovered: tuple[Recovered, ...]
    incomplete: tuple[str, ...] = ()


def plan_recover(run: Runtime, targets: Sequence[Target]) -> RecoverPlan:
    """Look at each canister: what its journal entry asks for, or that it is just not running.

    Raises:
        LockedError, DamageError, ProjectError: a journal entry is held or can't be read.
        NetworkError, ToolError: as the drivers tell them.
    """
    actions: list[RecoverAction] = []
    for target in targets:
        entry = Journal(run.state).read(target.key)
        state = target.driver.status(target.canister_id).state
        if entry is not None:
            will = _will_do(entry, state, run.clock.now())
        elif state is not RunState.RUNNING:
            will = (f"Start {target}: it is {state}, and no run that we know of stopped it.",)
        else:
            continue
        actions.append(
            RecoverAction(
                canister=target.ref, state=state, from_journal=entry is not None, will=will
            )
        )
    return RecoverPlan(actions=tuple(actions))


def recover(
    run: Runtime, targets: Sequence[Target], *, start_stopped: bool = False
) -> RecoverResult:
    """Finish the journal entries of these canisters, one after the other.

    Args:
        run: the surroundings.
        targets: the canisters.
        start_stopped: the user's word to start canisters that no journal entry names as well.

    Raises:
        CanisterDownError: one could not be started; the others were still handled.
        InterruptedRunError: a signal has come; entries that are left stay pending.
        BackupError: the first other failure, after the others were handled.
    """
    done: list[Recovered] = []
    failed: list[BackupError] = []
    with Interrupts() as interrupts, interrupts.deferred():
        for group in together(run, targets):
            if interrupts.caught is not None:
                break
            try:
                done += _recover_group(run, group, interrupts, start_stopped=start_stopped)
            except BackupError as error:
                names = ", ".join(map(str, group))
                run.progress.warn(f"{names} could not be recovered: {error.message}.")
                failed.append(error)
        for failure in failed:
            if isinstance(failure, CanisterDownError):
                raise failure
        if interrupts.caught is not None:
            raise InterruptedRunError(
                f"recovering was interrupted by {interrupts.caught}",
                hint="what is left stays pending: run the same command again",
            )
    if failed:
        raise failed[0]
    open_still = [one.canister for one in done if not one.closed]
    return RecoverResult(
        recovered=tuple(done),
        incomplete=tuple(f"The entry of {canister} had to stay open." for canister in open_still),
    )


def refuse_pending(run: Runtime, target: Target) -> None:
    """Refuse to plan for a canister that an interrupted run still has to do with.

    Raises:
        RefusedError: `recover` comes first.
        DamageError, ProjectError: its journal entry can't be read.
    """
    left = pending_for(run.state, target.network_id, target.canister_id)
    if left is not None:
        raise left.problem or _must_recover(run, target)


def finish_what_is_over(run: Runtime, target: Target) -> tuple[str, ...]:
    """Close an old entry of the canister when nothing is left to do; the caller has its lock.

    Returns:
        What the user should know of that old run.

    Raises:
        RefusedError: something is left to do; `recover` comes first.
        DamageError, ProjectError: the entry can't be read.
        NetworkError, ToolError: as the driver tells them.
    """
    journal = Journal(run.state)
    entry = journal.read(target.key)
    if entry is None:
        return ()
    asked_at = run.clock.now()
    state = target.driver.status(target.canister_id).state
    expiry = entry.open_until()
    over = expiry is None or asked_at > expiry
    half = bool(entry.set_keys)  # what the others of the set are is not looked at here
    if half or not over or (entry.must_run and state is not RunState.RUNNING):
        raise _must_recover(run, target)
    book = OpenEntry(journal, replace(entry, process=this_process()))
    return _finish(run, target, book, state=state, started=False).warnings


def _must_recover(run: Runtime, target: Target) -> RefusedError:
    return RefusedError(
        f"an interrupted run on canister {target} has to be finished first",
        hint=f"Run `{run.command('recover', target)}`.",
    )


def _recover_group(
    run: Runtime, group: Sequence[Target], interrupts: Interrupts, *, start_stopped: bool
) -> list[Recovered]:
    """Finish one run: on one canister, or on all of a set, which become old or new together."""
    with ExitStack() as stack:
        for target in sorted(group, key=lambda each: each.key):
            stack.enter_context(canister_lock(run, target, purpose="recover"))
        journal = Journal(run.state)
        entries = [(target, journal.read(target.key)) for target in group]
        members = [
            Member(target=target, book=OpenEntry(journal, replace(entry, process=this_process())))
            for target, entry in entries
            if entry is not None
        ]
        keys = members[0].book.entry.set_keys if members else ()
        if keys:
            require_all(run, group, keys)
            to_one_side(run, members, interrupts)
        done = [
            _without_journal(run, target, interrupts, start_stopped=start_stopped)
            for target, entry in entries
            if entry is None
        ]
        return [*done, *(_recover_one(run, each.target, each.book, interrupts) for each in members)]


def _recover_one(
    run: Runtime, target: Target, book: OpenEntry, interrupts: Interrupts
) -> Recovered:
    entry = book.entry
    run.progress.step(f"{target}: finishing the run that was interrupted")
    _await_load(run, target, book, interrupts)
    if not entry.must_run:
        return _settle_quiet(run, target, book, interrupts)
    started = _start_if_needed(run, target, book, interrupts)
    expiry = book.entry.open_until() or run.clock.now()
    patience_s = max(0.0, expiry - run.clock.now()) + _MARGIN_S
    watched = watch(run, target, book, interrupts, patience_s=patience_s)
    if not watched.settled:
        return Recovered(
            canister=target.ref,
            state=RunState.RUNNING,
            started=started,
            closed=False,
            snapshot_id=entry.snapshot_id,
            warnings=(f"{target} runs, but must be looked at again: run recover later.",),
        )
    return _finish(
        run, target, book, state=RunState.RUNNING, started=started or watched.restarts > 0
    )


def _start_if_needed(run: Runtime, target: Target, book: OpenEntry, interrupts: Interrupts) -> bool:
    """Start the canister unless it is seen running; one that can't be asked is started."""
    try:
        state = target.driver.status(target.canister_id).state
    except NetworkError:
        state = None
    if state is RunState.RUNNING:
        return False
    note_step(run, book, Step.STARTING)
    run.progress.step(f"{target}: starting")
    start_again(run, target, interrupts)
    note_step(run, book, Step.STARTED)
    return True


def _await_load(run: Runtime, target: Target, book: OpenEntry, interrupts: Interrupts) -> None:
    """Keep the canister stopped until a load that may come late has expired; Ctrl-C starts it."""
    with suppress(InterruptedRunError):
        await_late_load(run, target, book, interrupts)


def _settle_quiet(
    run: Runtime, target: Target, book: OpenEntry, interrupts: Interrupts
) -> Recovered:
    """The run had stopped nothing: only wait until what it sent can't execute any more."""
    expiry = book.entry.open_until()
    if expiry is not None:
        sleep_watching(run.clock, max(0.0, expiry - run.clock.now()), interrupts)
    state = target.driver.status(target.canister_id).state
    return _finish(run, target, book, state=state, started=False)


def _finish(
    run: Runtime, target: Target, book: OpenEntry, *, state: RunState, started: bool
) -> Recovered:
    """Report what the run left behind, and close its entry."""
    entry = book.entry
    listed = {snapshot.snapshot_id for snapshot in target.driver.list_snapshots(target.canister_id)}
    orphans = tuple(sorted(listed - {*entry.snapshots_before, entry.snapshot_id}))
    loads = entry.kind in (RunKind.LOAD, RunKind.REBUILD)
    if loads and entry.acknowledged and entry.snapshot_id in listed:
        Ledger(run.state, target.key).add(
            OwnSnapshot(
                snapshot_id=SnapshotId(entry.snapshot_id or ""),
                purpose=SAFETY,
                taken_at=entry.began_at,
            )
        )
    warnings = [*_about_load(entry), *_about_orphans(run, target, orphans)]
    book.close()
    return Recovered(
        canister=target.ref,
        state=state,
        started=started,
        closed=True,
        snapshot_id=entry.snapshot_id if entry.snapshot_id in listed else None,
        orphans=orphans,
        warnings=tuple(warnings),
    )


def _about_load(entry: JournalEntry) -> list[str]:
    if entry.loading is None:
        return []
    outcomes = {call.outcome for call in entry.calls if call.kind is CallKind.LOAD}
    name = f"Snapshot {entry.loading}"
    if Outcome.EXECUTED in outcomes:
        told = f"{name} was loaded onto {entry.canister} before the run was interrupted"
    elif Outcome.UNKNOWN in outcomes:
        told = f"Whether snapshot {entry.loading} was loaded onto {entry.canister} is not known"
    else:
        told = f"{name} was not loaded onto {entry.canister}"
    kept = "" if entry.snapshot_id is None else f"; the state before is {entry.snapshot_id}"
    return [f"{told}{kept}.", *_about_heap(entry)]


def _about_heap(entry: JournalEntry) -> list[str]:
    """What is to be known of a heap that was to be rebuilt."""
    upgrades = {call.outcome for call in entry.calls if call.kind is CallKind.UPGRADE}
    if entry.kind is not RunKind.REBUILD or entry.side is Side.OLD or Outcome.EXECUTED in upgrades:
        return []
    whether = "may not have been" if Outcome.UNKNOWN in upgrades else "was not"
    told = f"The heap of {entry.canister} {whether} rebuilt from the imported memory"
    return [f"{told}: import it again, or load the state before."]


def _about_orphans(run: Runtime, target: Target, orphans: tuple[SnapshotId, ...]) -> list[str]:
    return [
        f"Snapshot {orphan} of {target} is new since the interrupted run began and may be its"
        f" own; if so, delete it with `{run.command('snapshot delete', target, orphan)}`."
        for orphan in orphans
    ]


def _without_journal(
    run: Runtime, target: Target, interrupts: Interrupts, *, start_stopped: bool
) -> Recovered:
    state = target.driver.status(target.canister_id).state
    warnings: tuple[str, ...] = ()
    started = state is not RunState.RUNNING and start_stopped
    if started:
        start_again(run, target, interrupts)
        state = target.driver.status(target.canister_id).state
    if state is not RunState.RUNNING:
        warnings = (f"{target} is {state}; no run that we know of stopped it.",)
    return Recovered(
        canister=target.ref, state=state, started=started, closed=True, warnings=warnings
    )


def _will_do(entry: JournalEntry, state: RunState, now: float) -> tuple[str, ...]:
    will: list[str] = []
    if entry.set_keys:
        will.append(
            f"Make all {len(entry.set_keys)} canisters of the set old or new: load snapshots where"
            " some of them were restored and others not."
        )
    if entry.must_run and state is not RunState.RUNNING:
        will.append(f"Start {entry.canister}: a {entry.kind} of ours stopped it.")
    expiry = entry.open_until()
    if expiry is not None and expiry > now:
        will.append(f"Watch it for {expiry - now:.0f} s: a lost call may still execute.")
    will.append("Report snapshots that the run may have left, and close its journal entry.")
    return tuple(will)
