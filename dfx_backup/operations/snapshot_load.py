"""Make a snapshot the canister's state, keeping the present state in a safety snapshot."""

from dfx_backup.operations.plans import LoadOptions, LoadPlan, LoadResult
from dfx_backup.operations.target import Runtime, Target


def plan_load(run: Runtime, target: Target, options: LoadOptions) -> LoadPlan:
    """Check everything that can be checked while the canister runs, and say what will be lost."""
    raise NotImplementedError


def load(run: Runtime, target: Target, options: LoadOptions) -> LoadResult:
    """Plan again under the canister's lock, then stop, safety snapshot, load, start."""
    raise NotImplementedError
