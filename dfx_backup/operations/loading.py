"""Load a snapshot onto a stopped canister and know for certain whether it happened.

Loading the same snapshot twice while stopped is harmless.
"""

from dataclasses import dataclass

from dfx_backup.model import SnapshotId
from dfx_backup.operations.confirmed_call import ConfirmedCall, stopped_version
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.journal import CallKind, OpenEntry, Outcome, Step
from dfx_backup.operations.patience import sleep_watching
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

        def send() -> None:
            self.book.note(step=Step.LOADING, loading=snapshot)
            self.target.driver.load_snapshot(
                self.target.canister_id, snapshot, before_send=self.book.sending(CallKind.LOAD)
            )

        ConfirmedCall(
            run=self.run,
            target=self.target,
            book=self.book,
            interrupts=self.interrupts,
            kind=CallKind.LOAD,
            at_once=True,
        ).make(send)
        self.book.note(step=Step.LOADED, loaded=snapshot)


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
