"""Hold a canister stopped: whatever happens inside, it is started again.

    with canister_lock(...), Interrupts() as interrupts:
        with stopped(run, target, interrupts, entry) as held:
            snapshot = held.take(replace=None)
        held.outage_s

Every step is on the disk before it is done. A stop is sent once and never again after a start.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dfx_backup.errors import (
    BackupError,
    CanisterDownError,
    InterruptedRunError,
    NetworkError,
    RejectError,
    ToolError,
)
from dfx_backup.ic.canister_settings import FullStatus
from dfx_backup.model import CanisterSnapshot, RunState, SentCall, SnapshotId
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.journal import (
    CallKind,
    Journal,
    JournalEntry,
    OpenEntry,
    Outcome,
    Step,
)
from dfx_backup.operations.loading import Loader
from dfx_backup.operations.patience import (
    CANNOT_ASK,
    quick_status,
    sleep_watching,
    was_not_executed,
)
from dfx_backup.operations.starting import is_running, note_step, start_again, watch
from dfx_backup.operations.taking import Taker
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.operations.upgrading import Upgrader


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a look at the held canister showed; None where nobody can tell.

    Attributes:
        version: `canister_version`.
        state: running, stopping or stopped.
        full: all of the certified answer.
    """

    version: int | None = None
    state: RunState | None = None
    full: FullStatus | None = None


