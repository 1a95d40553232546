"""Notes about backups that are made later: verifications and pins.

Each is a small snapshot object of its own, so that nothing is ever rewritten. Its tags tell all
that lists need. Its path names the backup, so that restic, which groups by host and path, never
takes a note for the newest backup of a canister.
"""

import enum
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from dfx_backup.progress import Progress
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.snapshots import SnapshotObject
from dfx_backup.repository.writer import BackupMeta

TAG_PREFIX: Final = "dfx-backup:"
"""Begins every tag of ours; the user's own tags may not."""
BACKUP_TAG: Final = f"{TAG_PREFIX}snapshot"
"""On a backup of a whole canister; see `backup_kinds` for others."""
ID_TAG: Final = f"{TAG_PREFIX}id="
"""On a backup: its `backup_id`."""
SET_TAG: Final = f"{TAG_PREFIX}set="
"""On a backup that was taken together with others: their `set_id`."""

_OF_TAG = f"{TAG_PREFIX}of="
_LEVEL_TAG = f"{TAG_PREFIX}level="
_VERSION = 1
_LEVEL = re.compile(r"[0-9]")


class NoteKind(enum.StrEnum):
    """What a note says."""

    VERIFICATION = "verification"
    PIN = "pin"

    @property
    def tag(self) -> str:
        """The tag of such notes."""
        return TAG_PREFIX + self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A note about a backup.

    Attributes:
        kind: what it says.
        backup_id: of which backup.
        level: what a verification reached; 0 for a pin.
        time: when it was made, in seconds since the epoch.
        snapshot_id: hexadecimal id of its snapshot object.
    """

    kind: NoteKind
    backup_id: str
    level: int
    time: float
    snapshot_id: str


def read_note(snapshot: SnapshotObject) -> Note | None:
    """The note that a snapshot object is, or None when it is none."""
    kind = next((kind for kind in NoteKind if kind.tag in snapshot.tags), None)
    backup_id = tagged(snapshot.tags, _OF_TAG)
    if kind is None or backup_id is None:
        return None
    level = tagged(snapshot.tags, _LEVEL_TAG) or "0"
    return Note(
        kind=kind,
        backup_id=backup_id,
        level=int(level) if _LEVEL.fullmatch(level) else 0,
        time=snapshot.time,
        snapshot_id=snapshot.snapshot_id,
    )


def write_notes(
    repository: Repository,
    kind: NoteKind,
    backup_ids: Sequence[str],
    *,
    progress: Progress,
    tool: str,
    level: int = 0,
    told: dict[str, Any] | None = None,
) -> None:
    """Write one note about each backup, each a commit of its own.

    Args:
        repository: where the backups are.
        kind: what is said.
        backup_ids: of which backups.
        progress: hears of stale locks that are removed.
        tool: name and version of this program.
        level: what a verification reached.
        told: further fields of the note's file.

    Raises:
        LockedError: somebody works on the repository alone.
        StoreError: it can't be written.
    """
    now = repository.machine.clock()
    for backup_id in backup_ids:
        content = {
            "format": f"dfx-backup {kind.value}",
            "version": _VERSION,
            "backup_id": backup_id,
            "tool": tool,
            "created_at": now,
            **({"level": level} if kind is NoteKind.VERIFICATION else {}),
            **(told or {}),
        }
        tags = [kind.tag, f"{_OF_TAG}{backup_id}"]
        if kind is NoteKind.VERIFICATION:
            tags.append(f"{_LEVEL_TAG}{level}")
        meta = BackupMeta(
            hostname="dfx-backup",
            paths=(f"/dfx-backup/{kind.value}/{backup_id}",),
            time=now,
            tags=tuple(tags),
            program_version=tool,
        )
        text = (json.dumps(content, indent=2) + "\n").encode()
        with repository.writer(progress=progress) as writer:
            writer.commit(meta, {f"{kind.value}.json": text})


def tagged(tags: Sequence[str], prefix: str) -> str | None:
    """What stands behind a prefix in the first tag that has it."""
    return next((tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix)), None)
