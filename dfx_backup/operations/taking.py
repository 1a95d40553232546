"""Take one snapshot and know for certain which one it is; never a blind second one."""

from dataclasses import dataclass

from dfx_backup.errors import BackupError, NetworkError, ToolError, UnknownOutcomeError
from dfx_backup.model import CanisterSnapshot, SnapshotId
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
class Taker:
    """Takes snapshots of one held canister.

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

    def take(self, *, replace: SnapshotId | None) -> CanisterSnapshot:
        """Take a snapshot.

        A refusal that passes is tried again for `Limits.retry_s`. After a lost answer the list of
        snapshots is compared with the one before; only when the call has expired and nothing new
        is there, one second take is sent.

        Raises:
            RejectError: the replica refused.
            UnknownOutcomeError: it is not known yet whether a snapshot will appear.
            NetworkError: several snapshots appeared, or the network is gone.
            InterruptedRunError: a signal has come.
        """
        patience = Patience(self.run.clock, self.run.limits.retry_s)
        lost = 0
        while True:
            self.interrupts.check()
            try:
                taken = self._take_once(replace)
            except UnknownOutcomeError as error:
                found = self._find_out(error)
                if found is not None:
                    return found
                lost += 1
                if lost > 1:
                    raise _did_not_happen(self.target, error) from error
            except BackupError as error:
                found = self._after_failure(error)
                if found is not None:
                    return found
                if not passes(error) or patience.is_over():
                    raise
                self.run.progress.step(f"{self.target}: trying again: {error.message}")
                patience.pause(self.interrupts)
            else:
                self._found(taken, acknowledged=True)
                return taken

    def _take_once(self, replace: SnapshotId | None) -> CanisterSnapshot:
        self.book.note(step=Step.TAKING)
        return self.target.driver.take_snapshot(
            self.target.canister_id,
            replace=replace,
            before_send=self.book.sending(CallKind.TAKE),
        )

    def _found(self, snapshot: CanisterSnapshot, *, acknowledged: bool) -> None:
        self.book.settle(
            CallKind.TAKE,
            Outcome.EXECUTED,
            step=Step.TAKEN,
            snapshot_id=snapshot.snapshot_id,
            acknowledged=acknowledged,
        )

    def _after_failure(self, error: BackupError) -> CanisterSnapshot | None:
        """A failure that is no lost answer; a program that failed may still have had it done."""
        if isinstance(error, ToolError):
            appeared = self._appeared()
            if appeared:
                return self._only(appeared)
            self.book.settle(CallKind.TAKE, Outcome.NOT_EXECUTED)
        elif was_not_executed(error):
            self.book.settle(CallKind.TAKE, Outcome.NOT_EXECUTED)
        return None

    def _find_out(self, error: UnknownOutcomeError) -> CanisterSnapshot | None:
        """What became of a take whose answer was lost; None: it never happened, for certain."""
        self.run.progress.step(f"{self.target}: the answer was lost, looking for the snapshot")
        clock, limits = self.run.clock, self.run.limits
        expiry = self.book.entry.open_until(CallKind.TAKE) or error.expires_at
        deadline = clock.monotonic() + limits.settle_s
        while True:
            asked_at = clock.now()
            try:
                appeared = self._appeared()
            except CANNOT_ASK:
                appeared = None
            if appeared:
                return self._only(appeared)
            if appeared is not None and asked_at > expiry:
                self.book.settle(CallKind.TAKE, Outcome.NOT_EXECUTED)
                return None
            if clock.monotonic() >= deadline:
                raise self._still_unknown(error) from error
            sleep_watching(clock, limits.poll_s, self.interrupts)

    def _appeared(self) -> list[CanisterSnapshot]:
        before = set(self.book.entry.snapshots_before)
        listed = self.target.driver.list_snapshots(self.target.canister_id)
        return [snapshot for snapshot in listed if snapshot.snapshot_id not in before]

    def _only(self, appeared: list[CanisterSnapshot]) -> CanisterSnapshot:
        if len(appeared) > 1:
            names = ", ".join(snapshot.snapshot_id for snapshot in appeared)
            raise NetworkError(
                f"the answer to taking a snapshot of {self.target} was lost, and several"
                f" snapshots appeared: {names}",
                hint="somebody else takes snapshots of it too; look at the list, then try again",
            )
        self._found(appeared[0], acknowledged=False)
        return appeared[0]

    def _still_unknown(self, error: UnknownOutcomeError) -> UnknownOutcomeError:
        return UnknownOutcomeError(
            f"it is not known whether the snapshot of {self.target} was taken: {error.message}",
            request_id=error.request_id,
            expires_at=error.expires_at,
            hint="it may still appear; run, in some minutes,"
            f" `{self.run.command('recover', self.target)}`",
        )


def _did_not_happen(target: Target, error: UnknownOutcomeError) -> NetworkError:
    return NetworkError(
        f"no snapshot of {target} was taken: two answers were lost ({error.message})",
        hint="nothing was left behind; try again when the network is better",
    )
