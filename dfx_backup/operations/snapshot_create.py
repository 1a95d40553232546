"""Take a native snapshot of a canister, with a guarded outage."""

from dfx_backup.operations.plans import CreateOptions, CreatePlan, CreateResult
from dfx_backup.operations.target import Runtime, Target


def plan_create(run: Runtime, target: Target, options: CreateOptions) -> CreatePlan:
    """Check everything that can be checked while the canister runs, and say what will be done."""
    raise NotImplementedError


def create(run: Runtime, target: Target, options: CreateOptions) -> CreateResult:
    """Plan again under the canister's lock, then stop, take, start."""
    raise NotImplementedError
