"""List a canister's native snapshots."""

from dfx_backup.operations.plans import ListResult
from dfx_backup.operations.target import Runtime, Target


def list_snapshots(run: Runtime, target: Target) -> ListResult:
    """The canister's snapshots, oldest first, and which of them are recorded as ours."""
    raise NotImplementedError
