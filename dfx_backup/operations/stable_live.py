"""A backup of a stream beside what its canister holds now."""

from dfx_backup.operations.backup_verify import LiveComparison, LiveDifference
from dfx_backup.operations.backups import Backup
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.stable_repository import BackupCopy
from dfx_backup.operations.stable_verify import compare
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.repository.reading import reading
from dfx_backup.repository.repository import Repository
from dfx_backup.transfer.terms import TransferProgress


def compare_stream(
    run: Runtime,
    repository: Repository,
    backup: Backup,
    target: Target,
    progress: TransferProgress,
) -> LiveComparison:
    """Compare the hashes of all chunks with those that the canister has now.

    Raises:
        RefusedError: the target is another canister, or on another network.
        UsageError: the methods of the backup tell no hashes.
        DamageError: the backup can't be read.
        BackupError: as asking the canister tells it.
    """
    with reading(repository, run.progress):
        sidecar = BackupCopy.read(repository, backup).sidecar
    with Interrupts() as interrupts, interrupts.deferred():
        found = compare(run, interrupts, target, sidecar, progress)
    if found.same:
        return LiveComparison(backup=backup, differences=(), unknown=())
    then, now = f"{sidecar.hashes.size} bytes", f"{found.size} bytes"
    difference = LiveDifference(
        what=f"stream {sidecar.identity.stream}",
        then=then,
        now=f"{now}, with {found.differing} of its chunks changed",
    )
    return LiveComparison(backup=backup, differences=(difference,), unknown=())
