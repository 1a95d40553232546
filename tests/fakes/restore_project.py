"""A project over an embedded replica, with a repository and backups of its canister `note`."""

import itertools
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dfx_backup.ic.principal import Principal
from dfx_backup.model import Consistency, SnapshotId
from dfx_backup.replica.server import ReplicaServer
from dfx_backup.replica.state import CanisterState
from dfx_backup.transfer import backup_json
from dfx_backup.transfer.backup_details import BackupDetails
from dfx_backup.transfer.backup_json import BACKUP_NAME
from tests.contract.replica_bench import ANYBODY, identity, note_wasm
from tests.fakes.repositories import PASSWORD
from tests.fakes.transfer_project import TransferProject

MIB = 1 << 20


class RestoreProject(TransferProject):
    """A `TransferProject` with a repository that opens by itself."""

    def __init__(self, server: ReplicaServer, folder: Path) -> None:
        super().__init__(server, folder)
        self.password = folder / "password"
        self.password.write_text(f"{PASSWORD}\n")
        self._numbers = itertools.count()
        code, told = self.run("init", "--repo", "repo")
        assert code == 0, told

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    def run_text(
        self,
        *argv: str,
        identity: str = "alice",
        driver: str = "agent",
        env: Mapping[str, str] | None = None,
        **more: Any,
    ) -> int:
        around = {"DFX_BACKUP_PASSWORD_FILE": str(self.password), "DFX_BACKUP_REPO": "repo"}
        return super().run_text(
            *argv, identity=identity, driver=driver, env={**around, **(env or {})}, **more
        )

    def data(self, *argv: str, code: int = 0, **more: Any) -> Any:
        """`data` of a command that ends with the code; the whole envelope when it is not 0."""
        found, told = self.run(*argv, **more)
        assert found == code, (told, self.stderr)
        return told if code else told["data"]

    def write(self, text: bytes, raw: bytes | None = None) -> None:
        """What the canister says from now on."""
        raw = raw or self.snapshots.raw
        self.server.replica.ingress(ANYBODY, raw, "set", text, request_id=text.ljust(32)[:32])

    def read(self, raw: bytes | None = None) -> bytes:
        """What the canister says."""
        return self.server.replica.query(ANYBODY, raw or self.snapshots.raw, "get", b"")

    def back_up(self, snapshot: SnapshotId | None = None, *, settings: bool = False) -> str:
        """A backup of the canister as it is, or of a planted snapshot; its id."""
        taken = snapshot or SnapshotId(self.data("snapshot", "create", "note")["snapshot_id"])
        copy = f"copy-{next(self._numbers)}"
        self.data("snapshot", "download", "note", taken, "--dir", copy)
        if settings:
            self._add_settings(self.folder / copy / BACKUP_NAME)
        found: str = self.data("import", copy, "--canister", "note")["backup_id"]
        self.data("snapshot", "delete", "note", taken, "--yes")
        return found

    def _add_settings(self, path: Path) -> None:
        record = backup_json.from_json(path.read_bytes(), path)
        details = BackupDetails(
            backup_id=os.urandom(16).hex(),
            network_name="local",
            canister_name="note",
            taken_at_ns=time.time_ns(),
            consistency=Consistency.CONSISTENT,
            settings=self.snapshots.management.full_status(self.snapshots.canister).settings,
        )
        path.write_bytes(backup_json.to_json(replace(record, backup=details)))

    def another(self, *, install: bool = True) -> tuple[bytes, str]:
        """One more canister of alice's: its id as bytes and as text."""
        raw = self.server.replica.create_canister(
            controllers=[identity("alice").principal.raw], cycles=10**13
        )
        if install:
            self.server.replica.install(raw, note_wasm())
        return raw, Principal(raw).to_text()

    def state_of(self, raw: bytes) -> CanisterState:
        return self.server.replica.canisters[raw]
