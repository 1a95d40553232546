"""A call that replaces a stopped canister's state, made until it is known whether it happened.

One whose answer was lost may execute until it expires. Were the canister started before, it would
throw away what was written since; so the start waits until the call was seen (it raises
`canister_version`) or has expired.
"""

from collections.abc import Callable
from dataclasses import dataclass

from dfx_backup.errors import BackupError, UnknownOutcomeError
from dfx_backup.model import RunState
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.journal import CallKind, OpenEntry, Outcome
from dfx_backup.operations.patience import (
    CANNOT_ASK,
    Patience,
    passes,
    sleep_watching,
    was_not_executed,
)
from dfx_backup.operations.target import Runtime, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedCall:
    """Makes one kind of call to one held canister.

    Attributes:
        run: the surroundings.
        target: the canister.
        book: the journal entry.
        interrupts: asked while something is awaited.
        kind: of the call; its value names it for people.
        at_once: a signal that has come before a call is sent keeps it from being sent.
    """

    run: Runtime
    target: Target
    book: OpenEntry
    interrupts: Interrupts
    kind: CallKind
    at_once: bool

    def make(self, send: Callable[[], None]) -> None:
        """Send it, and again after what passes, or when its answer was lost and it has expired.

        Args:
            send: makes the call; twice does no harm.

        Raises:
            RejectError: the replica refused; the state is the old one.
            UnknownOutcomeError: it is not known whether the state was replaced.
            NetworkError: the network is gone.
            InterruptedRunError: a signal has come.
        """
        patience = Patience(self.run.clock, self.run.limits.retry_s)
        lost = 0
        while True:
            if self.at_once:
                self.interrupts.check()
            before = stopped_version(self.target)
            try:
                send()
                self.book.settle(self.kind, Outcome.EXECUTED)
            except UnknownOutcomeError as error:
                if self._find_out(error, before):
                    return
                lost += 1
                if lost > 1:
                    raise
            except BackupError as error:
                if was_not_executed(error):
                    self.book.settle(self.kind, Outcome.NOT_EXECUTED)
                if not passes(error) or patience.is_over():
                    raise
                self.run.progress.step(f"{self.target}: trying again: {error.message}")
                patience.pause(self.interrupts)
            else:
                return

    def _find_out(self, error: UnknownOutcomeError, before: int | None) -> bool:
        """Whether a call whose answer was lost was seen to execute; False: it has expired."""
        self.run.progress.step(
            f"{self.target}: the answer was lost; starting waits until the {self.kind} can't come"
            " late"
        )
        expiry = self.book.entry.open_until(self.kind) or error.expires_at
        while True:
            asked_at = self.run.clock.now()
            version = stopped_version(self.target)
            if before is not None and version is not None and version > before:
                self.book.settle(self.kind, Outcome.EXECUTED)
                return True
            if asked_at > expiry:
                break
            sleep_watching(self.run.clock, self.run.limits.poll_s, self.interrupts)
        if version is not None and before is not None:
            self.book.settle(self.kind, Outcome.NOT_EXECUTED)
        return False


def stopped_version(target: Target) -> int | None:
    """The canister's version while it is stopped, when only such a call can raise it.

    Returns:
        None when it is not stopped, can't be asked, or nobody tells versions.
    """
    try:
        if target.reader is not None:
            status = target.reader.status(target.canister_id)
        elif target.driver.capabilities.reads_version:
            status = target.driver.status(target.canister_id)
        else:
            return None
    except CANNOT_ASK:
        return None
    return status.version if status.state is RunState.STOPPED else None
