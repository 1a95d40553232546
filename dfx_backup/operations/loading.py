"""Load a snapshot onto a stopped canister and know for certain whether it happened.

A load whose answer was lost may execute until it expires. Were the canister started before, that
load would throw away what was written since; so the start waits until the load was seen (it raises
`canister_version`) or has expired. Loading the same snapshot twice while stopped is harmless.
"""

from dataclasses import dataclass

from dfx_backup.errors import BackupError, UnknownOutcomeError
from dfx_backup.model import RunState, SnapshotId
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.journal import CallKind, OpenEntry, Outcome, Step
from dfx_backup.operations.patience import (
    CANNOT_ASK,
    Patience,
    passes,
    sleep_watching,
    was_not_executed,
)
from dfx_backup.operations.target import Runtime, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """Loads a snapshot onto one held canister.

    Attributes:
        run: the surroundings.
        target: the canister.
        book: the journal entry.
        interrupts: asked between two calls.
    """

    run: Runtime
    target: Target
    book: OpenEntry
    interrupts: Interrupts

    def load(self, snapshot: SnapshotId) -> None:
        """Make the snapshot the canister's state.

        Raises:
            RejectError: the replica refused; the state is the old one.
            UnknownOutcomeError: it is not known whether the state was replaced.
            NetworkError: the network is gone.
            InterruptedRunError: a signal has come.
        """
        patience = Patience(self.run.clock, self.run.limits.retry_s)
        lost = 0
        while True:
            self.interrupts.check()
            before = stopped_version(self.target)
            try:
                self._load_once(snapshot)
            except UnknownOutcomeError as error:
                if self._find_out(error, before):
                    break
                lost += 1
                if lost > 1:
                    raise
            except BackupError as error:
                if was_not_executed(error):
                    self.book.settle(CallKind.LOAD, Outcome.NOT_EXECUTED)
                if not passes(error) or patience.is_over():
                    raise
                self.run.progress.step(f"{self.target}: trying again: {error.message}")
                patience.pause(self.interrupts)
            else:
                break
        self.book.note(step=Step.LOADED, loaded=snapshot)

    def _load_once(self, snapshot: SnapshotId) -> None:
        self.book.note(step=Step.LOADING, loading=snapshot)
        self.target.driver.load_snapshot(
            self.target.canister_id, snapshot, before_send=self.book.sending(CallKind.LOAD)
        )
        self.book.settle(CallKind.LOAD, Outcome.EXECUTED)

    def _find_out(self, error: UnknownOutcomeError, before: int | None) -> bool:
        """Whether a load whose answer was lost was seen to execute; False: it has expired."""
        self.run.progress.step(
            f"{self.target}: the answer was lost; starting waits until the load can't come late"
        )
        expiry = self.book.entry.open_until(CallKind.LOAD) or error.expires_at
        while True:
            asked_at = self.run.clock.now()
            version = stopped_version(self.target)
            if before is not None and version is not None and version > before:
                self.book.settle(CallKind.LOAD, Outcome.EXECUTED)
                return True
            if asked_at > expiry:
                break
            sleep_watching(self.run.clock, self.run.limits.poll_s, self.interrupts)
        if version is not None and before is not None:
            self.book.settle(CallKind.LOAD, Outcome.NOT_EXECUTED)
        return False


def await_late_load(run: Runtime, target: Target, book: OpenEntry, interrupts: Interrupts) -> None:
    """Wait, with the canister stopped, until a load whose answer was lost can't come any more.

    An upgrade that follows a load is waited for in the same way; only its expiry ends that.

    Raises:
        InterruptedRunError: a signal has come.
    """
    expiry = book.entry.open_until(CallKind.LOAD, CallKind.UPGRADE)
    upgrades = book.entry.open_until(CallKind.UPGRADE) is not None
    if expiry is None or run.clock.now() > expiry:
        return
    left = expiry - run.clock.now()
    run.progress.step(
        f"{target}: {'an upgrade' if upgrades else 'a load'} may still execute; starting waits"
        f" {left:.0f} s (Ctrl-C starts now)"
    )
    before = book.entry.version_stopped
    while run.clock.now() <= expiry:
        version = None if upgrades else stopped_version(target)
        if before is not None and version is not None and version > before:
            book.settle(CallKind.LOAD, Outcome.EXECUTED)
            book.note(loaded=book.entry.loading)
            return
        sleep_watching(run.clock, run.limits.poll_s, interrupts)


def stopped_version(target: Target) -> int | None:
    """The canister's version while it is stopped, when only a load can raise it.

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
