"""A dfx project over an embedded replica whose canister has snapshots to move.

with TransferProject.start(tmp_path) as project:
    snapshot = project.plant(stable={0: b"..."}, stable_size=10 * MIB)
    code, told = project.run("snapshot", "download", "note", snapshot, "--dir", "copy")
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from dfx_backup.cli.app import main
from dfx_backup.model import SnapshotId
from dfx_backup.replica.server import ReplicaServer
from dfx_backup.replica.state import CanisterState
from tests.contract.replica_bench import identity, note_wasm, pem
from tests.fakes.dfx.install import FakeDfx
from tests.fakes.snapshot_stage import SnapshotStage
from tests.fakes.stage import Stage


class HastyClock:
    """The machine's clocks, for somebody who waits a thousand times faster."""

    def __init__(self) -> None:
        self._slept = 0.0

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic() + self._slept

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / 1000)
        self._slept += seconds


class TransferProject:
    """Its canister `note` is controlled by `alice`, dfx's chosen identity; `bob` is nobody.

    Attributes:
        snapshots: plants snapshots, and looks into them.
        stderr: what the last run told.
        text: what the last run printed, when it was not JSON.
    """

    def __init__(self, server: ReplicaServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.dfx = FakeDfx.install(folder)
        for name in ("alice", "bob"):
            self.dfx.add_identity(name, pem(name))
        self.stage = Stage(folder)
        self.snapshots = SnapshotStage(server)
        self.canister.controllers = [b"\x04", identity("alice").principal.raw]
        server.replica.install(self.snapshots.raw, note_wasm())
        self._write_project()
        self.clock = HastyClock()
        self.stderr = self.text = ""

    @classmethod
    @contextmanager
    def start(cls, folder: Path, **choices: Any) -> Iterator[Self]:
        with ReplicaServer.start(**choices) as server:
            project = cls(server, folder)
            try:
                yield project
            finally:
                project.close()

    def close(self) -> None:
        self.server.faults.reset()
        self.snapshots.session.close()

    @property
    def canister(self) -> CanisterState:
        return self.server.replica.canisters[self.snapshots.raw]

    @property
    def canister_id(self) -> str:
        return self.snapshots.canister

    def plant(self, **content: Any) -> SnapshotId:
        """A snapshot with the canister's own module, unless another one is named."""
        return self.snapshots.plant(**({"module": note_wasm()} | content))

    def run(
        self,
        *argv: str,
        identity: str = "alice",
        driver: str = "agent",
        env: Mapping[str, str] | None = None,
        **more: Any,
    ) -> tuple[int, Any]:
        """Exit code and envelope; without dfx on PATH unless `env` says so."""
        code = self.run_text(*argv, "--json", identity=identity, driver=driver, env=env, **more)
        return code, json.loads(self.text)

    def run_text(
        self,
        *argv: str,
        identity: str = "alice",
        driver: str = "agent",
        env: Mapping[str, str] | None = None,
        **more: Any,
    ) -> int:
        around = self.stage.surroundings(
            env={"HOME": str(self.dfx.home), "PATH": "/nowhere", **(env or {})},
            home=self.dfx.home,
            clock=self.clock,
            random=os.urandom,
            **more,
        )
        words = [*argv, "--identity", identity, "--driver", driver]
        code = main(words, surroundings=around)
        self.text = around.stdout.getvalue()  # type: ignore[attr-defined] # a StringIO
        self.stderr = around.stderr.getvalue()  # type: ignore[attr-defined] # the same
        return code

    def _write_project(self) -> None:
        ids = self.folder / ".dfx" / "local" / "canister_ids.json"
        ids.parent.mkdir(parents=True)
        ids.write_text(json.dumps({"note": {"local": self.canister_id}}))
        local = {"bind": self.server.url.removeprefix("http://"), "type": "ephemeral"}
        note = {"type": "custom", "wasm": "note.wasm", "candid": "note.did"}
        config = {"canisters": {"note": note}, "networks": {"local": local}}
        (self.folder / "dfx.json").write_text(json.dumps(config))
