"""The stage: a replica in a process of its own, a key that every program signs with, and homes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmarks.images import Image
from benchmarks.measure import Finished, run
from dfx_backup.replica.control_client import ControlClient, ControlFile

ROOT = Path(__file__).parent.parent
_PACKAGE = Path("node_modules") / "@icp-sdk" / "icp-cli-linux-x64"
ICP = ROOT / "tests" / "e2e" / "judges" / _PACKAGE / "bin" / "icp"
IDENTITY = "bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot on the replica.

    Attributes:
        canister: principal.
        id: hexadecimal.
        image: what its stable memory holds.
    """

    canister: str
    id: str
    image: Image


@dataclass(slots=True)
class Stage:
    """Everything that stays while cases come and go.

    Attributes:
        folder: for all files.
        url: of the replica.
        root_key: DER, hexadecimal.
        control: of the replica.
        env: environment of every child, with a home of its own.
    """

    folder: Path
    url: str
    root_key: str
    control: ControlClient
    env: Mapping[str, str]
    _images: dict[str, Snapshot] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator[Self]:
        """Start the replica; it ends with the block.

        Raises:
            RuntimeError: it does not start.
        """
        env = _make_home(folder)
        state = folder / "replica"
        argv = [sys.executable, "-m", "dfx_backup.replica", "start", "--state-dir", str(state)]
        with (folder / "replica.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 # our own program
                [*argv, "--control", "--delegation"],
                stdout=subprocess.PIPE,
                stderr=log,
                env=dict(env),
                cwd=folder,
            )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the replica did not start")
            ready = json.loads(line)
            control = ControlClient(ControlFile.read(state))
            yield cls(folder, ready["url"], ready["root_key"], control, env)
        finally:
            process.terminate()
            process.wait(timeout=60)
            if process.stdout is not None:
                process.stdout.close()

    @property
    def key(self) -> Path:
        """The key's file."""
        return _dfx_identity(self.folder) / "identity.pem"

    def snapshot(self, image: Image) -> Snapshot:
        """A snapshot with this image; made when it is first asked for.

        Raises:
            RuntimeError: it could not be made.
        """
        if image.name not in self._images:
            runs = json.dumps(image.runs)
            canister, found = self._filler("fill", str(image.pages), runs)
            self._images[image.name] = Snapshot(canister=canister, id=found, image=image)
        return self._images[image.name]

    def forget(self, image: Image) -> None:
        """Delete the snapshot with this image: it takes memory or disk."""
        snapshot = self._images.pop(image.name, None)
        if snapshot is not None:
            self.delete_snapshots(snapshot.canister)

    def new_canister(self) -> str:
        """An empty canister."""
        return str(self._filler("create")[0])

    def list_snapshots(self, canister: str) -> list[str]:
        """The ids of a canister's snapshots."""
        return [str(each) for each in self._filler("list", canister)]

    def delete_snapshots(self, canister: str) -> None:
        """Delete all snapshots of a canister."""
        self._filler("delete", canister)

    def _filler(self, *words: str) -> list[Any]:
        where = [self.url, self.root_key, str(self.key)]
        done = self.child([sys.executable, "-m", "benchmarks.filler", *where, *words])
        if done.code != 0:
            raise RuntimeError(f"the replica could not be filled: {done.stderr}")
        made: list[Any] = json.loads(done.stdout)
        return made

    def kit(self, command: str, *words: str, canister: str | None = None) -> Any:  # noqa: ANN401 - any JSON value
        """Let `kit_filler` do something, with a canister that it has made.

        Raises:
            RuntimeError: it could not.
        """
        where = [self.url, self.root_key, str(self.key), *([canister] if canister else [])]
        return self._kit_filler(command, *where, *words)

    def kit_costs(self) -> dict[str, float]:
        """Instructions for hashing a byte, by the kit's language."""
        found: dict[str, float] = self._kit_filler("costs")
        return found

    def _kit_filler(self, *words: str) -> Any:  # noqa: ANN401 - any JSON value
        done = self.child([sys.executable, "-m", "benchmarks.kit_filler", *words])
        if done.code != 0:
            raise RuntimeError(f"the canister with the kit could not be used: {done.stderr}")
        return json.loads(done.stdout)

    def child(self, argv: list[str]) -> Finished:
        """Run a program in the stage's home, outside of any project."""
        return run(argv, env=self.env, cwd=self.folder)

    @contextmanager
    def faults(self, switches: Mapping[str, object]) -> Iterator[None]:
        """Set the replica's switches for a while, and begin to count anew."""
        self.control.send("faults/reset")
        self.control.send("faults/set", **switches)
        self.control.send("counters/reset")
        try:
            yield
        finally:
            self.control.send("faults/reset")

    def counters(self) -> dict[str, Any]:
        """What the replica has seen since `faults` was entered."""
        return self.control.send("counters")


def _dfx_identity(folder: Path) -> Path:
    return folder / "home" / ".config" / "dfx" / "identity" / IDENTITY


def _make_home(folder: Path) -> dict[str, str]:
    """A home with the key as an identity of dfx and, when there is an icp, of icp."""
    identity = _dfx_identity(folder)
    identity.mkdir(parents=True)
    key = identity / "identity.pem"
    home = folder / "home"
    env = {
        "PATH": os.environ.get("PATH", ""),
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "ICP_HOME": str(home / "icp"),
        "PYTHONPATH": str(ROOT),
        "NO_PROXY": "127.0.0.1,localhost",
        "NO_COLOR": "1",
        "DO_NOT_TRACK": "1",
        "RUST_BACKTRACE": "0",
    }
    commands = [[sys.executable, "-m", "benchmarks.new_key", str(key)]]
    if ICP.exists():
        argv = [str(ICP), "identity", "import", IDENTITY, "--from-pem", str(key)]
        commands.append([*argv, "--storage", "plaintext"])
    for command in commands:
        done = run(command, env=env, cwd=folder)
        if done.code != 0:
            raise RuntimeError(f"the key could not be made or imported: {done.stderr}")
    return env
