"""The contract of every driver. `tests/contract/driver_suite.py` is run by each of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from dfx_backup.model import (
    CanisterId,
    CanisterSnapshot,
    CanisterStatus,
    DriverName,
    SentCall,
    SnapshotId,
)

BeforeSend = Callable[[SentCall], None]
"""Called with what must be journaled, right before a call leaves; raising keeps it back."""


def ignore_sent(_call: SentCall) -> None:
    """A `BeforeSend` for callers that keep no journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a driver can do beyond the contract's common ground.

    Attributes:
        take_running: it can take a snapshot of a running canister.
        exact_sizes: `list_snapshots` tells bytes and nanoseconds, not rounded text.
        reads_version: `status` tells `canister_version`.
        slowest_expiry_s: seconds for which a call that it sent can still execute.
    """

    take_running: bool
    exact_sizes: bool
    reads_version: bool
    slowest_expiry_s: float


class Driver(ABC):
    """Controls canisters of one network as one identity.

    Methods raise `RejectError` when the replica refused, `UnknownOutcomeError` when a call was
    sent and its outcome is not known, `ToolError` when a program failed for another reason, and
    another `NetworkError` when nothing was sent. Methods block until the replica has answered.
    """

    name: DriverName
    capabilities: Capabilities

    @abstractmethod
    def describe(self) -> str:
        """The tool and its version for messages and records, such as `dfx 0.32.0`."""

    @abstractmethod
    def status(self, canister: CanisterId) -> CanisterStatus:
        """The canister's status, certified where the driver can."""

    @abstractmethod
    def stop(
        self, canister: CanisterId, *, timeout_s: float, before_send: BeforeSend = ignore_sent
    ) -> None:
        """Stop the canister and return when it is stopped.

        Raises:
            UnknownOutcomeError: also when `timeout_s` passed; the canister may be stopping.
        """

    @abstractmethod
    def start(self, canister: CanisterId) -> None:
        """Start the canister; a canister that runs already is left as it is."""

    @abstractmethod
    def list_snapshots(self, canister: CanisterId) -> tuple[CanisterSnapshot, ...]:
        """The canister's snapshots, oldest first."""

    @abstractmethod
    def take_snapshot(
        self,
        canister: CanisterId,
        *,
        replace: SnapshotId | None = None,
        before_send: BeforeSend = ignore_sent,
    ) -> CanisterSnapshot:
        """Take a snapshot; `replace` is deleted by the replica in the same step."""

    @abstractmethod
    def load_snapshot(
        self,
        canister: CanisterId,
        snapshot: SnapshotId,
        *,
        before_send: BeforeSend = ignore_sent,
    ) -> None:
        """Make the snapshot the canister's state."""

    @abstractmethod
    def delete_snapshot(self, canister: CanisterId, snapshot: SnapshotId) -> None:
        """Delete the snapshot from the subnet."""
