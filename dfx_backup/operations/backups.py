"""The backups of a repository: snapshot objects with their manifests and the notes about them."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dfx_backup.errors import BackupError, DamageError, ProjectError, UsageError
from dfx_backup.model import CanisterId, Consistency, NetworkId
from dfx_backup.operations.backup_kinds import backup_path, kind_of, kind_tag, path_of
from dfx_backup.operations.backup_notes import (
    ID_TAG,
    SET_TAG,
    TAG_PREFIX,
    Note,
    NoteKind,
    read_note,
    tagged,
)
from dfx_backup.repository.layout import BlobKind, ObjectKind, list_objects
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.snapshots import SnapshotObject
from dfx_backup.repository.store import MissingObjectError, StoreError
from dfx_backup.repository.trees import Tree
from dfx_backup.repository.writer import BackupMeta
from dfx_backup.transfer import backup_json
from dfx_backup.transfer.backup_details import KIND_SNAPSHOT, BackupDetails
from dfx_backup.transfer.backup_json import BACKUP_NAME, BackupRecord

if TYPE_CHECKING:
    from dfx_backup.repository.retention import BackupFacts

_READERS = 8
"""Manifests that are read at a time: two requests each, which take long over a network."""
_LARGEST_MANIFEST = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One canister at one moment.

    Attributes:
        snapshot: its snapshot object.
        record: its manifest, backup.json, or None when that can't be read.
        problem: why not.
        notes: verifications and pins.
        copies: further snapshot objects with the same `backup_id`: a retagging that was killed.
        set_lacks: canisters of its set of which there is no backup: it can't be restored whole.
    """

    snapshot: SnapshotObject
    record: BackupRecord | None
    problem: BackupError | None = None
    notes: tuple[Note, ...] = ()
    copies: tuple[str, ...] = ()
    set_lacks: tuple[str, ...] = ()

    @property
    def backup_id(self) -> str:
        """Its own id; of one that nothing tells any more, the beginning of restic's."""
        told = tagged(self.snapshot.tags, ID_TAG)
        if self.details is not None:
            told = self.details.backup_id
        return told or self.snapshot.snapshot_id[:32]

    @property
    def details(self) -> BackupDetails | None:
        """What the manifest says beyond the files."""
        return None if self.record is None else self.record.backup

    @property
    def set_id(self) -> str | None:
        """What it shares with those taken together with it."""
        return tagged(self.snapshot.tags, SET_TAG)

    @property
    def kind(self) -> str:
        """What was backed up: `snapshot`, or `stable`."""
        return kind_of(self.snapshot.tags) or KIND_SNAPSHOT

    @property
    def canister_id(self) -> CanisterId:
        """Whose it is."""
        return path_of(self.snapshot)[0]

    @property
    def stream(self) -> str | None:
        """Which stream of the canister's memory it is; None of a whole canister."""
        return path_of(self.snapshot)[1]

    @property
    def subject(self) -> str:
        """What it is a backup of, for people: a canister, or a stream of one."""
        canister = self.canister_name or self.canister_id
        return canister if self.stream is None else f"{self.stream} of {canister}"

    @property
    def canister_name(self) -> str | None:
        """The canister's name in the project, when it was known."""
        return None if self.details is None else self.details.canister_name

    @property
    def network_name(self) -> str:
        """What the user called the network."""
        return self.snapshot.hostname

    @property
    def network_id(self) -> NetworkId | None:
        """The network's identity, or None when the manifest can't be read."""
        return None if self.record is None else self.record.identity.network_id

    @property
    def time(self) -> float:
        """When it was taken, in seconds since the epoch."""
        return self.snapshot.time

    @property
    def tags(self) -> tuple[str, ...]:
        """The user's tags."""
        return tuple(tag for tag in self.snapshot.tags if not tag.startswith(TAG_PREFIX))

    @property
    def pinned(self) -> bool:
        """Whether it is kept for ever."""
        return any(note.kind is NoteKind.PIN for note in self.notes)

    @property
    def level(self) -> int:
        """The highest level that was reached, when it was made or later; 0 for none."""
        made = 0 if self.details is None else self.details.level
        return max((made, *(note.level for note in self.notes)))

    @property
    def is_good(self) -> bool:
        """It can be read, and promises something about its moment."""
        return self.details is not None and self.details.consistency is not (
            Consistency.NOT_CONSISTENT
        )

    @property
    def snapshot_ids(self) -> tuple[str, ...]:
        """Every snapshot object that goes with it, its notes included."""
        notes = (note.snapshot_id for note in self.notes)
        return (self.snapshot.snapshot_id, *self.copies, *notes)

    def facts(self) -> "BackupFacts":
        """What retention needs to know."""
        from datetime import UTC, datetime  # noqa: PLC0415 - retention alone

        from dfx_backup.repository.retention import (  # noqa: PLC0415 - the same
            BackupFacts,
        )

        return BackupFacts(
            id=self.backup_id,
            time=datetime.fromtimestamp(self.time, tz=UTC),
            network=self.network_id or self.network_name,
            canister=self.canister_id,
            part=_part(self),
            tags=frozenset(self.tags),
            pinned=self.pinned,
            level=self.level,
        )

    def __str__(self) -> str:
        return f"backup {self.backup_id[:8]} of {self.subject}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backups:
    """What a repository holds.

    Attributes:
        all: backups, oldest first.
        strangers: snapshot objects of other programs, oldest first; we leave them alone.
        orphans: notes on backups that are gone.
        damaged: one error for each snapshot object that can't be read.
    """

    all: tuple[Backup, ...]
    strangers: tuple[SnapshotObject, ...] = ()
    orphans: tuple[Note, ...] = ()
    damaged: tuple[DamageError, ...] = ()

    @classmethod
    def read(cls, repository: Repository, *, manifests: bool = True) -> "Backups":
        """Read everything that is small; damage is kept, not raised.

        Args:
            repository: which one.
            manifests: read every backup.json; without them `record` is None throughout.

        Raises:
            DamageError: an index object is damaged.
            StoreError: the store can't be used.
        """
        objects, damaged = _read_objects(repository)
        ours = [each for each in objects if _is_backup(each)]
        records: Iterable[BackupRecord | BackupError | None] = [None] * len(ours)
        if manifests and ours:
            _ = repository.index  # once, before the threads want it
            with ThreadPoolExecutor(_READERS, thread_name_prefix="manifest") as readers:
                records = list(readers.map(lambda each: _record(repository, each), ours))
        notes = [note for each in objects if (note := read_note(each))]
        found = _join(zip(ours, records, strict=True), notes)
        known = {each.backup_id for each in found}
        noted = {note.snapshot_id for note in notes} | {each.snapshot_id for each in ours}
        return cls(
            all=found,
            strangers=tuple(each for each in objects if each.snapshot_id not in noted),
            orphans=tuple(note for note in notes if note.backup_id not in known),
            damaged=tuple(damaged),
        )

    @property
    def canisters(self) -> tuple[tuple[str, CanisterId], ...]:
        """Network (identity, or name when that is not known) and id of every canister."""
        return tuple(sorted({owner(each) for each in self.all}))


