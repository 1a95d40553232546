"""A folder or a backup into a new snapshot.

Zeros stay at home, lost answers are settled, and what arrived is read back.
"""

import threading

from dfx_backup.errors import (
    CertificateError,
    DamageError,
    ProjectError,
    RejectError,
    UnknownOutcomeError,
)
from dfx_backup.ic.snapshot_parts import ReadPart, Slice, WasmChunk
from dfx_backup.model import SnapshotId
from dfx_backup.transfer.new_snapshot import NewSnapshot, uploaded_metadata
from dfx_backup.transfer.read_back import Check, checks
from dfx_backup.transfer.terms import (
    SliceWriter,
    TransferOptions,
    TransferProgress,
    UploadChoices,
    UploadReport,
    UploadTarget,
)
from dfx_backup.transfer.upload_plan import SectionData, UploadPlan, UploadSlice
from dfx_backup.transfer.upload_state import UploadState, key_of
from dfx_backup.transfer.window import Window

_NO_CHUNK = "IC0504"


def upload_snapshot(
    writer: SliceWriter,
    target: UploadTarget,
    plan: UploadPlan,
    choices: UploadChoices,
    *,
    options: TransferOptions,
    progress: TransferProgress,
) -> UploadReport:
    """Send a folder or a backup into a snapshot, and compare what arrived.

    An upload that was interrupted goes on when it is called again with the same target, plan and
    choices; there is never a second snapshot.

    Args:
        writer: writes and reads the network.
        target: where it goes, and where the state is kept.
        plan: of `plan_upload`.
        choices: what is left out, and how it is checked.
        options: how.
        progress: hears how far it is.

    Raises:
        DamageError: what is sent has problems or has changed, or other bytes were read back.
        RefusedError: the state is of another upload, or the snapshot to be filled is gone.
        LockedError: another process carries out this upload.
        InterruptedRunError: `options.should_stop` said so.
        UnknownOutcomeError: it is not known whether there is a new snapshot.
        NetworkError: the network refuses, or answers with something that is not certified.
        ProjectError: what is sent can't be read, or the state can't be used.
    """
    origin = plan.origin
    if origin.problems:
        raise DamageError(f"{origin} can't be uploaded: {' '.join(origin.problems)}")
    origin.check_unchanged()
    with UploadState.open(target, plan, choices) as state:
        try:
            return _Upload(writer, target, plan, state, options, progress).carry_out(choices)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ProjectError(f"{origin} can't be read: {reason}") from error


