"""Delete a native snapshot."""

from dfx_backup.errors import RefusedError, UnknownOutcomeError
from dfx_backup.model import CanisterSnapshot, SnapshotId
from dfx_backup.operations import snapshot_ids
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.journal import Journal
from dfx_backup.operations.ledger import Ledger
from dfx_backup.operations.locks import canister_lock
from dfx_backup.operations.plans import DeletePlan, DeleteResult
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.operations.unfinished import UnfinishedBackups


def plan_delete(run: Runtime, target: Target, snapshot: SnapshotId) -> DeletePlan:
    """Say what deleting the snapshot would lose.

    Raises:
        UsageError: the canister has no such snapshot.
        RefusedError: it belongs to another canister, or a run that is not finished needs it.
        NetworkError, ToolError: as the driver tells them.
    """
    snapshots = target.driver.list_snapshots(target.canister_id)
    found = snapshot_ids.find(snapshot, snapshots, target.canister_id)
    entry = Journal(run.state).read(target.key)
    if entry is not None and found.snapshot_id in {entry.snapshot_id, entry.loading}:
        raise RefusedError(
            f"snapshot {found.snapshot_id} of {target} is part of a run that is not finished",
            hint=f"Run `{run.command('recover', target)}`.",
        )
    lost = f"Snapshot {found.snapshot_id} of {target}; nothing brings it back."
    warnings: tuple[str, ...] = ()
    if len(snapshots) == 1:
        warnings = (f"It is the only snapshot of {target}.",)
    left = UnfinishedBackups(run.state).read(target.key)
    if left is not None and left.snapshot_id == found.snapshot_id:
        told = "A backup of it is not finished, and can't be without it"
        warnings = (*warnings, f"{told}: `{run.command('create', target)}` goes on with that.")
    return DeletePlan(
        canister=target.ref,
        network=target.network,
        network_id=target.network_id,
        driver=target.driver.describe(),
        snapshot=found,
        will_be_lost=(lost,),
        warnings=warnings,
    )


def delete(run: Runtime, target: Target, snapshot: SnapshotId) -> DeleteResult:
    """Plan again under the canister's lock, then delete.

    Raises:
        LockedError: another run holds the canister.
        UsageError, RefusedError, NetworkError, ToolError: as `plan_delete`, or from the call.
    """
    with Interrupts() as interrupts, canister_lock(run, target, purpose="snapshot delete"):
        plan = plan_delete(run, target, snapshot)
        with interrupts.deferred():
            left = delete_one(run, target, plan.snapshot.snapshot_id)
        return DeleteResult(plan=plan, left=left)


def delete_one(run: Runtime, target: Target, snapshot: SnapshotId) -> tuple[CanisterSnapshot, ...]:
    """Delete, and look at the list when the answer is lost.

    Returns:
        The snapshots that are left.

    Raises:
        UnknownOutcomeError: it is still there, and may go or not.
        NetworkError, ToolError: as the driver tells them.
    """
    try:
        target.driver.delete_snapshot(target.canister_id, snapshot)
    except UnknownOutcomeError:
        left = target.driver.list_snapshots(target.canister_id)
        if any(known.snapshot_id == snapshot for known in left):
            raise
        Ledger(run.state, target.key).drop(snapshot)
        return left
    Ledger(run.state, target.key).drop(snapshot)
    return target.driver.list_snapshots(target.canister_id)
