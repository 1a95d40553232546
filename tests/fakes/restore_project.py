"""A project over an embedded replica, with a repository and backups of its canister `note`."""

import itertools
import os
import subprocess
import sys
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
    """A `TransferProject` with a repository that opens by itself.

    Attributes:
        env: what names and opens the repository.
    """

    def __init__(self, server: ReplicaServer, folder: Path) -> None:
        super().__init__(server, folder)
        self.password = folder / "password"
        self.password.write_text(f"{PASSWORD}\n")
        self.env = {
            "DFX_BACKUP_PASSWORD_FILE": str(self.password),
            "DFX_BACKUP_REPO": "repo",
        }
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
        around = {**self.env, **(env or {})}
        return super().run_text(*argv, identity=identity, driver=driver, env=around, **more)

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
        told = None
        if settings:
            full = self.snapshots.management.full_status(self.snapshots.canister)
            told = self._details(settings=full.settings)
        return self._bring("note", snapshot, told)

    def back_up_set(self, *canisters: str, lacks: int = 0) -> str:
        """Backups of canisters that belong together; the id of their set.

        `lacks`: so many of them, the last ones, are not brought into the repository.
        """
        set_id = os.urandom(16).hex()
        for canister in canisters[: len(canisters) - lacks]:
            self._bring(canister, None, self._details(set_id=set_id, set_canisters=canisters))
        return set_id

    def _bring(
        self, canister: str, snapshot: SnapshotId | None, details: BackupDetails | None
    ) -> str:
        taken = snapshot or self.data("snapshot", "create", canister)["snapshot_id"]
        copy = f"copy-{next(self._numbers)}"
        self.data("snapshot", "download", canister, taken, "--dir", copy)
        if details is not None:
            path = self.folder / copy / BACKUP_NAME
            record = backup_json.from_json(path.read_bytes(), path)
            path.write_bytes(backup_json.to_json(replace(record, backup=details)))
        found: str = self.data("import", copy, "--canister", canister)["backup_id"]
        self.data("snapshot", "delete", canister, taken, "--yes")
        return found

    def _details(self, **more: Any) -> BackupDetails:
        return BackupDetails(
            backup_id=os.urandom(16).hex(),
            network_name="local",
            taken_at_ns=time.time_ns(),
            consistency=Consistency.CONSISTENT,
            **more,
        )

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


def start(project: RestoreProject, *argv: str) -> "subprocess.Popen[str]":
    words = ("--identity", "alice", "--driver", "agent", "--json")
    return subprocess.Popen(
        [sys.executable, "-m", "dfx_backup", *argv, *words],
        cwd=project.folder,
        env={"HOME": str(project.dfx.home), "PATH": "/nowhere", **project.env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def await_calls(
    project: RestoreProject, process: "subprocess.Popen[str]", method: str, count: int
) -> None:
    """Wait until so many calls of this kind have come since now."""
    counters = project.server.faults.counters
    before, end = counters().calls.get(method, 0), time.monotonic() + 30
    while counters().calls.get(method, 0) < before + count:
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
