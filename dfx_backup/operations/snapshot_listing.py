"""List a canister's native snapshots."""

from dfx_backup.model import MAX_SNAPSHOTS
from dfx_backup.operations.ledger import Ledger
from dfx_backup.operations.plans import ListedSnapshot, ListResult
from dfx_backup.operations.target import Runtime, Target


def list_snapshots(run: Runtime, target: Target) -> ListResult:
    """The canister's snapshots, oldest first, and which of them are recorded as ours.

    Raises:
        NetworkError, ToolError: as the driver tells them.
        DamageError, ProjectError: the record of our own snapshots can't be read.
    """
    snapshots = target.driver.list_snapshots(target.canister_id)
    ours = {own.snapshot_id: own.purpose for own in Ledger(run.state, target.key).read()}
    return ListResult(
        canister=target.ref,
        network=target.network,
        network_id=target.network_id,
        driver=target.driver.describe(),
        snapshots=tuple(
            ListedSnapshot(snapshot=snapshot, purpose=ours.get(snapshot.snapshot_id))
            for snapshot in snapshots
        ),
        free_slots=max(0, MAX_SNAPSHOTS - len(snapshots)),
    )
