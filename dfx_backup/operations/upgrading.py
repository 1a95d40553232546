"""Upgrade a stopped canister without its pre_upgrade, and know for certain whether it happened.

An upgrade that came late would throw away what a canister that was started meanwhile has in its
heap: the start waits, as it does for a load.
"""

from dataclasses import dataclass

from dfx_backup.operations.confirmed_call import ConfirmedCall
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.journal import CallKind, OpenEntry, Step
from dfx_backup.operations.target import Runtime, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrader:
    """Upgrades one held canister, by direct calls.

    Attributes:
        run: the surroundings.
        target: the canister.
        book: the journal entry.
        interrupts: asked while something is awaited; not before, for half of the work is done.
    """

    run: Runtime
    target: Target
    book: OpenEntry
    interrupts: Interrupts

    def upgrade(self, module: bytes) -> None:
        """Install the module, so that its post_upgrade makes a new heap of the stable memory.

        Raises:
            RejectError: it was refused, or trapped; nothing has changed.
            UnknownOutcomeError: it is not known whether it happened.
            NetworkError: the network is gone.
            InterruptedRunError: a signal has come.
        """
        direct = self.target.direct
        assert direct is not None  # or it was refused before

        def send() -> None:
            self.book.note(step=Step.UPGRADING)
            direct.calls.install_code(
                self.target.canister_id,
                module,
                mode="upgrade",
                skip_pre_upgrade=True,
                before_send=self.book.sending(CallKind.UPGRADE),
            )

        ConfirmedCall(
            run=self.run,
            target=self.target,
            book=self.book,
            interrupts=self.interrupts,
            kind=CallKind.UPGRADE,
            at_once=False,
        ).make(send)
        self.book.note(step=Step.UPGRADED)
