"""Delete a native snapshot."""

from dfx_backup.model import SnapshotId
from dfx_backup.operations.plans import DeletePlan, DeleteResult
from dfx_backup.operations.target import Runtime, Target


def plan_delete(run: Runtime, target: Target, snapshot: SnapshotId) -> DeletePlan:
    """Say what deleting the snapshot would lose; an unknown id is a `UsageError`."""
    raise NotImplementedError


def delete(run: Runtime, target: Target, snapshot: SnapshotId) -> DeleteResult:
    """Plan again under the canister's lock, then delete."""
    raise NotImplementedError
