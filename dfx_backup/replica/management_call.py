"""One call of the management canister, as its methods see it, and the history they write."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from dfx_backup.replica.management_access import not_found, refuse
from dfx_backup.replica.principal import to_text
from dfx_backup.replica.state import (
    GIB,
    STORAGE_FEE_PER_GIB_SECOND,
    CanisterState,
    Change,
    Settings,
)

if TYPE_CHECKING:
    from dfx_backup.replica.replica import Replica

# Memory of a whole subnet (resource limits of the Internet Computer).
SUBNET_MEMORY: Final = 2 << 40


# What one `read_canister_snapshot_data` may ask for.
MAX_SLICE: Final = 2_000_000


class _Later:
    """Stands for a result that is given to the responder another time."""


LATER: Final = _Later()


@dataclass(slots=True, kw_only=True)
class Call:
    """A decoded call.

    Attributes:
        caller: principal of the user or canister.
        args: the argument record; empty for methods without one.
        cycles: attached and not yet accepted; what is left goes back to the caller.
        respond: the caller's responder, for answers that come later.
        random_bytes: gives that many random bytes.
        scratch: room for a slice of a snapshot; its content is encoded before the next call.
    """

    replica: "Replica"
    caller: bytes
    method: str
    args: dict[str, Any]
    cycles: int
    respond: Any
    random_bytes: Callable[[int], bytes]
    scratch: memoryview

    @classmethod
    def without_message(
        cls, replica: "Replica", caller: bytes, method: str, args: dict[str, Any]
    ) -> "Call":
        """A call that nobody sent in Candid, and that nobody waits for."""
        return cls(
            replica=replica,
            caller=caller,
            method=method,
            args=args,
            cycles=0,
            respond=None,
            random_bytes=secrets.token_bytes,
            scratch=memoryview(b""),
        )

    def canister(self, field: str = "canister_id") -> CanisterState:
        """Give the canister that a field of the argument names.

        Raises:
            Reject: IC0301, there is none.
        """
        return find_canister(self.replica, self.args[field])

    def record(self, canister: CanisterState, kind: str, details: dict[str, object]) -> None:
        """Add an entry to a canister's history, with the version that it has now."""
        by_canister = self.caller in self.replica.canisters
        canister.history.append(
            Change(
                timestamp=self.replica.now_ns(),
                canister_version=canister.version,
                origin=self.caller,
                origin_is_canister=by_canister,
                origin_version=self.args.get("sender_canister_version") if by_canister else None,
                kind=kind,
                details=details,
            )
        )
        canister.total_changes += 1


# A method's work: gives the values of its reply, or LATER.
Handler: TypeAlias = Callable[[Call], tuple[object, ...] | _Later]


def find_canister(replica: "Replica", canister_id: bytes) -> CanisterState:
    """Give a canister by id.

    Raises:
        Reject: IC0301, there is none.
    """
    found = replica.canisters.get(canister_id)
    if found is None:
        raise not_found(canister_id)
    return found


def environment_hash(variables: tuple[tuple[str, str], ...]) -> bytes:
    """Hash environment variables for the history, whatever their order."""
    pairs = sorted(
        hashlib.sha256(name.encode()).digest() + hashlib.sha256(value.encode()).digest()
        for name, value in variables
    )
    return hashlib.sha256(b"".join(pairs)).digest()


def check_growth(replica: "Replica", canister: CanisterState, extra: int) -> None:
    """Refuse memory that the subnet does not have or the canister could not pay for.

    The balance must stay above the freezing limit at the new memory usage (interface specification,
    "Memory allocation"). Memory within the canister's allocation is paid for already.

    Args:
        replica: for what the other canisters use.
        canister: whose memory grows.
        extra: bytes, may be negative.

    Raises:
        Reject: IC0101 or IC0532.
    """
    settings = canister.settings
    missing = _missing_cycles(replica, canister, settings, canister.memory_usage + extra)
    if missing > 0:
        raise refuse(
            532,
            f"Canister {to_text(canister.canister_id)} cannot grow memory by {extra} bytes due to "
            f"insufficient cycles. At least {missing} additional cycles are required.",
        )


def check_allocation(replica: "Replica", canister: CanisterState, settings: Settings) -> None:
    """Refuse settings whose memory allocation can't be had or paid for.

    Raises:
        Reject: IC0101 or IC0531.
    """
    missing = _missing_cycles(replica, canister, settings, canister.memory_usage)
    if missing > 0:
        raise refuse(
            531,
            f"Cannot increase memory allocation of canister {to_text(canister.canister_id)} to "
            f"{settings.memory_allocation} bytes due to insufficient cycles. At least {missing} "
            "additional cycles are required.",
        )


def _missing_cycles(
    replica: "Replica", canister: CanisterState, settings: Settings, usage: int
) -> int:
    """Cycles without which the canister would be frozen; 0 when its memory does not grow."""
    before = max(canister.memory_usage, canister.settings.memory_allocation)
    after = max(usage, settings.memory_allocation)
    if after <= before:
        return 0
    used = sum(
        max(each.memory_usage, each.settings.memory_allocation)
        for each in replica.canisters.values()
    )
    if used + after - before > SUBNET_MEMORY:
        raise refuse(
            101,
            f"Canister requested {after - before} B of memory but only "
            f"{max(0, SUBNET_MEMORY - used)} B are available in the subnet.",
        )
    limit = after * STORAGE_FEE_PER_GIB_SECOND * settings.freezing_threshold // GIB
    return max(0, limit - canister.cycles)
