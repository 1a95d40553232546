"""Upgrade a stopped canister without its pre_upgrade, and know for certain whether it happened.

An upgrade whose answer was lost may execute until it expires, and would throw away what a canister
that was started meanwhile has in its heap: the start waits, as it does for a load.
"""

from dataclasses import dataclass

from dfx_backup.errors import BackupError, UnknownOutcomeError
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.journal import CallKind, OpenEntry, Outcome, Step
from dfx_backup.operations.loading import stopped_version
from dfx_backup.operations.patience import (
    Patience,
    passes,
    sleep_watching,
    was_not_executed,
)
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
        patience = Patience(self.run.clock, self.run.limits.retry_s)
        lost = 0
        while True:
            before = stopped_version(self.target)
            try:
                self._upgrade_once(module)
            except UnknownOutcomeError as error:
                if self._find_out(error, before):
                    break
                lost += 1
                if lost > 1:
                    raise
            except BackupError as error:
                if was_not_executed(error):
                    self.book.settle(CallKind.UPGRADE, Outcome.NOT_EXECUTED)
                if not passes(error) or patience.is_over():
                    raise
                self.run.progress.step(f"{self.target}: trying again: {error.message}")
                patience.pause(self.interrupts)
            else:
                break
        self.book.note(step=Step.UPGRADED)

    def _upgrade_once(self, module: bytes) -> None:
        assert self.target.direct is not None  # or it was refused before
        self.book.note(step=Step.UPGRADING)
        self.target.direct.calls.install_code(
            self.target.canister_id,
            module,
            mode="upgrade",
            skip_pre_upgrade=True,
            before_send=self.book.sending(CallKind.UPGRADE),
        )
        self.book.settle(CallKind.UPGRADE, Outcome.EXECUTED)

    def _find_out(self, error: UnknownOutcomeError, before: int | None) -> bool:
        """Whether an upgrade whose answer was lost was seen to execute; False: it has expired."""
        self.run.progress.step(
            f"{self.target}: the answer was lost; starting waits until the upgrade can't come late"
        )
        expiry = self.book.entry.open_until(CallKind.UPGRADE) or error.expires_at
        while True:
            asked_at = self.run.clock.now()
            version = stopped_version(self.target)
            if before is not None and version is not None and version > before:
                self.book.settle(CallKind.UPGRADE, Outcome.EXECUTED)
                return True
            if asked_at > expiry:
                break
            sleep_watching(self.run.clock, self.run.limits.poll_s, self.interrupts)
        if version is not None and before is not None:
            self.book.settle(CallKind.UPGRADE, Outcome.NOT_EXECUTED)
        return False