class _Upload:
    """One run. Its files stay open when slices had to be left behind in flight."""

    def __init__(  # made in one place, above
        self,
        writer: SliceWriter,
        target: UploadTarget,
        plan: UploadPlan,
        state: UploadState,
        options: TransferOptions,
        progress: TransferProgress,
    ) -> None:
        self._writer = writer
        self._target = target
        self._plan = plan
        self._state = state
        self._options = options
        self._progress = progress
        self._lock = threading.Lock()
        self._origin = plan.origin
        self._snapshot = SnapshotId("")
        self._sent = self._found = self._resumed = self._checked = self._envelopes = 0

    def carry_out(self, choices: UploadChoices) -> UploadReport:
        """Everything from the snapshot's making to the last byte read back."""
        plan = self._plan
        metadata = uploaded_metadata(plan.metadata, choices)
        self._snapshot = NewSnapshot(
            self._writer, self._target, self._state, metadata, self._options, self._progress
        ).get()
        sending: Window[UploadSlice] = Window(self._options, on_retry=self._retry)
        checking: Window[Check] = Window(self._options, on_retry=self._retry)
        try:
            self._origin.open()
            waiting = self._waiting()
            self._progress.begin("uploading", total_bytes=plan.send_bytes, done_bytes=self._resumed)
            with self._writer.watch(sending.noticed):
                sending.run(iter(waiting), self._send)
            self._origin.check_unchanged()
            wanted = tuple(checks(plan, choices.read_back, choices.seed))
            size = sum(_size(data, part) for data, part in wanted)
            self._progress.begin("reading back", total_bytes=size, done_bytes=0)
            with self._writer.watch(checking.noticed):
                checking.run(wanted, self._check)
            self._origin.check_unchanged()
        finally:
            self._close(left_behind=bool(sending.running or checking.running))
        if not self._target.keep_state:
            self._state.finish()
        return self._report(sending, checking)

    def _waiting(self) -> list[UploadSlice]:
        """What no earlier run has sent."""
        waiting = []
        for slice_ in self._plan.slices():
            if key_of(slice_) in self._state.done:
                self._resumed += slice_.size
            else:
                waiting.append(slice_)
        return waiting

    def _send(self, slice_: UploadSlice) -> None:
        """Send a slice; where it can be there already, look first, since reading is cheap."""
        if not (self._state.compare and self._is_there(slice_)):
            self._put(slice_)
            with self._lock:
                self._sent += slice_.size
                self._envelopes += 1
        else:
            with self._lock:
                self._resumed += slice_.size
        self._state.note(slice_)
        with self._lock:
            self._progress.advance(slice_.size)

    def _put(self, slice_: UploadSlice) -> None:
        target = self._target.canister_id
        data = slice_.data
        try:
            self._writer.upload_snapshot_data(
                target,
                self._snapshot,
                slice_.place,
                self._origin.read(data, slice_.place.offset, slice_.size),
            )
        except UnknownOutcomeError as error:
            if isinstance(error, CertificateError) or not self._is_there(slice_):
                raise  # the window sends it again: the same bytes in the same place

    def _is_there(self, slice_: UploadSlice) -> bool:
        """Whether the snapshot holds the slice's bytes."""
        data, place = slice_.data, slice_.place
        part: ReadPart = (
            data.part
            if isinstance(data.part, WasmChunk)
            else Slice(section=data.part, offset=place.offset, size=slice_.size)
        )
        try:
            found = self._read(part)
        except RejectError as error:
            if isinstance(part, WasmChunk) and error.error_code == _NO_CHUNK:
                return False
            raise
        return found == self._wanted(data, part)

    def _check(self, check: Check) -> None:
        data, part = check
        if self._read(part) != self._wanted(data, part):
            where = (
                f"chunk {part.hash.hex()}"
                if isinstance(part, WasmChunk)
                else f"bytes {part.offset} to {part.offset + part.size} of {part.section.value}"
            )
            raise DamageError(
                f"snapshot {self._snapshot} is not what was sent: {where} are not those of"
                f" {data.file} in {self._origin}",
                hint="Delete the snapshot; do not load it.",
            )
        with self._lock:
            self._checked += _size(data, part)
            self._progress.advance(_size(data, part))

    def _read(self, part: ReadPart) -> bytes:
        return self._writer.read_snapshot_data(self._target.canister_id, self._snapshot, part)

    def _wanted(self, data: SectionData, part: ReadPart) -> bytes:
        offset = 0 if isinstance(part, WasmChunk) else part.offset
        return self._origin.read(data, offset, _size(data, part))

    def _retry(self, reason: str) -> None:
        with self._lock:
            self._progress.retry(reason)

    def _close(self, *, left_behind: bool) -> None:
        self._state.left_behind = left_behind
        if not left_behind:
            self._origin.close()

    def _report(self, sending: Window[UploadSlice], checking: Window[Check]) -> UploadReport:
        return UploadReport(
            snapshot_id=self._snapshot,
            total_bytes=self._plan.total_bytes,
            sent_bytes=self._sent,
            resumed_bytes=self._resumed,
            zero_bytes=self._plan.zero_bytes,
            envelopes=self._envelopes,
            checked_bytes=self._checked,
            retries=sending.retries + checking.retries,
            seconds=sending.seconds,
            window=max(sending.widest, checking.widest),
        )


def _size(data: SectionData, part: ReadPart) -> int:
    return data.size if isinstance(part, WasmChunk) else part.size
