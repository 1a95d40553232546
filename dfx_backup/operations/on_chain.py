"""Snapshots of ours that stay on the subnet after their backup: how many, and room for a new one.

Only snapshots that the ledger records as taken for a backup are ever replaced or deleted here.
"""

from collections.abc import Sequence

from dfx_backup.errors import BackupError, RefusedError
from dfx_backup.model import MAX_SNAPSHOTS, CanisterSnapshot, SnapshotId
from dfx_backup.operations.backups import Backups
from dfx_backup.operations.ledger import BACKUP, Ledger
from dfx_backup.operations.snapshot_delete import delete_one
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.repository.repository import Repository


def ours(
    run: Runtime, target: Target, listed: Sequence[CanisterSnapshot]
) -> tuple[SnapshotId, ...]:
    """The snapshots that were taken for backups and still exist, oldest first."""
    there = {each.snapshot_id for each in listed}
    known = Ledger(run.state, target.key).read()
    return tuple(
        own.snapshot_id for own in known if own.purpose == BACKUP and own.snapshot_id in there
    )


def surplus(snapshots: Sequence[SnapshotId], keep: int) -> tuple[SnapshotId, ...]:
    """All but the newest `keep`."""
    return tuple(snapshots[: max(0, len(snapshots) - keep)])


def make_room(
    run: Runtime,
    target: Target,
    listed: Sequence[CanisterSnapshot],
    repository: Repository,
    *,
    wanted: SnapshotId | None = None,
) -> SnapshotId | None:
    """The snapshot that a new one has to replace; None when a slot is free.

    Args:
        run: the surroundings.
        target: the canister.
        listed: its snapshots.
        repository: where the backup of a snapshot must be before that may go.
        wanted: one that an unfinished backup needs.

    Raises:
        RefusedError: no slot is free, and none of ours is safe to lose.
        DamageError, StoreError: the repository can't be read.
    """
    if len(listed) < MAX_SNAPSHOTS:
        return None
    stored = {
        each.record.identity.snapshot_id
        for each in Backups.read(repository).all
        if each.record is not None
        and each.canister_id == target.canister_id
        and each.network_id == target.network_id
    }
    for snapshot in ours(run, target, listed):
        if snapshot in stored and snapshot != wanted:
            return snapshot
    raise RefusedError(
        f"canister {target} has {len(listed)} snapshots, {MAX_SNAPSHOTS} is the limit, and none"
        " of them is one of ours whose backup is in the repository",
        hint=f"look at them with `{run.command('snapshot list', target)}` and delete one with"
        " `snapshot delete`",
    )


def delete_all(
    run: Runtime, target: Target, snapshots: Sequence[SnapshotId]
) -> tuple[tuple[SnapshotId, ...], tuple[str, ...]]:
    """Delete snapshots of ours; a failure is only told.

    Returns:
        What was deleted, and one sentence for each that could not be.
    """
    deleted: list[SnapshotId] = []
    troubles: list[str] = []
    for snapshot in snapshots:
        try:
            delete_one(run, target, snapshot)
        except BackupError as error:
            troubles.append(
                f"Snapshot {snapshot} of {target}, which is not needed any more, could not be"
                f" deleted: {error.message}."
            )
        else:
            deleted.append(snapshot)
            run.progress.step(f"{target}: deleted snapshot {snapshot}, which is not needed")
    return tuple(deleted), tuple(troubles)
