"""Exports of the stable memory of canisters that run, beside our own snapshot download of it."""

import filecmp
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from benchmarks import kit_memory, peers
from benchmarks.images import PAGE, Image, is_copy
from benchmarks.measure import Finished
from benchmarks.peers import Ours, Run, WindowOfThree
from benchmarks.stage import IDENTITY, Snapshot, Stage

SNAPSHOT, CERTIFIED, HASHES = "snapshot download", "certified reads", "hashes and queries"
LATENCY_S = 0.17
"""Of a query."""
QUERIES_IN_FLIGHT = 8
QUERY_BYTES = 3 * 15 * PAGE
"""That one query brings: three chunks, which is what fits into its answer."""
CHUNK_BYTES = 15 * PAGE
CHANGED_SHARE = 0.01
"""Of the chunks, before the second export."""
SPARSE_STEP = 1024
"""Of the sparse memory, one page in so many holds data."""
_READS = {CERTIFIED: "certified", HASHES: "hashes"}


class Running:
    """A canister that runs, and exports of one of its streams.

    Args:
        stage: where it runs.
        canister: its principal.
        stream: that is exported.
        size: bytes of it.
        is_right: whether a file is that stream.
    """

    def __init__(
        self, stage: Stage, canister: str, stream: str, size: int, is_right: Callable[[Path], bool]
    ) -> None:
        self._stage = stage
        self._canister = canister
        self._stream = stream
        self._size = size
        self._is_right = is_right
        self._file = stage.folder / "exported"

    def export(
        self, name: str, *, faults: Mapping[str, object] | None = None, again: bool = False
    ) -> Run:
        """Export once and compare the copy.

        Args:
            name: how it is read, one of `CERTIFIED` and `HASHES`.
            faults: switches of the replica.
            again: there is an earlier export, which is not removed before.
        """
        if not again:
            self.forget()
        with self._stage.faults(faults or {}):
            finished = self._run("--reads", _READS[name])
            counters = self._stage.counters()
        copy = self._file.with_name("exported.stable.bin")
        whole = finished.code == 0 and copy.exists() and self._is_right(copy)
        disk = copy.stat().st_blocks * 512 if copy.exists() else 0
        return peers.to_run(name, self._size, finished, counters, whole=whole, disk=disk)

    def forget(self) -> None:
        """Remove what was exported."""
        for each in self._file.parent.glob("exported.*"):
            each.unlink()

    def _run(self, *words: str) -> Finished:
        what = [self._canister, "--stream", self._stream, "--file", str(self._file), *words]
        argv = [sys.executable, "-m", "dfx_backup", "stable", "export", *what]
        where = ["--network", self._stage.url, "--root-key", self._stage.root_key]
        return self._stage.child([*argv, *where, "--identity", IDENTITY, "--json", "--quiet"])


class RustMemory:
    """The Rust example, filled, and its whole stable memory in all the ways there are.

    Args:
        stage: where it runs.
        mib: of its ballast; what the example keeps beside it comes on top.
    """

    def __init__(self, stage: Stage, mib: int) -> None:
        self._stage = stage
        self._pages = mib * 16
        self._canister = str(stage.kit("rust", str(self._pages), "1"))
        self._reference = stage.folder / "reference"
        self._take_reference()
        self.size = (self._reference / peers.STABLE).stat().st_size
        self._running = Running(stage, self._canister, "stable_memory", self.size, self._is_right)

    def side_by_side(self) -> Mapping[str, Callable[[], Run]]:
        """One run each: of the snapshot, and of both ways to read."""
        return {
            SNAPSHOT: self._download,
            CERTIFIED: partial(self._running.export, CERTIFIED),
            HASHES: partial(self._running.export, HASHES),
        }

    def queries(self) -> Mapping[str, Callable[[], Run]]:
        """Queries with latency."""
        faults = {"latency_query_s": LATENCY_S}
        return {HASHES: partial(self._running.export, HASHES, faults=faults)}

    def change_and_export(self) -> Run:
        """Change 1 % of the chunks, and export over the last export."""
        chunks = round(self._pages * PAGE / CHUNK_BYTES * CHANGED_SHARE)
        step = -(-self._pages // max(1, chunks))
        self._stage.kit("change", str(self._pages), str(step), canister=self._canister)
        self._take_reference()
        return self._running.export(HASHES, again=True)

    def close(self) -> None:
        """Remove everything."""
        self._running.forget()
        shutil.rmtree(self._reference)
        self._stage.delete_snapshots(self._canister)

    def _take_reference(self) -> None:
        """What the memory is now, by a reader of its own, through a snapshot."""
        shutil.rmtree(self._reference, ignore_errors=True)
        self._stage.delete_snapshots(self._canister)
        found = str(self._stage.kit("snapshot", canister=self._canister))
        image = Image(name="of the kit", pages=self._pages, runs=())
        self._snapshot = Snapshot(canister=self._canister, id=found, image=image)
        done = WindowOfThree().download(self._stage, self._snapshot, self._reference)
        if done.code != 0:
            raise RuntimeError(f"no reference to compare with: {done.stderr}")

    def _download(self) -> Run:
        folder = self._stage.folder / "download"
        with self._stage.faults({}):
            finished = Ours().download(self._stage, self._snapshot, folder)
            counters = self._stage.counters()
        copy = folder / peers.STABLE
        whole = finished.code == 0 and self._is_right(copy)
        shutil.rmtree(folder, ignore_errors=True)
        return peers.to_run(SNAPSHOT, self.size, finished, counters, whole=whole, disk=0)

    def _is_right(self, copy: Path) -> bool:
        filecmp.clear_cache()
        return filecmp.cmp(copy, self._reference / peers.STABLE, shallow=False)


def export_sparse(stage: Stage, mib: int) -> Run:
    """One export of a large memory of which nearly all is zero."""
    pages = mib * 16
    canister = str(stage.kit("rust", str(pages), str(SPARSE_STEP)))
    runs = (*((first, 1) for first in range(0, pages, SPARSE_STEP)), (pages - 1, 1))
    image = Image(name="sparse ballast", pages=pages, runs=runs)
    is_right = partial(is_copy, image=image, content=kit_memory.page)
    running = Running(stage, canister, "ballast", image.size, is_right)
    run = running.export(CERTIFIED)
    running.forget()
    return run


def motoko(stage: Stage, count: int) -> Mapping[str, Callable[[], Run]]:
    """The Motoko example's messages, in both ways; each export has the app stage them."""
    canister = str(stage.kit("motoko", str(count), "1"))
    expected = stage.folder / "messages"
    with expected.open("wb") as file:  # in pieces: this process has to stay small
        file.writelines(kit_memory.stream_of_messages(count))
    running = Running(
        stage, canister, "messages", expected.stat().st_size, partial(_is_same, expected)
    )
    return {name: partial(running.export, name) for name in (CERTIFIED, HASHES)}


def _is_same(one: Path, other: Path) -> bool:
    filecmp.clear_cache()
    return filecmp.cmp(one, other, shallow=False)
