"""The programs that are compared, each run as its users run it."""

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.images import Image, is_copy
from benchmarks.measure import Finished
from benchmarks.stage import ICP, IDENTITY, Snapshot, Stage

STABLE = "stable_memory.bin"
_DATA_METHODS = ("read_canister_snapshot_data", "upload_canister_snapshot_data", "backup_read")
_TOLD = ("retries", "window", "checked_bytes", "moved_bytes", "hash_calls", "rounds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One transfer by one program.

    Attributes:
        peer: the program.
        size: bytes of the snapshot's stable memory.
        finished: what the process took.
        whole: it ended well, and what it made is what it was made from.
        seconds: from the first slice sent to the last received, as the program tells; None when
            it does not tell.
        bytes_in, bytes_out: HTTP bodies as the replica counted them.
        calls: calls and queries that asked for a slice or brought one.
        injected: faults that the replica made.
        disk: bytes that the copy took on the disk; 0 for uploads.
        told: what else the program said of itself: retries, window.
        error: the last line that it printed when it failed.
    """

    peer: str
    size: int
    finished: Finished
    whole: bool
    seconds: float | None
    bytes_in: int
    bytes_out: int
    calls: int
    injected: Mapping[str, int]
    disk: int
    told: Mapping[str, Any]
    error: str | None

    @property
    def rate(self) -> float:
        """Units of 1,000,000 bytes a second, over the whole process."""
        return self.size / 1e6 / self.finished.wall_s

    @property
    def transfer_s(self) -> float:
        """`seconds`, or the whole process where the program does not tell."""
        return self.finished.wall_s if self.seconds is None else self.seconds


class Peer(Protocol):
    """A program."""

    name: str

    def download(self, stage: Stage, snapshot: Snapshot, folder: Path) -> Finished:
        """Copy a snapshot into a folder that is not there yet."""

    def upload(self, stage: Stage, canister: str, folder: Path) -> Finished:
        """Make a snapshot out of a folder."""


class Ours:
    """dfx-backup."""

    name = "dfx-backup"

    def download(self, stage: Stage, snapshot: Snapshot, folder: Path) -> Finished:
        """See `Peer`."""
        return self._run(stage, "download", snapshot.canister, snapshot.id, "--dir", str(folder))

    def upload(self, stage: Stage, canister: str, folder: Path) -> Finished:
        """See `Peer`."""
        return self._run(stage, "upload", canister, "--dir", str(folder))

    def _run(self, stage: Stage, *words: str) -> Finished:
        where = ["--network", stage.url, "--root-key", stage.root_key, "--identity", IDENTITY]
        how = ["--driver", "agent", "--json", "--quiet"]
        return stage.child([sys.executable, "-m", "dfx_backup", "snapshot", *words, *where, *how])


class Icp:
    """The real icp."""

    name = "icp"

    def download(self, stage: Stage, snapshot: Snapshot, folder: Path) -> Finished:
        """See `Peer`."""
        return self._run(stage, "download", snapshot.canister, snapshot.id, "-o", str(folder))

    def upload(self, stage: Stage, canister: str, folder: Path) -> Finished:
        """See `Peer`."""
        return self._run(stage, "upload", canister, "-i", str(folder))

    def _run(self, stage: Stage, *words: str) -> Finished:
        where = ["-n", stage.url + "/", "-k", stage.root_key, "--identity", IDENTITY]
        return stage.child([str(ICP), "canister", "snapshot", *words, *where])


class WindowOfThree:
    """Stands for dfx; see `window_of_three`."""

    name = "window of 3"

    def download(self, stage: Stage, snapshot: Snapshot, folder: Path) -> Finished:
        """See `Peer`."""
        where = [stage.url, stage.root_key, str(stage.key), snapshot.canister, snapshot.id]
        argv = [sys.executable, "-m", "benchmarks.window_of_three", *where, str(folder)]
        return stage.child(argv)

    def upload(self, stage: Stage, canister: str, folder: Path) -> Finished:
        """It does not."""
        raise NotImplementedError


def download(stage: Stage, peer: Peer, snapshot: Snapshot, faults: Mapping[str, object]) -> Run:
    """Download once and compare the copy."""
    folder = stage.folder / "download"
    with stage.faults(faults):
        finished = peer.download(stage, snapshot, folder)
        counters = stage.counters()
    copy = folder / STABLE
    arrived = finished.code == 0 and copy.exists() and is_copy(copy, snapshot.image)
    disk = sum(each.stat().st_blocks * 512 for each in folder.rglob("*"))
    shutil.rmtree(folder, ignore_errors=True)
    size = snapshot.image.size
    return to_run(peer.name, size, finished, counters, whole=arrived, disk=disk)


def upload(stage: Stage, peer: Peer, image: Image, folder: Path) -> Run:
    """Upload once into a canister of its own; the snapshot is read back to be compared."""
    canister = stage.new_canister()
    with stage.faults({}):
        finished = peer.upload(stage, canister, folder)
        counters = stage.counters()
    arrived = finished.code == 0 and _arrived(stage, canister, image)
    stage.delete_snapshots(canister)
    return to_run(peer.name, image.size, finished, counters, whole=arrived, disk=0)


def _arrived(stage: Stage, canister: str, image: Image) -> bool:
    (found,) = stage.list_snapshots(canister)
    snapshot = Snapshot(canister=canister, id=found, image=image)
    return download(stage, WindowOfThree(), snapshot, {}).whole


def to_run(
    peer: str,
    size: int,
    finished: Finished,
    counters: Mapping[str, Any],
    *,
    whole: bool,
    disk: int,
) -> Run:
    """A run out of what the process took, what it printed, and what the replica counted."""
    told = _told(finished)
    return Run(
        peer=peer,
        size=size,
        finished=finished,
        whole=whole,
        seconds=told.get("seconds"),
        bytes_in=counters["bytes_in"],
        bytes_out=counters["bytes_out"],
        calls=sum(
            counters[kind].get(method, 0)
            for kind in ("calls", "queries")
            for method in _DATA_METHODS
        ),
        injected=counters["injected"],
        disk=disk,
        told={name: told[name] for name in _TOLD if name in told},
        error=None if finished.code == 0 else _last_line(finished),
    )


def _told(finished: Finished) -> Mapping[str, Any]:
    """What our own programs print: an envelope with `data`, or the numbers alone."""
    try:
        found = json.loads(finished.stdout)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    data = found.get("data", found)
    return data if isinstance(data, dict) else {}


def _last_line(finished: Finished) -> str:
    """The last line that it printed; of an envelope, the message of its first error."""
    try:
        return str(json.loads(finished.stdout)["errors"][0]["message"])[:200]
    except (ValueError, LookupError, TypeError):
        pass
    lines = [line for line in (finished.stderr or finished.stdout).splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else f"exit code {finished.code}"
