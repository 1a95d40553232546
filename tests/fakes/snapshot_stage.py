"""A replica with a canister whose snapshots are planted, however large, without executing anything.

with SnapshotStage.start() as stage:
    snapshot = stage.plant(stable={0: b"..."}, stable_size=10 * MIB)
    download_snapshot(stage.management, stage.what(snapshot), folder, ...)
"""

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from dfx_backup.ic.identity import AnonymousIdentity
from dfx_backup.ic.management import ManagementCanister
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.retry import NO_RETRY
from dfx_backup.ic.session import Session
from dfx_backup.ic.surroundings import Surroundings
from dfx_backup.model import CanisterId, NetworkId, SnapshotId
from dfx_backup.replica.server import ReplicaServer
from dfx_backup.replica.snapshots import new_snapshot_id
from dfx_backup.replica.state import GlobalValue, HookStatus, Snapshot
from dfx_backup.transfer.terms import BackupIdentity, TransferOptions

PAGE = 65536
MIB = 1 << 20
HURRY = 20
"""Waits before retries are so many times shorter than in earnest."""
MODULE = b"\0asm\x01\0\0\0"
ANONYMOUS = b"\x04"


class SnapshotStage:
    def __init__(self, server: ReplicaServer) -> None:
        self.server = server
        self.raw = server.replica.create_canister(controllers=[ANONYMOUS], cycles=10**16)
        self.canister = CanisterId(Principal(self.raw).to_text())
        hurried = Surroundings(sleep=lambda seconds: time.sleep(seconds / HURRY))
        self.session = Session(
            server.url, AnonymousIdentity(), root_key=server.root_key, surroundings=hurried
        )
        self.management = ManagementCanister(self.session, retry=NO_RETRY)

    @classmethod
    @contextmanager
    def start(cls, **choices: Any) -> Iterator[Self]:
        with ReplicaServer.start(**choices) as server:
            stage = cls(server)
            try:
                yield stage
            finally:
                stage.session.close()

    def plant(
        self,
        *,
        module: bytes = MODULE,
        heap: Mapping[int, bytes] | None = None,
        heap_size: int = PAGE,
        stable: Mapping[int, bytes] | None = None,
        stable_size: int = 0,
        globals_: tuple[tuple[str, int], ...] = (),
        chunks: tuple[bytes, ...] = (),
        source: str = "taken_from_canister",
        **more: Any,
    ) -> SnapshotId:
        """A snapshot with this content: bytes by offset, zeros elsewhere."""
        replica = self.server.replica
        with replica.lock:
            canister = replica.canisters[self.raw]
            snapshot = Snapshot(
                id=new_snapshot_id(canister),
                source=source,
                taken_at=replica.now_ns(),
                canister_version=canister.version,
                module=replica.blobs.from_bytes(module),
                heap=self._blob(heap_size, heap),
                stable=self._blob(stable_size, stable),
                globals=[GlobalValue.from_number(kind, number) for kind, number in globals_],
                certified_data=more.get("certified_data", b"\x01\xff"),
                chunks={hashlib.sha256(chunk).digest(): chunk for chunk in chunks},
                global_timer=more.get("global_timer", 0),
                hook_status=more.get("hook_status", HookStatus.CONDITION_NOT_SATISFIED),
            )
            replica.blobs.commit([], {})
            canister.snapshots[snapshot.id] = snapshot
        return SnapshotId(snapshot.id.hex())

    def content(self, snapshot: SnapshotId) -> tuple[bytes, bytes, bytes, dict[bytes, bytes]]:
        """Module, heap, stable memory and chunks of a snapshot."""
        found = self.server.replica.canisters[self.raw].snapshots[bytes.fromhex(snapshot)]
        blobs = (found.module, found.heap, found.stable)
        module, heap, stable = (blob.read(0, blob.size) for blob in blobs)
        return module, heap, stable, dict(found.chunks)

    def snapshots(self) -> list[SnapshotId]:
        found = self.server.replica.canisters[self.raw].snapshots
        return [SnapshotId(each.hex()) for each in found]

    def what(self, snapshot: SnapshotId, **more: Any) -> BackupIdentity:
        values: dict[str, Any] = {
            "canister_id": self.canister,
            "snapshot_id": snapshot,
            "network_id": NetworkId(self.session.network_id()),
            "tool": "dfx-backup 0.1.0",
            "created_at": 1_700_000_000.0,
        }
        return BackupIdentity(**(values | more))

    def _blob(self, size: int, content: Mapping[int, bytes] | None) -> Any:
        blob = self.server.replica.blobs.new(size)
        for offset, data in (content or {}).items():
            blob.write(offset, data)
        return blob


def options(**more: Any) -> TransferOptions:
    hurried = Surroundings(sleep=lambda seconds: time.sleep(seconds / HURRY))
    return TransferOptions(**({"window": 8, "patience_s": 20.0, "surroundings": hurried} | more))


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    found = (each for each in sorted(folder.rglob("*")) if each.is_file())
    return {str(each.relative_to(folder)): each.read_bytes() for each in found}
