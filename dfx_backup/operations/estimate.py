"""What snapshots of a canister would cost, from its live status; nothing is touched."""

from dataclasses import dataclass

from dfx_backup.errors import NetworkError
from dfx_backup.model import CanisterRef, CanisterStatus, Network, NetworkId
from dfx_backup.operations import cycles, durations
from dfx_backup.operations.durations import Span
from dfx_backup.operations.plans import CyclesCheck
from dfx_backup.operations.target import Target
from dfx_backup.transfer.terms import DEFAULT_WINDOW

_SECTIONS = 3
"""Module, heap and stable memory: each one's last slice may be a short one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one operation costs.

    Attributes:
        cycles: estimate at most, on the subnet's nodes.
        seconds: how long it takes on mainnet.
        outage: how long the canister is down meanwhile, or None when it keeps running.
        calls: how many calls carry data.
    """

    cycles: int
    seconds: Span
    outage: Span | None = None
    calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the operations on one snapshot of a canister cost.

    Attributes:
        canister: the canister.
        network: the network it lives on.
        network_id: that network's identity.
        driver: the tool and its version.
        status: what the canister told.
        nodes: of the subnet that is assumed.
        size_bytes: at most how big a snapshot is.
        take, load, download, upload: each operation.
        storage_per_month: cycles for 30 days, at the lower and the higher published rate.
        check: whether the balance carries one more snapshot.
        free: the network charges nothing.
    """

    canister: CanisterRef
    network: Network
    network_id: NetworkId
    driver: str
    status: CanisterStatus
    nodes: int
    size_bytes: int
    take: Step
    load: Step
    download: Step
    upload: Step
    storage_per_month: tuple[int, int]
    check: CyclesCheck
    free: bool


def estimate(target: Target, *, nodes: int = cycles.NODES) -> Estimate:
    """Ask for the status and compute.

    Raises:
        NetworkError, ToolError: as the network or the driver tells them; also when the size of the
            canister is not told.
    """
    asked = target.driver if target.direct is None else target.direct.calls
    status = asked.status(target.canister_id)
    size = cycles.snapshot_bytes(status)
    if size is None:
        raise NetworkError(f"{target.driver.describe()} does not tell the memory of {target}")
    calls = durations.slices(size) + _SECTIONS - 1 if size else 0
    take = cycles.take_cost(size)
    outage = durations.take_outage(size)
    load_outage = durations.load_outage(size)
    low, high = cycles.storage_per_month(size)
    return Estimate(
        canister=target.ref,
        network=target.network,
        network_id=target.network_id,
        driver=target.driver.describe(),
        status=status,
        nodes=nodes,
        size_bytes=size,
        take=Step(cycles=cycles.on_nodes(take, nodes), seconds=outage, outage=outage),
        load=Step(
            cycles=cycles.on_nodes(cycles.load_cost(size) + take, nodes),
            seconds=load_outage,
            outage=load_outage,
        ),
        download=Step(
            cycles=cycles.on_nodes(cycles.download_cost(size, calls), nodes),
            seconds=durations.download_time(calls, DEFAULT_WINDOW),
            calls=calls,
        ),
        upload=Step(
            cycles=cycles.on_nodes(cycles.upload_cost(size, sent=size, calls=calls), nodes),
            seconds=durations.upload_time(size, calls, DEFAULT_WINDOW),
            calls=calls,
        ),
        storage_per_month=(cycles.on_nodes(low, nodes), cycles.on_nodes(high, nodes)),
        check=cycles.check(status, added_bytes=size, cost=take),
        free=status.idle_cycles_per_day == 0,
    )
