"""Reads the parts of a snapshot through a window; where they go is the caller's business."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from dfx_backup.errors import DamageError
from dfx_backup.ic.snapshot_metadata import SnapshotMetadata
from dfx_backup.ic.snapshot_parts import ReadPart, WasmChunk
from dfx_backup.model import CanisterId, SnapshotId
from dfx_backup.transfer.folder import section_sizes
from dfx_backup.transfer.slices import read_slices
from dfx_backup.transfer.terms import SLICE_BYTES, SliceReader, TransferOptions, TransferProgress
from dfx_backup.transfer.window import Window, persist


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsReport:
    """What reading took.

    Attributes:
        moved_bytes: what came over the network.
        calls: calls that brought data.
        retries: requests that failed and were made again.
        seconds: from the first call sent to the last answer received.
        window: most calls that were in flight at a time.
    """

    moved_bytes: int
    calls: int
    retries: int
    seconds: float
    window: int


class PartsReader:
    """Reads one snapshot. Used once.

    Args:
        reader: reads the network; certifies what it reads.
        canister: whose snapshot.
        snapshot: which one.
        options: how.
        progress: hears of every part.
    """

    def __init__(
        self,
        reader: SliceReader,
        canister: CanisterId,
        snapshot: SnapshotId,
        *,
        options: TransferOptions,
        progress: TransferProgress,
    ) -> None:
        self._reader = reader
        self._canister = canister
        self._snapshot = snapshot
        self._options = options
        self._progress = progress
        self._window: Window[ReadPart] = Window(options, on_retry=self._retry)
        self._lock = threading.Lock()
        self._moved = self._calls = 0

    @property
    def running(self) -> int:
        """Parts that are in flight: after a failure those that were left behind."""
        return self._window.running

    def metadata(self) -> SnapshotMetadata:
        """The snapshot's metadata, certified.

        Raises:
            NetworkError: the network refuses, or is gone for too long.
        """
        return persist(
            lambda: self._reader.read_snapshot_metadata(self._canister, self._snapshot),
            self._options,
            failed=lambda error: self._progress.retry(error.message),
        )

    def read(
        self, parts: Iterable[ReadPart], keep: Callable[[ReadPart, bytes], None]
    ) -> PartsReport:
        """Read every part; returns when all are kept.

        Args:
            parts: asked for one more whenever there is room, by one thread at a time.
            keep: puts a part away, called in several threads. When it raises, all ends.

        Raises:
            InterruptedRunError: `options.should_stop` said so.
            NetworkError: the network refuses, or is gone for too long.
            Exception: what `keep` raised.
        """
        with self._reader.watch(self._window.noticed):
            self._window.run(parts, lambda part: self._move(part, keep))
        return PartsReport(
            moved_bytes=self._moved,
            calls=self._calls,
            retries=self._window.retries,
            seconds=self._window.seconds,
            window=self._window.widest,
        )

    def _move(self, part: ReadPart, keep: Callable[[ReadPart, bytes], None]) -> None:
        data = self._reader.read_snapshot_data(self._canister, self._snapshot, part)
        keep(part, data)
        with self._lock:
            self._moved += len(data)
            self._calls += 1
            self._progress.advance(len(data))

    def _retry(self, reason: str) -> None:
        with self._lock:
            self._progress.retry(reason)


def all_parts(metadata: SnapshotMetadata, *, step: int = SLICE_BYTES) -> Iterator[ReadPart]:
    """Every part of a snapshot: the sections slice by slice, then the Wasm chunks, each once.

    Args:
        metadata: the snapshot's.
        step: bytes of a slice, at most `SLICE_BYTES`.
    """
    for section, size in section_sizes(metadata).items():
        yield from read_slices(section, size, step=step)
    for hash_ in dict.fromkeys(metadata.wasm_chunk_store):
        yield WasmChunk(hash=hash_)


def check_module(found: str | None, certified: str) -> None:
    """Compare a snapshot's module with what the network says of the canister's.

    Args:
        found: SHA-256 of what was read, hexadecimal.
        certified: SHA-256 of the installed module at the snapshot's own version, certified.

    Raises:
        DamageError: they differ.
    """
    if found != certified.lower():
        raise DamageError(
            f"the snapshot's module has SHA-256 {found}, and the canister's module had"
            f" {certified} at the same version"
        )
