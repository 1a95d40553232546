"""Will the balance carry one more snapshot? A frozen canister rejects even `start` (IC0207).

The replica freezes a canister whose balance falls below

    threshold = (burn per second at its memory usage) x (freezing threshold in seconds) - reserved

and a snapshot adds its bytes to the memory usage. So before anything is stopped:

    burn'     = idle burn per day + bytes x higher storage rate x 86,400 / GiB
    required  = burn' x freezing threshold / 86,400 - reserved cycles
    refused   when  balance - cost of the call < required

The burn now is asked for, not computed, so that allocations and the subnet's size are in it. What
comes on top uses the higher of the two published storage rates: 127,000 cycles per GiB and second
(documented) and 317,500 (configured by replicas of 2026), both for 13 nodes. A canister that burns
nothing now lives on a subnet without charges.
"""

from dfx_backup.model import CanisterStatus
from dfx_backup.operations.plans import CyclesCheck

GIB = 1024**3
STORAGE_RATES = (127_000, 317_500)
"""Published cycles per GiB and second on 13 nodes."""

_DAY_S = 86_400
_CALL_BASE = 5_000_000
_SNAPSHOT_BASE = 2_000_000_000
_INGRESS = 2_000_000
"""About what sending the call costs: 1.2 M, and 2,000 for each byte of a small envelope."""


def snapshot_bytes(status: CanisterStatus) -> int | None:
    """At most how big a snapshot of the canister is, or None: memory without other snapshots."""
    if status.memory_bytes is None:
        return None
    return max(0, status.memory_bytes - (status.snapshots_bytes or 0))


def take_cost(size: int) -> int:
    """Cycles for taking a snapshot of `size` bytes on 13 nodes, at the higher wasm64 rate."""
    return _CALL_BASE + 2 * (_SNAPSHOT_BASE + size) + _INGRESS


def load_cost(size: int) -> int:
    """Cycles for loading a snapshot of `size` bytes on 13 nodes, without compiling the module."""
    return _CALL_BASE + 2 * (_SNAPSHOT_BASE + size) + _INGRESS


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
    storage = max(STORAGE_RATES) * added_bytes * _DAY_S // GIB
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
