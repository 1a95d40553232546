"""What operations on snapshots cost, and whether a balance carries them.

`docs/estimates.md` explains every formula here, with its source, and is tested against them. All
amounts are for a subnet of 13 nodes unless they went through `on_nodes`. Two storage rates are
published, 127,000 and 317,500 cycles per GiB and second; where one is needed, the higher one is
taken.
"""

from dfx_backup.model import CanisterStatus
from dfx_backup.operations.plans import CyclesCheck

GIB = 1024**3
NODES = 13
"""Nodes of the subnet for which prices are published."""
STORAGE_RATES = (127_000, 317_500)
"""Published cycles per GiB and second on 13 nodes."""
ENVELOPE_BYTES = 480
"""Bytes of a signed call on a snapshot beside the data that it carries (a secp256k1 key's)."""
CHUNK_BYTES = 1024**2
"""What a chunk of the Wasm chunk store is charged as, whatever its size."""

_DAY_S = 86_400
_MONTH_DAYS = 30
_MESSAGE = 5_000_000
_SNAPSHOT = 2_000_000_000
_READ = 5_000_000
_INGRESS = 1_200_000
_INGRESS_BYTE = 2_000


def execution(instructions: int, *, wasm64: bool = False) -> int:
    """Cycles for one message of so many instructions; in a wasm64 module each costs double."""
    return _MESSAGE + instructions * (2 if wasm64 else 1)


def ingress(data: int = 0) -> int:
    """Cycles for sending one call with so many bytes of data; the canister pays it."""
    return _INGRESS + _INGRESS_BYTE * (ENVELOPE_BYTES + data)


def take_cost(size: int) -> int:
    """Cycles for taking a snapshot of `size` bytes."""
    return execution(_SNAPSHOT + size) + ingress()


def load_cost(size: int, *, wasm64: bool = True) -> int:
    """Cycles for loading a snapshot of `size` bytes, without compiling its module."""
    return execution(_SNAPSHOT) + execution(size, wasm64=wasm64) + ingress()


def download_cost(size: int, calls: int) -> int:
    """Cycles for reading `size` bytes of a snapshot, and its metadata, in so many calls."""
    return calls * (execution(_READ) + ingress()) + size + ingress()


def upload_cost(size: int, *, sent: int, calls: int, chunks: int = 0) -> int:
    """Cycles for a new snapshot.

    Args:
        size: bytes that it is charged for, zeros included.
        sent: bytes that are sent.
        calls: in how many calls they are sent, chunks included.
        chunks: how many of these carry a chunk of the Wasm chunk store.
    """
    metadata = execution(_SNAPSHOT + size) + ingress()
    written = sent + chunks * CHUNK_BYTES
    return metadata + calls * (execution(0) + ingress()) + written + _INGRESS_BYTE * sent


def storage_per_day(size: int) -> tuple[int, int]:
    """Cycles a day for keeping `size` bytes, at the lower and the higher published rate."""
    low, high = (rate * size * _DAY_S // GIB for rate in STORAGE_RATES)
    return low, high


def storage_per_month(size: int) -> tuple[int, int]:
    """Cycles for keeping `size` bytes for 30 days, at the lower and the higher published rate."""
    low, high = (rate * size * _DAY_S * _MONTH_DAYS // GIB for rate in STORAGE_RATES)
    return low, high


def on_nodes(cost: int, nodes: int) -> int:
    """What a cost on 13 nodes is on a subnet of another size."""
    return cost * nodes // NODES


def snapshot_bytes(status: CanisterStatus) -> int | None:
    """At most how big a snapshot of the canister is, or None: memory without other snapshots."""
    if status.memory_bytes is None:
        return None
    return max(0, status.memory_bytes - (status.snapshots_bytes or 0))


def check(status: CanisterStatus, *, added_bytes: int | None, cost: int | None) -> CyclesCheck:
    """Compare the balance with what freezes the canister at its new memory usage.

    Args:
        status: what the canister has and burns now.
        added_bytes: memory that comes on top, or None when it is not known.
        cost: cycles that the operation spends, or None when it is not known.
    """
    balance = status.cycles
    idle, threshold_s = status.idle_cycles_per_day, status.freezing_threshold_s
    if balance is None or idle is None or threshold_s is None or added_bytes is None:
        return CyclesCheck(
            balance=balance,
            cost=cost,
            required=None,
            unknown="the balance, the memory or the freezing threshold is not told",
        )
    if idle == 0:
        return CyclesCheck(balance=balance, cost=0, required=0, storage_per_day=0)
    storage = storage_per_day(added_bytes)[1]
    required = (idle + storage) * threshold_s // _DAY_S - (status.reserved_cycles or 0)
    required = max(0, required)
    spent = cost or 0
    return CyclesCheck(
        balance=balance,
        cost=cost,
        required=required,
        top_up=max(0, required + spent - balance),
        storage_per_day=storage,
    )


def days_until_frozen(status: CanisterStatus) -> int | None:
    """Whole days until the balance is below the freezing threshold, when nothing happens.

    None when it burns nothing, or when the tool that was asked does not tell.
    """
    balance, idle, threshold_s = (
        status.cycles,
        status.idle_cycles_per_day,
        status.freezing_threshold_s,
    )
    if balance is None or threshold_s is None or not idle:
        return None
    kept = max(0, idle * threshold_s // _DAY_S - (status.reserved_cycles or 0))
    return max(0, balance - kept) // idle
