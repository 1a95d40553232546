"""Bring a snapshot's folder into the repository: one that dfx, icp, Juno or this program made."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dfx_backup.errors import DamageError, RefusedError, UsageError
from dfx_backup.ic.root_keys import MAINNET_ROOT_KEY, network_id
from dfx_backup.model import CanisterId, Consistency, NetworkId, SnapshotId
from dfx_backup.operations.backup_files import commit_backup, is_ours_only, write_folder
from dfx_backup.operations.backups import Backups, check_tags
from dfx_backup.operations.stable_folder import import_stream_folder, stream_record
from dfx_backup.progress import Progress
from dfx_backup.repository.repository import Repository
from dfx_backup.transfer.backup_details import BackupDetails
from dfx_backup.transfer.backup_json import BackupRecord
from dfx_backup.transfer.folder import Contents, open_folder
from dfx_backup.transfer.terms import BackupIdentity, FolderKind

BACKUP_ID_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose snapshot a folder holds, as the user says.

    Attributes:
        canister_id: the canister.
        canister_name: its name in the project, or None.
        network_name: its network.
        network_id: that network's identity.
    """

    canister_id: CanisterId
    canister_name: str | None
    network_name: str
    network_id: NetworkId


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What is imported.

    Attributes:
        folder: where it lies.
        owner: whose it is, or None when the folder tells.
        tags: the user's tags.
        tool: name and version of this program.
    """

    folder: Path
    owner: Owner | None
    tags: tuple[str, ...]
    tool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What was imported.

    Attributes:
        record: the new backup's manifest.
        kind: who made the folder.
        restic_id: id of the snapshot object.
        warnings: what is not known of it, full sentences.
    """

    record: BackupRecord
    kind: FolderKind
    restic_id: str
    warnings: tuple[str, ...]


def import_folder(
    repository: Repository, options: ImportOptions, *, progress: Progress
) -> ImportResult:
    """Make a backup out of a folder; what the repository has already is not stored again.

    Raises:
        UsageError: nothing tells whose snapshot it is, or a tag can't be used.
        RefusedError: it is another canister's, or is in the repository already.
        DamageError: it is not whole.
        ProjectError: it can't be read.
        LockedError: somebody works on the repository alone.
        StoreError: the repository can't be written.
    """
    tags = check_tags(options.tags)
    stream = stream_record(options.folder)
    if stream is not None:
        return _import_stream(repository, stream, options, progress)
    contents = open_folder(options.folder)
    if contents.problems or contents.metadata is None:
        raise DamageError(
            f"{options.folder} can't be imported: {' '.join(contents.problems)}",
            hint="`snapshot verify --dir` tells what is wrong with a folder.",
        )
    identity = _identity(contents, options, now=repository.machine.clock())
    details = _details(contents, identity, options, repository.machine.random)
    _refuse_known(repository, details.backup_id)
    progress.step(f"importing {options.folder}")
    with repository.writer(progress=progress) as writer:
        files, text = write_folder(writer, contents, contents.metadata)
        record = BackupRecord(
            identity=identity,
            files=files,
            globals=contents.metadata.globals,
            backup=details,
            extra={} if contents.record is None else contents.record.extra,
        )
        record, commit = commit_backup(writer, record, text, tags=tags)
    return ImportResult(
        record=record,
        kind=contents.kind,
        restic_id=commit.snapshot_id,
        warnings=_warnings(contents, details),
    )


def _import_stream(
    repository: Repository, stream: BackupRecord, options: ImportOptions, progress: Progress
) -> ImportResult:
    """As `import_folder`, of a backup of a stream."""
    _refuse_other(stream.identity, options)
    assert stream.backup is not None  # or it would be no backup
    _refuse_known(repository, stream.backup.backup_id)
    progress.step(f"importing {options.folder}")
    record, commit = import_stream_folder(repository, stream, options)
    return ImportResult(
        record=record, kind=FolderKind.OURS, restic_id=commit.snapshot_id, warnings=()
    )


def _identity(contents: Contents, options: ImportOptions, *, now: float) -> BackupIdentity:
    """Whose snapshot it is; the folder's word and the user's must agree."""
    owner = options.owner
    if contents.record is None:
        if owner is None:
            raise UsageError(
                f"{options.folder} does not tell whose snapshot it holds",
                hint="Name the canister with `--canister`.",
            )
        return BackupIdentity(
            canister_id=owner.canister_id,
            snapshot_id=SnapshotId(""),
            network_id=owner.network_id,
            tool=options.tool,
            created_at=now,
        )
    told = contents.record.identity
    _refuse_other(told, options)
    return replace(told, tool=options.tool)


def _refuse_other(told: BackupIdentity, options: ImportOptions) -> None:
    """Refuse a folder of another canister than the one that was named.

    Raises:
        RefusedError: it is.
    """
    owner = options.owner
    if owner is not None and (told.canister_id, told.network_id) != (
        owner.canister_id,
        owner.network_id,
    ):
        raise RefusedError(
            f"{options.folder} holds a snapshot of canister {told.canister_id} on network"
            f" {told.network_id[:16]}, not of {owner.canister_id} on {owner.network_name}",
            hint="Leave `--canister` out: the folder tells whose it is.",
        )


def _details(
    contents: Contents,
    identity: BackupIdentity,
    options: ImportOptions,
    random: Callable[[int], bytes],
) -> BackupDetails:
    record, metadata, owner = contents.record, contents.metadata, options.owner
    assert metadata is not None  # or it would not be imported
    if record is not None and record.backup is not None:
        return record.backup
    return BackupDetails(
        backup_id=random(BACKUP_ID_BYTES).hex(),
        network_name=_network_name(identity.network_id) if owner is None else owner.network_name,
        taken_at_ns=metadata.taken_at_ns,
        consistency=Consistency.UNVERIFIED,
        canister_name=None if owner is None else owner.canister_name,
        canister_version=metadata.canister_version,
        level=0 if record is None else 1,
        ours_only=is_ours_only(metadata),
    )


def _network_name(identity: NetworkId) -> str:
    return "ic" if identity == network_id(MAINNET_ROOT_KEY) else f"network-{identity[:8]}"


def _refuse_known(repository: Repository, backup_id: str) -> None:
    known = {each.backup_id for each in Backups.read(repository, manifests=False).all}
    if backup_id in known:
        raise RefusedError(f"backup {backup_id} is in the repository already")


def _warnings(contents: Contents, details: BackupDetails) -> tuple[str, ...]:
    found = []
    if contents.record is None:
        found.append(
            f"The folder was made by {contents.kind.value}, which records no hashes: whether it"
            " is what was once downloaded can't be told."
        )
    if details.settings is None:
        found.append("The folder holds no settings, controllers and cycles: nor does the backup.")
    if None in (contents.metadata.globals if contents.metadata else ()):
        found.append("A global of the canister can't be told exactly: it can't be uploaded again.")
    return tuple(found)