def owner(backup: Backup) -> tuple[str, CanisterId]:
    """What backups of the same canister on the same network share."""
    return backup.network_id or backup.network_name, backup.canister_id


def group(backup: Backup) -> tuple[str, CanisterId, str]:
    """What backups share that can take the place of each other: canister, and what of it."""
    return (*owner(backup), _part(backup))


def _part(backup: Backup) -> str:
    """What of the canister it is: nothing for all of it, so that it sorts first."""
    return "" if backup.stream is None else f"{backup.kind}/{backup.stream}"


def backup_meta(
    record: BackupRecord, *, tags: Sequence[str] = (), username: str = ""
) -> BackupMeta:
    """What the snapshot object of a new backup tells: the one place that decides it.

    Args:
        record: its manifest, with details.
        tags: the user's.
        username: who makes it; empty takes that of the machine.

    Raises:
        UsageError: a tag can't be used.
    """
    details = record.backup
    assert details is not None  # a folder alone is no backup
    ours = [kind_tag(details.kind), f"{ID_TAG}{details.backup_id}"]
    if details.set_id is not None:
        ours.append(f"{SET_TAG}{details.set_id}")
    return BackupMeta(
        hostname=details.network_name,
        paths=(backup_path(record),),
        time=details.taken_at_ns / 1e9,
        tags=(*ours, *check_tags(tags)),
        username=username,
        program_version=record.identity.tool,
    )