class Held:
    """A canister between our stop and our start.

    Attributes:
        book: the journal entry.
        outage_s: seconds from sending stop to receiving start's answer; 0.0 without a stop. Until
            the end, when the canister was left stopped.
        running: whether the canister was seen running at the end.
        recovery_pending: the journal entry had to stay open; `recover` closes it.
        warnings: what the user should know, one sentence each.
        after_stop: what a look right after the stop showed.
    """

    def __init__(
        self,
        run: Runtime,
        target: Target,
        interrupts: Interrupts,
        book: OpenEntry,
        *,
        top_up: int | None,
    ) -> None:
        self.book = book
        self.outage_s = 0.0
        self.running = False
        self.recovery_pending = False
        self.warnings: list[str] = []
        self.after_stop = Moment()
        self._run = run
        self._target = target
        self._interrupts = interrupts
        self._top_up = top_up
        self._sent_at = 0.0
        self._never_sent = False
        self._stays_stopped = False
        self._given_up = False

    def take(self, *, replace: SnapshotId | None) -> CanisterSnapshot:
        """Take a snapshot; see `taking.Taker.take`."""
        self._run.progress.step(f"{self._target}: taking a snapshot")
        return Taker(
            run=self._run, target=self._target, book=self.book, interrupts=self._interrupts
        ).take(replace=replace)

    def load(self, snapshot: SnapshotId) -> None:
        """Load a snapshot; see `loading.Loader.load`."""
        self._run.progress.step(f"{self._target}: loading snapshot {snapshot}")
        Loader(
            run=self._run, target=self._target, book=self.book, interrupts=self._interrupts
        ).load(snapshot)

    def upgrade(self, module: bytes) -> None:
        """Install a module; see `upgrading.Upgrader.upgrade`."""
        self._run.progress.step(f"{self._target}: rebuilding the heap by an upgrade")
        Upgrader(
            run=self._run, target=self._target, book=self.book, interrupts=self._interrupts
        ).upgrade(module)

    def leave_stopped(self) -> None:
        """Do not start the canister at the end, if the end is no error and no signal."""
        self._stays_stopped = True

    def give_up(self) -> None:
        """Do not start the canister, whatever the end is; the entry stays open for `recover`."""
        self._given_up = True

    def look(self) -> Moment:
        """Version and state now, certified; nothing when nobody can tell the version."""
        target, full, within_s = self._target, None, self._run.limits.look_s
        try:
            if target.direct is not None:
                full = target.direct.calls.full_status(target.canister_id, within_s=within_s)
                status = full.status
            elif target.reader is not None or target.driver.capabilities.reads_version:
                status = quick_status(self._run, target)
            else:
                return Moment()
        except CANNOT_ASK as error:
            why = "was refused" if isinstance(error, RejectError) else "is not known"
            self._warn(f"The status of {target} {why}, so nor is its version: {error.message}.")
            return Moment()
        return Moment(version=status.version, state=status.state, full=full)

    def stop(self) -> None:
        """Send the one stop and wait until the canister is stopped.

        Raises:
            NetworkError: it did not stop in time, or the stop could not be sent.
            RejectError: the stop was refused.
            InterruptedRunError: a signal has come.
        """
        self._interrupts.check()
        self.book.note(step=Step.STOPPING)
        self._run.progress.step(f"{self._target}: stopping")
        journal_call = self.book.sending(CallKind.STOP)
        self._sent_at = self._run.clock.monotonic()

        def sending(call: SentCall) -> None:
            journal_call(call)
            self._sent_at = self._run.clock.monotonic()

        try:
            self._target.driver.stop(
                self._target.canister_id,
                timeout_s=self._run.limits.stop_s,
                before_send=sending,
            )
        except BackupError as error:
            self._after_failed_stop(error)
        else:
            self.book.settle(CallKind.STOP, Outcome.EXECUTED)
        self.book.note(step=Step.STOPPED)
        self._interrupts.check()

    def _after_failed_stop(self, error: BackupError) -> None:
        """Go on when the canister did stop; raise otherwise."""
        if self.book.count(CallKind.STOP) == 0:
            raise error
        if was_not_executed(error):
            self._never_sent = not isinstance(error, RejectError)
            self.book.settle(CallKind.STOP, Outcome.NOT_EXECUTED)
            raise error
        target, limits, clock = self._target, self._run.limits, self._run.clock
        deadline = self._sent_at + limits.stop_s
        while not self._is_stopped():
            if isinstance(error, ToolError):
                raise error
            if clock.monotonic() >= deadline:
                raise NetworkError(
                    f"canister {target} did not stop within {limits.stop_s:.0f} s",
                    hint="a call that it made is not answered yet; try again later,"
                    " or take the snapshot with --live --driver agent",
                ) from error
            sleep_watching(clock, limits.poll_s, self._interrupts)

    def _is_stopped(self) -> bool:
        try:
            state = quick_status(self._run, self._target).state
        except CANNOT_ASK:
            return False
        return state is RunState.STOPPED

    def release(self, error: BaseException | None) -> None:
        """Start the canister if it was stopped, and close the journal entry when that is safe.

        Args:
            error: what ended the work, or None.

        Raises:
            CanisterDownError: the canister could not be started; before everything else.
            InterruptedRunError: a signal has come; before any other error.
        """
        if isinstance(error, KeyboardInterrupt):
            self._interrupts.remember()
        if self._given_up:
            self.recovery_pending = True
            return
        if self._stays_stopped and error is None and self._interrupts.caught is None:
            # A stop that executes late changes nothing: nobody starts the canister.
            self.outage_s = max(0.0, self._run.clock.monotonic() - self._sent_at)
            self._close(settled=True)
            return
        try:
            self._bring_back()
        except CanisterDownError as down:
            taken = self._taken_text()
            if taken is not None:
                down.message = f"{down.message}; {taken}"
            if not isinstance(error, BackupError) or isinstance(error, CanisterDownError):
                raise down from error  # another canister that is down is told beside this one
            raise CanisterDownError(
                f"{down.message} (it had been stopped, and then: {error.message})", hint=down.hint
            ) from error
        if self._interrupts.caught is not None:
            raise InterruptedRunError(
                self._interrupted_text(), hint=self._pending_hint()
            ) from error

    def tell_state(self, error: BaseException) -> None:
        """Add to the error that ended the work what is urgent: what runs, and what was taken."""
        if not isinstance(error, BackupError):
            return
        runs = self.book.entry.must_run and self.running
        pending = self._pending_hint() if runs else None
        told = f"canister {self._target} runs again" if runs else None
        for each in (told, self._taken_text(), pending):
            if each is not None:
                error.advise(each)

    def _taken_text(self) -> str | None:
        taken = self.book.entry.snapshot_id
        return None if taken is None else f"snapshot {taken} of {self._target} was taken and stays"

    def _bring_back(self) -> None:
        run, target = self._run, self._target
        if not self.book.entry.must_run or self._never_sent:
            was = self.book.entry.was_running
            self.running = was and is_running(target, self._interrupts)
            self._close(settled=self._has_nothing_open())
            return
        if not self._was_refused_and_runs():
            note_step(run, self.book, Step.STARTING)
            run.progress.step(f"{target}: starting")
            answered = start_again(run, target, self._interrupts, top_up=self._top_up)
            self.outage_s = max(0.0, answered - self._sent_at)
            note_step(run, self.book, Step.STARTED)
        watched = watch(run, target, self.book, self._interrupts, patience_s=run.limits.late_stop_s)
        if watched.restarts:
            self._warn(
                f"Canister {target} was found stopped after our start and was started again"
                f" ({watched.restarts} times); the outage was longer than measured."
            )
        self.running = watched.running
        self._close(settled=watched.settled)

    def _was_refused_and_runs(self) -> bool:
        stops = [call for call in self.book.entry.calls if call.kind is CallKind.STOP]
        refused = all(call.outcome is Outcome.NOT_EXECUTED for call in stops)
        return refused and is_running(self._target, self._interrupts)

    def _has_nothing_open(self) -> bool:
        expiry = self.book.entry.open_until()
        return expiry is None or self._run.clock.now() > expiry

    def _close(self, *, settled: bool) -> None:
        if not settled:
            self.recovery_pending = True
            why = f"That {self._target} runs again could not be seen"
            if not self._has_nothing_open():
                why = f"A call to {self._target} whose answer was lost may still execute"
            self._warn(f"{why}; {self._pending_hint()}.")
            return
        try:
            self.book.close()
        except BackupError as error:
            self.recovery_pending = True
            self._warn(f"The journal entry of {self._target} stays: {error.message}.")

    def _pending_hint(self) -> str | None:
        if not self.recovery_pending:
            return None
        return f"run, in some minutes, `{self._run.command('recover', self._target)}`"

    def _interrupted_text(self) -> str:
        entry, target = self.book.entry, self._target
        parts = [f"the run was interrupted by {self._interrupts.caught}"]
        if entry.snapshot_id is not None:
            parts.append(f"snapshot {entry.snapshot_id} was taken and is kept")
        if any(
            call.kind is CallKind.LOAD and call.outcome is Outcome.EXECUTED for call in entry.calls
        ):
            parts.append(f"snapshot {entry.loading} was loaded")
        if self.running:
            parts.append(f"canister {target} runs")
        return "; ".join(parts)

    def _warn(self, text: str) -> None:
        self.warnings.append(text)
        self._run.progress.warn(text)


@contextmanager
def stopped(
    run: Runtime,
    target: Target,
    interrupts: Interrupts,
    entry: JournalEntry,
    *,
    stops: bool = True,
    top_up: int | None = None,
) -> Iterator[Held]:
    """Hold the canister stopped inside the block; the caller has its lock and checked everything.

    Args:
        run: the surroundings.
        target: the canister.
        interrupts: entered by the caller; signals are deferred inside.
        entry: the journal entry to begin with.
        stops: False leaves the canister as it is (live, or found stopped) but journals the calls.
        top_up: cycles that surely thaw the canister, for the hint when it can't be started.

    Raises:
        CanisterDownError: the canister could not be started.
        InterruptedRunError: a signal has come; the canister was started.
    """
    with interrupts.deferred():
        held = Held(run, target, interrupts, OpenEntry(Journal(run.state), entry), top_up=top_up)
        try:
            if stops:
                held.stop()
            held.after_stop = held.look()
            held.book.note(version_stopped=held.after_stop.version)
            yield held
        except BaseException as error:
            held.release(error)
            held.tell_state(error)
            raise
        else:
            held.release(None)
