"""What of a canister's memory can be read: through its own methods, and through a snapshot."""

from dfx_backup.errors import EndpointError, RejectError
from dfx_backup.ic.stable_endpoints import EndpointsInfo
from dfx_backup.operations import cycles, stable_source
from dfx_backup.operations.durations import take_outage
from dfx_backup.operations.stable_costs import read_calls
from dfx_backup.operations.stable_held import require_direct
from dfx_backup.operations.stable_plans import Methods, SnapshotWay, StableInfoResult
from dfx_backup.operations.target import Target

_MISSING = "missing"


def info(
    target: Target, methods: Methods, *, endpoints: bool = True, snapshot: bool = True
) -> StableInfoResult:
    """Ask the canister, and the network; the answers are certified.

    Args:
        target: the canister.
        methods: which methods.
        endpoints: ask for what the methods offer.
        snapshot: ask for what a snapshot offers; then a canister without methods is no error.

    Raises:
        UsageError: the identity's key can't be read.
        EndpointError: the canister has no such methods, or we may not call them.
        NetworkError: as the network tells it.
    """
    way = _snapshot_way(target) if snapshot else None
    return StableInfoResult(
        canister=target.ref,
        network=target.network,
        network_id=target.network_id,
        driver=target.driver.describe(),
        protocol=methods.protocol,
        info=_offered(target, methods, way) if endpoints else None,
        snapshot=way,
    )


def _offered(target: Target, methods: Methods, way: SnapshotWay | None) -> EndpointsInfo | None:
    try:
        return stable_source.reader(target, methods).info()
    except EndpointError as error:
        if error.case != _MISSING or way is None:
            raise
        return None


def _snapshot_way(target: Target) -> SnapshotWay | None:
    """What we may see of it: a viewer lists snapshots, a controller the status as well."""
    calls = require_direct(target).calls
    try:
        snapshots = calls.list_snapshots(target.canister_id)
    except RejectError:
        return None
    try:
        status = calls.full_status(target.canister_id).status
    except RejectError:
        return SnapshotWay(size=None, outage=None, snapshots=snapshots, cycles=None)
    whole = cycles.snapshot_bytes(status)
    size = status.stable_bytes
    return SnapshotWay(
        size=size,
        outage=None if whole is None or status.module_hash is None else take_outage(whole),
        snapshots=snapshots,
        cycles=None if size is None else cycles.download_cost(size, read_calls(size)),
    )