def check_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """The user's tags, each once.

    Raises:
        UsageError: one can't be used: restic parts tags at commas, and ours begin alike.
    """
    for tag in tags:
        if not tag.strip() or "," in tag or not tag.isprintable() or tag.startswith(TAG_PREFIX):
            raise UsageError(
                f"`{tag}` can't be a tag",
                hint=f"A tag has no comma and does not begin with `{TAG_PREFIX}`.",
            )
    return tuple(dict.fromkeys(tags))


def read_manifest(repository: Repository, tree: Tree, what: str) -> BackupRecord:
    """The manifest in a backup's directory.

    Args:
        repository: where it is.
        tree: the directory.
        what: names the backup, for messages.

    Raises:
        DamageError: it is not there, or not what was written.
        ProjectError: a newer program wrote it.
    """
    data = read_small(repository, tree, BACKUP_NAME, what)
    record = backup_json.from_json(data, Path(f"{BACKUP_NAME} of {what}"))
    if record.backup is None:
        raise DamageError(f"{BACKUP_NAME} of {what} can't be understood: it tells of no backup")
    return record


def read_small(repository: Repository, tree: Tree, name: str, what: str) -> bytes:
    """A small file of a backup.

    Raises:
        DamageError: it is not there, or not what was written.
    """
    node = tree.find(name)
    if node is None or node.content is None or node.size > _LARGEST_MANIFEST:
        raise DamageError(f"{what} has no {name}")
    blobs = [repository.load_blob(BlobKind.DATA, blob_id) for blob_id in node.content]
    data = b"".join(blobs)
    if len(data) != node.size:
        raise DamageError(f"{name} of {what} has {len(data)} bytes where {node.size} belong")
    return data


def _read_objects(repository: Repository) -> tuple[list[SnapshotObject], list[DamageError]]:
    found: list[SnapshotObject] = []
    damaged: list[DamageError] = []
    for snapshot_id, _ in list(list_objects(repository.store, ObjectKind.SNAPSHOT)):
        try:
            found.append(repository.snapshot(snapshot_id))
        except MissingObjectError:
            continue  # forgotten while we listed
        except DamageError as error:
            damaged.append(error)
    return sorted(found, key=lambda each: (each.time, each.snapshot_id)), damaged


def _is_backup(snapshot: SnapshotObject) -> bool:
    return kind_of(snapshot.tags) is not None and len(snapshot.paths) == 1


def _record(repository: Repository, snapshot: SnapshotObject) -> BackupRecord | BackupError:
    what = f"the backup in snapshots/{snapshot.snapshot_id[:8]}"
    try:
        return read_manifest(repository, repository.tree(snapshot.tree), what)
    except StoreError:
        raise
    except (DamageError, ProjectError) as error:
        return error


def _join(
    found: Iterable[tuple[SnapshotObject, BackupRecord | BackupError | None]],
    notes: Sequence[Note],
) -> tuple[Backup, ...]:
    """Backups with their notes; objects with the same id are one backup."""
    backups: dict[str, Backup] = {}
    for snapshot, told in found:
        backup = Backup(
            snapshot=snapshot,
            record=told if isinstance(told, BackupRecord) else None,
            problem=told if isinstance(told, BackupError) else None,
        )
        other = backups.get(backup.backup_id)
        copies = () if other is None else (*other.copies, other.snapshot.snapshot_id)
        backups[backup.backup_id] = Backup(
            snapshot=snapshot,
            record=backup.record,
            problem=backup.problem,
            notes=tuple(note for note in notes if note.backup_id == backup.backup_id),
            copies=copies,
        )
    members: dict[str | None, set[str]] = {}
    for each in backups.values():
        members.setdefault(each.set_id, set()).add(each.canister_id)
    whole = (
        each
        if each.set_id is None or each.details is None
        else replace(each, set_lacks=_lacking(each.details, members[each.set_id]))
        for each in backups.values()
    )
    return tuple(sorted(whole, key=lambda each: (each.time, each.backup_id)))


def _lacking(details: BackupDetails, here: set[str]) -> tuple[str, ...]:
    return tuple(each for each in details.set_canisters if each not in here)
