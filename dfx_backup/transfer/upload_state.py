"""What survives a kill of an upload: which snapshot it fills, and what is in it already.

It is kept apart from the folder that is uploaded, which stays as it is. Before the call that makes
the snapshot leaves, the snapshots that there are and the call's expiry are on the disk: whatever
happens then, the next run finds out whether it was made.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dfx_backup.errors import RefusedError
from dfx_backup.ic.snapshot_parts import WasmChunk
from dfx_backup.model import CanisterId, SentCall, SnapshotId
from dfx_backup.transfer.resume import Journal, look_into
from dfx_backup.transfer.terms import UploadChoices, UploadTarget
from dfx_backup.transfer.upload_plan import UploadPlan, UploadSlice

_FORMAT = "dfx-backup upload"
_VERSION = 1

Key = tuple[str, int | str, int]
"""A slice: its section, its offset (a chunk's hash), its size."""


class UploadState:
    """The journal of an upload that this process carries out.

    Attributes:
        snapshot: the snapshot that is filled, when there is one.
        compare: it is not known what is in it: slices are compared before they are sent.
        before: snapshots that there were before the call that makes the new one.
        expires_at: seconds since the epoch after which that call can't execute; None: not sent.
        done: slices that are in the snapshot.
        left_behind: slices are still in flight: the journal stays open until the process ends.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.snapshot: SnapshotId | None = None
        self.compare = False
        self.before: frozenset[SnapshotId] = frozenset()
        self.expires_at: float | None = None
        self.done: set[Key] = set()
        self.left_behind = False

    @classmethod
    @contextmanager
    def open(cls, target: UploadTarget, plan: UploadPlan, choices: UploadChoices) -> Iterator[Self]:
        """Take the state for an upload, and let it go at the end of the block.

        Raises:
            RefusedError: it is of another upload that is not finished.
            LockedError: another process has it.
            DamageError: it can't be understood.
            ProjectError: it can't be used.
        """
        target.state.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        journal = Journal.open(target.state)
        state = cls(journal)
        try:
            state.read(_header(target, plan, choices), target)
            try:
                yield state
            finally:
                if state.snapshot is None and state.expires_at is None:
                    journal.remove()  # nothing was made, nothing is under way
        finally:
            if not state.left_behind:
                journal.close()

    def read(self, header: dict[str, object], target: UploadTarget) -> None:
        """Compare the header, take in what an earlier run did.

        Raises:
            RefusedError: it is of another upload.
            DamageError: it can't be understood.
        """
        if self._journal.header is None:
            self._journal.begin(header)
        elif self._journal.header != header:
            fields = self._journal.fields()
            if fields.text("format") != _FORMAT:
                raise fields.damaged(f"it is no `{_FORMAT}`")
            raise RefusedError(
                f"{target.state} is of an unfinished upload to canister"
                f" {fields.text('canister_id')} from another folder, or with other options",
                hint="Finish that one, or remove the file to leave its snapshot as it is.",
            )
        for line in self._journal.lines:
            self._read(line)
        if target.snapshot_id is not None and self.snapshot != target.snapshot_id:
            if self.snapshot is not None:
                raise RefusedError(
                    f"the unfinished upload fills snapshot {self.snapshot},"
                    f" not {target.snapshot_id}"
                )
            self.fills(target.snapshot_id, compare=True)

    def intend(self, before: frozenset[SnapshotId]) -> None:
        """A snapshot is going to be made; these are there before."""
        self.before, self.expires_at = before, None
        self._journal.add({"before": sorted(before)}, sync=True)

    def sent(self, call: SentCall) -> None:
        """The call that makes it is about to leave."""
        self.expires_at = max(self.expires_at or 0.0, call.expires_at)
        self._journal.add({"expires_at": self.expires_at}, sync=True)

    def never_made(self) -> None:
        """The call that makes it was refused: there is no new snapshot, and none will come."""
        self.intend(self.before)

    def fills(self, snapshot: SnapshotId, *, compare: bool = False) -> None:
        """The snapshot is there and gets the data."""
        self.snapshot, self.compare = snapshot, compare
        self._journal.add({"snapshot": snapshot, "compare": compare}, sync=True)

    def note(self, slice_: UploadSlice) -> None:
        """A slice is in the snapshot."""
        self._journal.add(list(key_of(slice_)))

    def finish(self) -> None:
        """The upload is done: the state goes."""
        self._journal.remove()

    def _read(self, line: object) -> None:
        match line:
            case {"before": list(before)}:
                self.before = frozenset(SnapshotId(each) for each in before)
                self.expires_at = None
            case {"expires_at": float(expires_at)}:
                self.expires_at = expires_at
            case {"snapshot": str(snapshot), "compare": bool(compare)}:
                self.snapshot, self.compare = SnapshotId(snapshot), compare
            case [str(section), int(place) | str(place), int(size)]:
                self.done.add((section, place, size))


def remembered(path: Path) -> SnapshotId | None:
    """The snapshot that an unfinished upload fills, as far as is known.

    Args:
        path: `UploadTarget.state`.

    Raises:
        ProjectError: it can't be read.
    """
    found = None
    for line in look_into(path):
        match line:
            case {"snapshot": str(snapshot)}:
                found = SnapshotId(snapshot)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftUpload:
    """An upload that is not finished.

    Attributes:
        state: its file.
        canister_id: into which canister, or None when the file does not tell.
        snapshot_id: which snapshot it fills, or None when that is not known.
    """

    state: Path
    canister_id: CanisterId | None
    snapshot_id: SnapshotId | None


def left_uploads(folder: Path) -> tuple[LeftUpload, ...]:
    """Every upload whose state is in a folder, under way or left; sorted by file.

    Raises:
        ProjectError: a file can't be read.
    """
    found = []
    for path in sorted(folder.glob("[!.]*.json")):
        lines = look_into(path)
        header = lines[0] if lines else {}
        told = header.get("canister_id") if isinstance(header, dict) else None
        canister = CanisterId(told) if isinstance(told, str) else None
        found.append(LeftUpload(state=path, canister_id=canister, snapshot_id=remembered(path)))
    return tuple(found)


def key_of(slice_: UploadSlice) -> Key:
    """What names a slice in the journal."""
    part = slice_.data.part
    if isinstance(part, WasmChunk):
        return ("wasm_chunk", part.hash.hex(), slice_.size)
    return (part.value, slice_.place.offset, slice_.size)


def _header(target: UploadTarget, plan: UploadPlan, choices: UploadChoices) -> dict[str, object]:
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "network_id": target.network_id,
        "canister_id": target.canister_id,
        "content": plan.digest,
        "keep_timer": choices.keep_timer,
        "keep_hook_status": choices.keep_hook_status,
    }
