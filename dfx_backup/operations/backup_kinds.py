"""What was backed up: a canister's whole snapshot, or one stream of its memory."""

from collections.abc import Sequence
from urllib.parse import quote, unquote

from dfx_backup.errors import UsageError
from dfx_backup.model import CanisterId
from dfx_backup.operations.backup_notes import TAG_PREFIX
from dfx_backup.repository.snapshots import SnapshotObject
from dfx_backup.transfer.backup_details import KIND_SNAPSHOT, KIND_STABLE
from dfx_backup.transfer.backup_json import BackupRecord

KINDS = (KIND_SNAPSHOT, KIND_STABLE)


def kind_tag(kind: str) -> str:
    """The tag that tells a backup's kind to whoever has not its manifest."""
    return f"{TAG_PREFIX}{kind}"


def kind_of(tags: Sequence[str]) -> str | None:
    """The kind that tags tell; None when they are no backup's."""
    return next((each for each in KINDS if kind_tag(each) in tags), None)


def backup_path(record: BackupRecord) -> str:
    """The path in the snapshot object: restic groups by it, so each stream has its own.

    Raises:
        UsageError: the manifest is of a kind that this program does not know.
    """
    details, canister = record.backup, record.identity.canister_id
    assert details is not None  # a folder alone is no backup
    if details.kind not in KINDS:
        raise UsageError(f"backups of kind `{details.kind}` are unknown to this version")
    if details.stable is None:
        return f"/{canister}"
    return f"/{canister}/{KIND_STABLE}/{quote(details.stable.stream, safe='')}"


def path_of(snapshot: SnapshotObject) -> tuple[CanisterId, str | None]:
    """The canister, and the stream of a backup of kind `stable`, as the path tells them."""
    canister, _, rest = snapshot.paths[0].removeprefix("/").partition("/")
    kind, _, stream = rest.partition("/")
    return CanisterId(canister), unquote(stream) if kind == KIND_STABLE else None
