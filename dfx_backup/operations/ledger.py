"""Snapshots that are ours for certain: the network answered our own take with their id.

Only these are ever deleted without being asked to by id. One JSON file for each canister on each
network, in `ours/` of the state directory.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from dfx_backup.model import SnapshotId
from dfx_backup.operations.state_files import Fields, read_versioned, write_whole

FORMAT = "dfx-backup own snapshots"
VERSION = 1

SAFETY = "safety snapshot before a load"
"""Purpose of a snapshot that keeps the state from before a load."""
BACKUP = "backup"
"""Purpose of a snapshot that was taken to be brought into a repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSnapshot:
    """A snapshot of ours.

    Attributes:
        snapshot_id: its id.
        purpose: why it was taken.
        taken_at: when, seconds since the epoch by our clock.
    """

    snapshot_id: SnapshotId
    purpose: str
    taken_at: float


class Ledger:
    """The snapshots of one canister that are ours, oldest first."""

    def __init__(self, state: Path, key: str) -> None:
        self.path = state / "ours" / f"{key}.json"

    def read(self) -> tuple[OwnSnapshot, ...]:
        """What is recorded.

        Raises:
            DamageError: the file is damaged; names it.
            ProjectError: the file can't be read or a newer program wrote it; names it.
        """
        return read_versioned(self.path, kind=FORMAT, version=VERSION, parse=_parse) or ()

    def add(self, own: OwnSnapshot) -> None:
        """Record one more; a known id is left as it is."""
        known = self.read()
        if all(other.snapshot_id != own.snapshot_id for other in known):
            self._write((*known, own))

    def drop(self, *snapshots: SnapshotId) -> None:
        """Forget ids that are gone from the network."""
        known = self.read()
        left = tuple(own for own in known if own.snapshot_id not in snapshots)
        if left != known:
            self._write(left)

    def _write(self, owns: tuple[OwnSnapshot, ...]) -> None:
        write_whole(
            self.path,
            {"format": FORMAT, "version": VERSION, "snapshots": [asdict(own) for own in owns]},
        )


def _parse(fields: Fields) -> tuple[OwnSnapshot, ...]:
    return tuple(
        OwnSnapshot(
            snapshot_id=SnapshotId(one.text("snapshot_id")),
            purpose=one.text("purpose"),
            taken_at=one.number("taken_at"),
        )
        for one in fields.objects("snapshots")
    )
