"""Making the snapshot that an upload fills: exactly one, whatever is lost on the way."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from dfx_backup.errors import (
    NetworkError,
    RefusedError,
    RejectError,
    UnknownOutcomeError,
)
from dfx_backup.ic.http_errors import ExpiredError
from dfx_backup.ic.retry import passes
from dfx_backup.ic.snapshot_metadata import SnapshotMetadata, SnapshotSource
from dfx_backup.model import SnapshotId
from dfx_backup.transfer.terms import (
    SliceWriter,
    TransferOptions,
    TransferProgress,
    UploadChoices,
    UploadTarget,
)
from dfx_backup.transfer.upload_state import UploadState
from dfx_backup.transfer.window import persist, slice_passes

R = TypeVar("R")

POLL_S = 2.0
EXPIRY_SLACK_S = 30.0
"""Clocks differ: a call counts as never executed only so many seconds after its expiry."""
_ROUNDS = 3


def uploaded_metadata(metadata: SnapshotMetadata, choices: UploadChoices) -> SnapshotMetadata:
    """The metadata as it is sent."""
    if not choices.keep_timer:
        metadata = replace(metadata, global_timer=None)
    if not choices.keep_hook_status:
        metadata = replace(metadata, hook_status=None)
    return metadata


class NewSnapshot:
    """Finds or makes the snapshot.

    Args:
        writer: the network.
        target: where it goes.
        state: survives a kill.
        metadata: what is sent.
        options: patience and surroundings.
        progress: hears of waits.
    """

    def __init__(  # made in one place
        self,
        writer: SliceWriter,
        target: UploadTarget,
        state: UploadState,
        metadata: SnapshotMetadata,
        options: TransferOptions,
        progress: TransferProgress,
    ) -> None:
        self._writer = writer
        self._target = target
        self._state = state
        self._metadata = metadata
        self._options = options
        self._progress = progress
        self._outside = options.surroundings

    def get(self) -> SnapshotId:
        """The snapshot that is filled; the state knows it.

        Raises:
            RefusedError: the one to be resumed is not there any more, or is another.
            UnknownOutcomeError: it is not known whether there is a new snapshot.
            NetworkError: it was not made.
        """
        if self._state.snapshot is not None:
            self._check(self._state.snapshot)
            return self._state.snapshot
        made = self._settle() if self._state.expires_at is not None else None
        for _ in range(_ROUNDS):
            made = made or self._make()
            if made is not None:
                self._state.fills(made)
                return made
        raise NetworkError(
            f"no snapshot could be made for canister {self._target.canister_id}: the call that"
            " makes it expired again and again"
        )

    def _make(self) -> SnapshotId | None:
        """Make it; None when the call expired without being executed."""
        self._progress.step("making the snapshot")
        self._state.intend(self._listed())
        try:
            return self._persist(
                lambda: self._writer.upload_snapshot_metadata(
                    self._target.canister_id,
                    self._metadata,
                    replace=self._target.replace,
                    before_send=self._state.sent,
                ),
                passes,
            )
        except ExpiredError:
            return None
        except UnknownOutcomeError as error:
            self._progress.retry(error.message)
            return self._settle()
        except NetworkError:
            self._state.never_made()
            raise

    def _settle(self) -> SnapshotId | None:
        """Find out what became of the call: the list of snapshots tells.

        Returns:
            The new snapshot, or None when the call can't execute any more and has not.
        """
        self._progress.step("finding out whether the snapshot was made")
        while True:
            late = self._outside.clock() > (self._state.expires_at or 0.0) + EXPIRY_SLACK_S
            new = self._listed() - self._state.before
            if len(new) == 1:
                return self._ours(next(iter(new)))
            if new:
                raise RefusedError(
                    f"canister {self._target.canister_id} has {len(new)} new snapshots, and one of"
                    f" them may be ours: {', '.join(sorted(new))}",
                    hint="Delete those that nobody needs, and try again.",
                )
            if late:
                return None
            self._outside.sleep(POLL_S)

    def _ours(self, snapshot: SnapshotId) -> SnapshotId:
        if self._differs(self._read(snapshot)):
            raise UnknownOutcomeError(
                f"snapshot {snapshot} came up while ours was made, and it is not ours",
                request_id=None,
                expires_at=self._state.expires_at or 0.0,
                hint="Somebody else works with this canister: try again.",
            )
        return snapshot

    def _check(self, snapshot: SnapshotId) -> None:
        try:
            found = self._read(snapshot)
        except RejectError as error:
            if error.error_code != "IC0305":
                raise
            raise RefusedError(
                f"snapshot {snapshot}, which was being filled, is gone",
                hint=f"Remove {self._target.state} to begin anew.",
            ) from None
        if self._differs(found):
            raise RefusedError(f"snapshot {snapshot} is not one that this folder can go into")

    def _differs(self, found: SnapshotMetadata) -> bool:
        sent = self._metadata
        return found.source is not SnapshotSource.METADATA_UPLOAD or _shape(found) != _shape(sent)

    def _read(self, snapshot: SnapshotId) -> SnapshotMetadata:
        return self._persist(
            lambda: self._writer.read_snapshot_metadata(self._target.canister_id, snapshot)
        )

    def _listed(self) -> frozenset[SnapshotId]:
        found = self._persist(lambda: self._writer.list_snapshots(self._target.canister_id))
        return frozenset(each.snapshot_id for each in found)

    def _persist(
        self, action: Callable[[], R], may_pass: Callable[[NetworkError], bool] = slice_passes
    ) -> R:
        def failed(error: NetworkError) -> None:
            self._progress.retry(error.message)

        return persist(action, self._options, failed=failed, may_pass=may_pass)


def _shape(metadata: SnapshotMetadata) -> tuple[object, ...]:
    return (
        metadata.wasm_module_size,
        metadata.wasm_memory_size,
        metadata.stable_memory_size,
        metadata.globals,
        metadata.certified_data,
    )
