"""Backups whose snapshot is taken and that are not in a repository yet.

One JSON file for each canister on each network, in `unfinished/` of the state directory; written
while the canister is still held. docs/adr/0007-unfinished-backups.md tells of the format.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from dfx_backup.errors import BackupError
from dfx_backup.model import (
    CanisterId,
    CanisterRef,
    NetworkId,
    RunState,
    SnapshotId,
)
from dfx_backup.operations.hold import Moment
from dfx_backup.operations.state_files import Fields, damaged, read_versioned, remove, write_whole
from dfx_backup.operations.target import target_key
from dfx_backup.transfer.backup_details import (
    BackupDetails,
    details_from_json,
    details_to_json,
)

FORMAT = "dfx-backup unfinished backup"
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """What is known of a snapshot when it was taken, and can't be read later.

    Attributes:
        canister: whose.
        network_id: on which network.
        snapshot_id: which one.
        began_at: when the run began, seconds since the epoch.
        live: the canister was left running.
        after_stop: a look at the canister right after its stop.
        before_start: the same right before its start.
        details: what the manifest will say, as far as it is known.
        tags: the user's tags.
    """

    canister: CanisterRef
    network_id: NetworkId
    snapshot_id: SnapshotId
    began_at: float
    live: bool
    after_stop: Moment
    before_start: Moment
    details: BackupDetails
    tags: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Names the canister on its network."""
        return target_key(self.network_id, self.canister.canister_id)

    @property
    def members(self) -> tuple[CanisterId, ...]:
        """All canisters that were taken together with it, itself included."""
        told = tuple(map(CanisterId, self.details.set_canisters))
        return told or (self.canister.canister_id,)


class UnfinishedBackups:
    """The folder of these files.

    Args:
        state: our state directory, `Places.state`.
    """

    def __init__(self, state: Path) -> None:
        self._folder = state / "unfinished"

    def read(self, key: str) -> Unfinished | None:
        """What is left of the canister `key`, or None.

        Raises:
            DamageError: the file is damaged; names it.
            ProjectError: the file can't be read or a newer program wrote it; names it.
        """
        path = self._path(key)
        found = read_versioned(path, kind=FORMAT, version=VERSION, parse=_parse)
        if found is not None and path.stem != found.key:
            raise damaged(path, "it tells of another canister or network than its name")
        return found

    def entries(self) -> tuple[tuple[Path, Unfinished | BackupError], ...]:
        """Every file and what it says, or the error that reading it gave; sorted by name."""
        found: list[tuple[Path, Unfinished | BackupError]] = []
        for path in sorted(self._folder.glob("[!.]*.json")):
            try:
                content: Unfinished | BackupError | None = self.read(path.stem)
            except BackupError as error:
                content = error
            if content is not None:
                found.append((path, content))
        return tuple(found)

    def write(self, left: Unfinished) -> None:
        """Put it on the disk; the caller has the canister's lock.

        Raises:
            ProjectError: it can't be written.
        """
        content = {
            "format": FORMAT,
            "version": VERSION,
            "canister": asdict(left.canister),
            "network_id": left.network_id,
            "snapshot_id": left.snapshot_id,
            "began_at": left.began_at,
            "live": left.live,
            "after_stop": moment_to_json(left.after_stop),
            "before_start": moment_to_json(left.before_start),
            "backup": details_to_json(left.details),
            "tags": list(left.tags),
        }
        write_whole(self._path(left.key), content)

    def drop(self, key: str) -> None:
        """The backup is in a repository, or nobody wants it any more.

        Raises:
            ProjectError: the file can't be removed.
        """
        remove(self._path(key))

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def moment_to_json(moment: Moment) -> dict[str, object]:
    """A look at a canister as a file keeps it."""
    state = None if moment.state is None else moment.state.value
    return {"version": moment.version, "state": state}


def _parse(fields: Fields) -> Unfinished:
    canister = fields.child("canister")
    backup = fields.child("backup")
    return Unfinished(
        canister=CanisterRef(
            canister_id=CanisterId(canister.text("canister_id")),
            name=canister.optional_text("name"),
        ),
        network_id=NetworkId(fields.text("network_id")),
        snapshot_id=SnapshotId(fields.text("snapshot_id")),
        began_at=fields.number("began_at"),
        live=fields.flag("live"),
        after_stop=moment_from(fields.child("after_stop")),
        before_start=moment_from(fields.child("before_start")),
        details=details_from_json(backup.content, backup),
        tags=fields.texts("tags"),
    )


def moment_from(fields: Fields) -> Moment:
    """What `moment_to_json` wrote."""
    told = fields.optional_text("state")
    return Moment(
        version=fields.optional_whole("version"),
        state=None if told is None else fields.choice("state", RunState),
    )
