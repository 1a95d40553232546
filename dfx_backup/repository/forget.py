"""Forget: remove snapshot objects. What only they needed goes with the next prune."""

from collections.abc import Iterable
from dataclasses import dataclass

from dfx_backup.errors import RefusedError
from dfx_backup.progress import Progress
from dfx_backup.repository.layout import ObjectKind, list_objects, object_name
from dfx_backup.repository.locks import RepositoryLock
from dfx_backup.repository.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetReport:
    """What was forgotten.

    Attributes:
        removed: ids of the snapshot objects, in the order of their removal.
        absent: ids that were asked for and were not there any more.
    """

    removed: tuple[str, ...]
    absent: tuple[str, ...]


def forget(
    repository: Repository,
    snapshot_ids: Iterable[str],
    *,
    progress: Progress | None = None,
    wait_s: float = 0.0,
    lock: RepositoryLock | None = None,
) -> ForgetReport:
    """Remove snapshot objects.

    The caller who decides by what there is takes the lock first, reads the snapshots, and passes
    the lock on: of two who forget at the same time, each might leave what the other removes.

    Args:
        repository: an open one.
        snapshot_ids: full hexadecimal ids; in this order they go, so a note about a backup is best
            named before the backup.
        progress: hears of stale locks that are removed.
        wait_s: seconds to wait for others.
        lock: an exclusive lock that the caller holds; None takes one.

    Raises:
        LockedError: somebody else works on the repository, or our lock was lost.
        RefusedError: an id is not whole.
        StoreError: the store failed; run it again.
    """
    wanted = list(dict.fromkeys(snapshot_ids))
    for each in wanted:
        if len(each) != 64:
            raise RefusedError(f"`{each}` is no whole id of a snapshot object")
    if lock is None:
        with repository.lock(exclusive=True, progress=progress, wait_s=wait_s) as own:
            return _forget(repository, wanted, own)
    return _forget(repository, wanted, lock)


def _forget(repository: Repository, wanted: list[str], lock: RepositoryLock) -> ForgetReport:
    lock.ensure()
    there = {each for each, _ in list_objects(repository.store, ObjectKind.SNAPSHOT)}
    removed = []
    for snapshot_id in wanted:
        if snapshot_id in there:
            repository.store.delete(object_name(ObjectKind.SNAPSHOT, snapshot_id))
            removed.append(snapshot_id)
    return ForgetReport(
        removed=tuple(removed), absent=tuple(each for each in wanted if each not in there)
    )
