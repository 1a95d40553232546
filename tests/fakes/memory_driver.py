"""A driver over a subnet in memory, which can pretend to be as poor as dfx or as rich as agent."""

from dataclasses import replace

from dfx_backup.drivers.base import BeforeSend, Capabilities, Driver, ignore_sent
from dfx_backup.errors import ToolError
from dfx_backup.model import (
    CanisterId,
    CanisterSnapshot,
    CanisterStatus,
    DriverName,
    RunState,
    SnapshotId,
)
from tests.fakes.memory_management import ALICE, MemoryManagement, MemorySubnet

RICH = Capabilities(take_running=True, exact_sizes=True, reads_version=True, slowest_expiry_s=300)
"""What the agent driver can do."""

POOR = Capabilities(
    take_running=False, exact_sizes=False, reads_version=False, slowest_expiry_s=300
)
"""What dfx can do."""


class MemoryDriver(Driver):
    """Controls canisters of a `MemorySubnet` as one principal.

    With `POOR` it refuses to take and load unless stopped, tells no version and rounded times,
    and knows no request ids, as dfx does.
    """

    def __init__(
        self,
        subnet: MemorySubnet,
        *,
        caller: str = ALICE,
        capabilities: Capabilities = RICH,
        name: DriverName | None = None,
    ) -> None:
        self.subnet = subnet
        self.capabilities = capabilities
        rich = capabilities.exact_sizes
        self.name = name or (DriverName.AGENT if rich else DriverName.DFX)
        self.management = MemoryManagement(subnet, caller=caller, signed=rich)

    def describe(self) -> str:
        return "agent (in memory)" if self.name is DriverName.AGENT else f"{self.name} 0.0.0"

    def status(self, canister: CanisterId) -> CanisterStatus:
        told = self.management.status(canister)
        if self.capabilities.reads_version:
            return told
        return replace(told, version=None, snapshots_bytes=None)

    def stop(
        self, canister: CanisterId, *, timeout_s: float, before_send: BeforeSend = ignore_sent
    ) -> None:
        self.management.stop(canister, timeout_s=timeout_s, before_send=before_send)

    def start(self, canister: CanisterId) -> None:
        self.management.start(canister)

    def list_snapshots(self, canister: CanisterId) -> tuple[CanisterSnapshot, ...]:
        return tuple(self._rounded(told) for told in self.management.list_snapshots(canister))

    def take_snapshot(
        self,
        canister: CanisterId,
        *,
        replace: SnapshotId | None = None,
        before_send: BeforeSend = ignore_sent,
    ) -> CanisterSnapshot:
        self._require_stopped(canister)
        return self._rounded(
            self.management.take_snapshot(canister, replace=replace, before_send=before_send)
        )

    def load_snapshot(
        self, canister: CanisterId, snapshot: SnapshotId, *, before_send: BeforeSend = ignore_sent
    ) -> None:
        self._require_stopped(canister)
        self.management.load_snapshot(canister, snapshot, before_send=before_send)

    def delete_snapshot(self, canister: CanisterId, snapshot: SnapshotId) -> None:
        self.management.delete_snapshot(canister, snapshot)

    def _require_stopped(self, canister: CanisterId) -> None:
        target = self.subnet.canisters.get(canister)
        if self.capabilities.take_running or target is None:
            return
        if target.state is not RunState.STOPPED:
            raise ToolError(
                f"Canister {canister} is running and snapshots should not be taken of it"
            )

    def _rounded(self, told: CanisterSnapshot) -> CanisterSnapshot:
        if self.capabilities.exact_sizes:
            return told
        taken_at_ns = told.taken_at_ns
        whole = None if taken_at_ns is None else taken_at_ns // 1_000_000_000 * 1_000_000_000
        return replace(told, taken_at_ns=whole, size_bytes=None)
