"""The contract of every driver. `tests/contract/driver_suite.py` is run by each of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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


class FolderTransfer(ABC):
    """A driver whose tool moves a snapshot to a folder and back: the way when only it has the key.

    The layout is that of dfx and icp: `metadata.json`, `wasm_module.bin`, `wasm_memory.bin`,
    `stable_memory.bin` and `wasm_chunk_store/HASH.bin`. Nothing is certified to us on this way,
    and nothing is resumed. Each tool leaves files of its own behind (`.lock`, notes on progress),
    so that callers hand in a scratch folder, and a copy of what is to be sent: links do.
    """

    @abstractmethod
    def download_folder(
        self, canister: CanisterId, snapshot: SnapshotId, folder: Path, *, timeout_s: float
    ) -> None:
        """Write a snapshot into a folder; the canister's state does not matter.

        Files of empty parts may be missing: icp makes no `wasm_memory.bin` for an empty heap, dfx
        no `stable_memory.bin` for an empty stable memory.

        Args:
            canister: whose snapshot it is.
            snapshot: its id.
            folder: absolute, existing and empty.
            timeout_s: seconds until the tool is ended.

        Raises:
            BackupError: as for every method of a driver; the folder may hold a part then.
        """

    @abstractmethod
    def upload_folder(
        self,
        canister: CanisterId,
        folder: Path,
        *,
        timeout_s: float,
        before_send: BeforeSend = ignore_sent,
    ) -> SnapshotId:
        """Make a new snapshot of a folder; the canister's state does not matter.

        dfx needs a `wasm_memory.bin` and a `wasm_module.bin` even when they are empty. Neither
        checks a file's size against the metadata, and icp reads each file into memory as a whole.

        Args:
            canister: gets the snapshot.
            folder: absolute, complete, writable, and not needed any more.
            timeout_s: seconds until the tool is ended.
            before_send: called before the tool starts.

        Raises:
            BackupError: whichever it is, an unfinished snapshot may have been made: compare the
                list of snapshots with the one before.
        """
