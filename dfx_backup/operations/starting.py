"""Get a canister running again, and make sure that it stays so.

Used when a hold ends and by `recover`. A stop whose answer was lost may execute after our start;
`watch` looks until that can't happen any more, and starts the canister again when it did.
"""

import re
from dataclasses import dataclass

from dfx_backup.errors import BackupError, CanisterDownError, RejectError
from dfx_backup.model import DriverName, RunState
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.journal import OpenEntry, Step
from dfx_backup.operations.patience import Patience, lasts, quick_status
from dfx_backup.operations.target import Runtime, Target

_LEAST_TRIES = 3
"""Tries to start, however long each of them takes."""

_LATE_STARTS = 5
"""Times that a canister found not running while watched is started again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """How watching ended.

    Attributes:
        running: the canister was seen running, by the last look.
        settled: no call of ours can change that any more; the journal entry may be closed.
        restarts: how often a stop that executed late was undone.
    """

    running: bool
    settled: bool
    restarts: int = 0


def start_again(
    run: Runtime, target: Target, interrupts: Interrupts, *, top_up: int | None = None
) -> float:
    """Start the canister, trying for `Limits.start_s`; a signal does not end it.

    Args:
        run: the surroundings.
        target: the canister.
        interrupts: remembers a Ctrl-C that arrives here.
        top_up: cycles that surely thaw the canister, for the hint.

    Returns:
        The monotonic moment at which the network had answered.

    Raises:
        CanisterDownError: it could not be started; the hint has the command.
    """
    patience = Patience(run.clock, run.limits.start_s)
    tries = 0
    while True:
        tries += 1
        error = _try_to_start(target, interrupts)
        answered = run.clock.monotonic()
        if error is None or _state(target, interrupts, run) is RunState.RUNNING:
            return answered
        if lasts(error) or (tries >= _LEAST_TRIES and patience.is_over()):
            raise _down(run, target, error, top_up)
        run.progress.warn(f"Canister {target} is not started yet, trying again: {error.message}.")
        patience.pause()


def _try_to_start(target: Target, interrupts: Interrupts) -> BackupError | None:
    try:
        target.driver.start(target.canister_id)
    except BackupError as error:
        return error
    except KeyboardInterrupt:
        # Only where no handler of ours could be installed. The canister comes first.
        interrupts.remember()
        return CanisterDownError("starting was interrupted")
    return None


def is_running(target: Target, interrupts: Interrupts) -> bool:
    """Whether the canister says that it runs; False when it can't be asked."""
    return _state(target, interrupts) is RunState.RUNNING


def watch(
    run: Runtime, target: Target, book: OpenEntry, interrupts: Interrupts, *, patience_s: float
) -> Watched:
    """Look until no call whose answer was lost can execute any more.

    The entry is settled only by a status that shows the canister running and was asked for after
    every such call had expired.

    Args:
        run: the surroundings.
        target: the canister; it was started already.
        book: the journal entry.
        interrupts: a signal ends the watch early; the canister runs by then.
        patience_s: the longest wait; a later expiry is left to `recover`.

    Raises:
        CanisterDownError: it was found stopped and could not be started.
    """
    expiry = book.entry.open_until()
    end = run.clock.now() + patience_s
    restarts, told = 0, False
    while True:
        asked_at = run.clock.now()
        state = _state(target, interrupts)
        if state is not None and state is not RunState.RUNNING:
            if restarts == _LATE_STARTS:
                return Watched(running=False, settled=False, restarts=restarts)
            run.progress.warn(f"Canister {target} was found {state} and is started again.")
            start_again(run, target, interrupts)
            restarts += 1
            continue
        expired = expiry is None or asked_at > expiry
        if expired and state is RunState.RUNNING:
            return Watched(running=True, settled=True, restarts=restarts)
        if _must_give_up(run, expiry, end) or interrupts.caught is not None:
            return Watched(running=state is not None, settled=False, restarts=restarts)
        if not told and expiry is not None:
            left = max(0.0, expiry - run.clock.now())
            run.progress.step(f"{target} runs; watching {left:.0f} s for a late stop")
            told = True
        run.clock.sleep(run.limits.poll_s)


def _must_give_up(run: Runtime, expiry: float | None, end: float) -> bool:
    now = run.clock.now()
    return now >= end or (expiry is not None and expiry > end)


def _state(
    target: Target, interrupts: Interrupts, in_outage: Runtime | None = None
) -> RunState | None:
    """The canister's state, or None when it can't be asked."""
    try:
        if in_outage is not None:
            return quick_status(in_outage, target).state
        return target.driver.status(target.canister_id).state
    except BackupError:
        return None
    except KeyboardInterrupt:
        interrupts.remember()
        return None


def note_step(run: Runtime, book: OpenEntry, step: Step) -> None:
    """Journal a step that must be done even when the disk is full."""
    try:
        book.note(step=step)
    except BackupError as error:
        run.progress.warn(f"The journal could not be written: {error.message}.")


def _down(
    run: Runtime, target: Target, error: BackupError, top_up: int | None
) -> CanisterDownError:
    return CanisterDownError(
        f"canister {target} ({target.canister_id}) was running and could not be started again:"
        f" {error.message}",
        hint=down_hint(run, target, error, top_up=top_up),
    )


def down_hint(
    run: Runtime, target: Target, error: BackupError | None, *, top_up: int | None = None
) -> str:
    """The command that gets the canister running, and for IC0207 what it needs before."""
    canister, network = target.canister_id, target.network.name
    recover = f"`{run.command('recover', target)}`"
    if target.driver.name is DriverName.DFX:
        start = f"`dfx canister start {canister} --network {network}`, then {recover}"
    else:
        start = recover
    if not isinstance(error, RejectError) or error.error_code != "IC0207":
        return f"run {start}"
    amount = _missing_cycles(error.reject_message) or top_up
    if amount is None:
        return f"top the canister up with cycles first, then run {start}"
    return (
        f"top up first: `dfx cycles top-up {canister} {amount} --network {network}`;"
        f" then run {start}"
    )


def _missing_cycles(text: str) -> int | None:
    """The amount that the replica says is missing, with a tenth on top."""
    found = re.search(r"([\d_,]+) additional cycles", text)
    found = found or re.search(r"additional ([\d_,]+) cycles", text)
    digits = re.sub(r"\D", "", found[1]) if found else ""
    return int(digits) * 11 // 10 if digits else None
