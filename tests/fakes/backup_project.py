"""A dfx project over an embedded replica, with a repository: what `create` and `restore` need.

with BackupProject.start(tmp_path) as project:
    project.fill("note", b"what is lost one day")
    backup = project.create("note")["backups"][0]
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfx_backup.ic.principal import Principal
from dfx_backup.replica.server import ReplicaServer
from dfx_backup.replica.state import CanisterState
from dfx_backup.repository.local import LocalStore
from dfx_backup.repository.repository import Repository
from tests.contract.replica_bench import identity, note_wasm
from tests.fakes.repositories import PASSWORD, Restic, contents, new_repository, reopened
from tests.fakes.transfer_project import TransferProject

PAGE = 65536
READ = "read_canister_snapshot_data"


def scattered(seed: int, pages: int, *, every: int = 1) -> dict[int, bytes]:
    """Pages of noise by their offsets, every so many pages."""
    chance = random.Random(seed)
    return {page * PAGE: chance.randbytes(PAGE) for page in range(0, pages, every)}


class BackupProject(TransferProject):
    """`note` is there from the beginning; `repo` is the repository.

    Attributes:
        env: what names and opens the repository.
        canisters: ids by name.
    """

    def __init__(self, server: ReplicaServer, folder: Path) -> None:
        super().__init__(server, folder)
        self.canisters = {"note": self.snapshots.raw}
        (folder / "password").write_text(f"{PASSWORD}\n")
        self.env = {"DFX_BACKUP_PASSWORD_FILE": str(folder / "password")}
        self.env["DFX_BACKUP_REPO"] = "repo"
        new_repository(LocalStore(self.repo))

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    @property
    def repository(self) -> Repository:
        return reopened(LocalStore(self.repo))

    def state_files(self, kind: str) -> list[Path]:
        folder = self.dfx.home / ".local" / "state" / "dfx-backup" / kind
        return sorted(folder.glob("[!.]*.json"))

    def judge(self) -> Restic:
        return Restic(self.repo, self.folder / "judge")

    def add(self, name: str) -> str:
        """One more canister; its id."""
        controllers = [b"\x04", identity("alice").principal.raw]
        raw = self.server.replica.create_canister(controllers=controllers, cycles=10**16)
        self.server.replica.install(raw, note_wasm())
        self.canisters[name] = raw
        self._write_ids()
        return Principal(raw).to_text()

    def state(self, name: str = "note") -> CanisterState:
        return self.server.replica.canisters[self.canisters[name]]

    def id(self, name: str = "note") -> str:
        return Principal(self.canisters[name]).to_text()

    def on_chain(self, name: str = "note") -> list[str]:
        return [each.hex() for each in self.state(name).snapshots]

    def fill(
        self, name: str, content: Mapping[int, bytes] | bytes, *, pages: int | None = None
    ) -> None:
        """What the canister's stable memory holds from now on, by offset; zeros elsewhere."""
        parts = {0: content} if isinstance(content, bytes) else dict(content)
        end = max((offset + len(data) for offset, data in parts.items()), default=0)
        replica = self.server.replica
        with replica.lock:
            stable = replica.blobs.new((pages or -(-end // PAGE)) * PAGE)
            for offset, data in parts.items():
                stable.write(offset, data)
            replica.blobs.commit([], {})
            self.state(name).stable = stable

    def stable(self, name: str = "note") -> bytes:
        found = self.state(name).stable
        return found.read(0, found.size)

    def settle(self, text: str) -> None:
        """Write dfx-backup.toml."""
        (self.folder / "dfx-backup.toml").write_text(text)

    def envelope(self, *argv: str, code: int = 0, **more: Any) -> Any:
        """The envelope of a command that ends with the code."""
        found, told = self.run(*argv, env=self.env | more.pop("env", {}), **more)
        assert found == code, (found, told, self.stderr)
        return told

    def create(self, *argv: str, **more: Any) -> Any:
        """The `data` of a `create` that goes well."""
        return self.envelope("create", *argv, **more)["data"]

    def files(self, restic_id: str) -> dict[str, bytes]:
        """Every file of a backup."""
        return contents(self.repository, restic_id)

    def records(self) -> list[Any]:
        """The manifest of every backup, oldest first."""
        repository = self.repository
        return [
            json.loads(contents(repository, each.snapshot_id)["backup.json"])
            for each in repository.snapshots()
        ]

    def calls(self, method: str) -> int:
        return int(self.server.faults.counters().calls.get(method, 0))

    def is_running(self, name: str = "note") -> bool:
        return str(self.state(name).status) == "running"

    def process(self, *argv: str) -> "subprocess.Popen[str]":
        """The command as a process of its own."""
        words = ("--network", "local", "--identity", "alice", "--driver", "agent", "--json")
        return subprocess.Popen(
            [sys.executable, "-m", "dfx_backup", *argv, *words],
            cwd=self.folder,
            env={"HOME": str(self.dfx.home), "PATH": "/nowhere", **self.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def struck(self, number: signal.Signals, *argv: str, calls: int, method: str = READ) -> Any:
        """Signal a process after so many calls of a method; exit code, envelope or None."""
        self.server.faults.set(latency_by_method_s={method: 0.1})
        before = self.calls(method)
        process = self.process(*argv)
        end = time.monotonic() + 30
        while self.calls(method) < before + calls:
            assert time.monotonic() < end
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        os.kill(process.pid, number)
        told, _ = process.communicate(timeout=30)
        self.server.faults.set(latency_by_method_s={})
        return process.returncode, json.loads(told) if told else None

    def _write_ids(self) -> None:
        ids = {name: {"local": Principal(raw).to_text()} for name, raw in self.canisters.items()}
        (self.folder / ".dfx" / "local" / "canister_ids.json").write_text(json.dumps(ids))
        config = json.loads((self.folder / "dfx.json").read_text())
        for name in self.canisters:
            config["canisters"][name] = config["canisters"]["note"]
        (self.folder / "dfx.json").write_text(json.dumps(config))
