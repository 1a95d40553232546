"""Controls canisters directly, with calls that we sign ourselves; needs no other program."""

from typing import Protocol

from dfx_backup.drivers.base import BeforeSend, Capabilities, Driver, ignore_sent
from dfx_backup.model import (
    CanisterId,
    CanisterSnapshot,
    CanisterStatus,
    DriverName,
    SnapshotId,
)

EXPIRY_S = 240.0
"""Seconds for which a call that we signed can execute."""


class Management(Protocol):
    """What the driver needs of `ic.management.ManagementCanister`."""

    def status(self, canister: CanisterId) -> CanisterStatus:
        """`canister_status`."""

    def stop(self, canister: CanisterId, *, timeout_s: float, before_send: BeforeSend) -> None:
        """`stop_canister`, with a short expiry."""

    def start(self, canister: CanisterId) -> None:
        """`start_canister`."""

    def list_snapshots(self, canister: CanisterId) -> tuple[CanisterSnapshot, ...]:
        """`list_canister_snapshots`."""

    def take_snapshot(
        self, canister: CanisterId, *, replace: SnapshotId | None, before_send: BeforeSend
    ) -> CanisterSnapshot:
        """`take_canister_snapshot`."""

    def load_snapshot(
        self, canister: CanisterId, snapshot: SnapshotId, *, before_send: BeforeSend
    ) -> None:
        """`load_canister_snapshot`."""

    def delete_snapshot(self, canister: CanisterId, snapshot: SnapshotId) -> None:
        """`delete_canister_snapshot`."""


class AgentDriver(Driver):
    """Passes each call to the management canister; every answer is certified."""

    name = DriverName.AGENT
    capabilities = Capabilities(
        take_running=True, exact_sizes=True, reads_version=True, slowest_expiry_s=EXPIRY_S
    )

    def __init__(self, management: Management) -> None:
        self._management = management

    def describe(self) -> str:
        """The name of the driver: it has no tool."""
        return "the agent driver"

    def status(self, canister: CanisterId) -> CanisterStatus:
        """The status with everything that a backup needs."""
        return self._management.status(canister)

    def stop(
        self, canister: CanisterId, *, timeout_s: float, before_send: BeforeSend = ignore_sent
    ) -> None:
        """Stop the canister."""
        self._management.stop(canister, timeout_s=timeout_s, before_send=before_send)

    def start(self, canister: CanisterId) -> None:
        """Start the canister."""
        self._management.start(canister)

    def list_snapshots(self, canister: CanisterId) -> tuple[CanisterSnapshot, ...]:
        """The snapshots, oldest first whatever the replica's order."""
        told = self._management.list_snapshots(canister)
        return tuple(sorted(told, key=lambda each: (each.taken_at_ns or 0, each.snapshot_id)))

    def take_snapshot(
        self,
        canister: CanisterId,
        *,
        replace: SnapshotId | None = None,
        before_send: BeforeSend = ignore_sent,
    ) -> CanisterSnapshot:
        """Take a snapshot, of a running canister too."""
        return self._management.take_snapshot(canister, replace=replace, before_send=before_send)

    def load_snapshot(
        self,
        canister: CanisterId,
        snapshot: SnapshotId,
        *,
        before_send: BeforeSend = ignore_sent,
    ) -> None:
        """Load the snapshot."""
        self._management.load_snapshot(canister, snapshot, before_send=before_send)

    def delete_snapshot(self, canister: CanisterId, snapshot: SnapshotId) -> None:
        """Delete the snapshot."""
        self._management.delete_snapshot(canister, snapshot)
