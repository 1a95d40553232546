"""What of a canister's memory can be read through its own methods."""

from dfx_backup.operations import stable_source
from dfx_backup.operations.stable_plans import Methods, StableInfoResult
from dfx_backup.operations.target import Target


def info(target: Target, methods: Methods) -> StableInfoResult:
    """Ask the canister; the answer is certified.

    Raises:
        UsageError: the identity's key can't be read.
        EndpointError: the canister has no such methods, or we may not call them.
        NetworkError: as the network tells it.
    """
    return StableInfoResult(
        canister=target.ref,
        network=target.network,
        network_id=target.network_id,
        driver=target.driver.describe(),
        protocol=methods.protocol,
        info=stable_source.reader(target, methods).info(),
    )
