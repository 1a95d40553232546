"""Chunks that get lost between threads, or come too late: no export is completed with them."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.errors import DamageError, EndpointError
from dfx_backup.ic.stable_endpoints import StableEndpoints
from dfx_backup.ic.surroundings import Surroundings
from dfx_backup.model import CanisterId, NetworkId
from dfx_backup.transfer import stable_snapshot, window
from dfx_backup.transfer.chunk_table import ChunkTable
from dfx_backup.transfer.stable_fetch import Fetcher
from dfx_backup.transfer.stable_reads import CHUNK_BYTES
from dfx_backup.transfer.stable_sidecar import StablePaths, StreamIdentity
from dfx_backup.transfer.stable_terms import ExportChoices, Reads
from dfx_backup.transfer.terms import SilentTransfer, TransferOptions
from tests.fakes.memory_endpoints import CANISTER, CODEC, Call, KitRefusedError, MemoryEndpoints
from tests.fakes.memory_slices import MemorySlices, quick
from tests.fakes.stream_files import export_stream

WHAT = StreamIdentity(
    network_id=NetworkId("6c" * 32),
    canister_id=CanisterId(CANISTER),
    stream="memory",
    protocol="backup",
)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "_LOOK_S", 0.003)


def export(fake: MemoryEndpoints, folder: Path, reads: Reads, size: int = 1) -> None:
    export_stream(
        StableEndpoints(fake, CanisterId(CANISTER)),
        WHAT,
        StablePaths.of(folder / "copy"),
        ExportChoices(reads=reads, rounds_by_hashes=False, tool="test", created_at=1.0),
        options=TransferOptions(
            window=size, patience_s=30.0, surroundings=Surroundings(sleep=lambda _seconds: None)
        ),
        progress=SilentTransfer(),
    )


class Lagging(MemoryEndpoints):
    """The first read brings what it has read when another round has begun and read the same.

    The other read of the first round is refused, as if the stream had shrunk.
    """

    def __init__(self, **streams: bytes) -> None:
        super().__init__(**streams)
        self.read = threading.Event()
        self.late = threading.Event()
        self.laggard: threading.Thread | None = None
        self.refused = False

    def call(self, *args: Any, **more: Any) -> bytes:
        if args[1] == "backup_read" and self.laggard is None and not self._is_first(args[2]):
            assert self.read.wait(30)
        reply = super().call(*args, **more)
        if args[1] == "backup_read" and self.laggard is None and self._is_first(args[2]):
            self.laggard = threading.current_thread()
            self.read.set()
            assert self.late.wait(30)
        return reply

    def _is_first(self, arg: bytes) -> bool:
        return bool(CODEC.decode_args("backup_read", arg)[0]["offset"] == 0)

    def _backup_read(self, *, certified: bool, stream: str, offset: int, length: int) -> bytes:
        if offset and not self.refused:
            self.refused = True
            raise KitRefusedError("out_of_range", {"size": offset})
        return super()._backup_read(
            certified=certified, stream=stream, offset=offset, length=length
        )


def test_a_read_of_an_earlier_round_does_not_come_into_a_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were it kept, the copy would hold the first chunk of one moment, and the last of another."""
    monkeypatch.setattr(window, "DRAIN_S", 0.05)
    fake = Lagging(memory=bytes(4 * CHUNK_BYTES))
    looks = 0

    def before(call: Call) -> None:
        nonlocal looks
        if call.method != "backup_info":
            return
        looks += 1
        if looks == 2:  # the second round begins
            fake.touch("memory", 0, b"new")
        if looks == 3:  # all is read again: now the late answer comes
            fake.late.set()
            assert fake.laggard is not None
            fake.laggard.join(0.5)

    def after(call: Call) -> None:
        if call.method == "backup_info" and looks == 2:
            fake.touch("memory", 3 * CHUNK_BYTES, b"newer")

    fake.before, fake.after = before, after
    try:
        with pytest.raises(EndpointError, match="out of range"):
            export(fake, tmp_path, Reads.CERTIFIED, size=2)
    finally:
        fake.late.set()
        assert fake.laggard is not None
        fake.laggard.join(30)
    assert not (tmp_path / "copy.stable.bin").exists()


def test_a_chunk_that_is_not_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Fetcher._keep

    def forgetful(fetcher: Fetcher, first: int, data: bytes, hashes: Sequence[bytes]) -> None:
        keep(fetcher, first, data, hashes)
        if first == 2:
            fetcher._table.put(3, None)

    monkeypatch.setattr(Fetcher, "_keep", forgetful)
    fake = MemoryEndpoints(memory=bytes(range(256)) * (CHUNK_BYTES // 64))

    with pytest.raises(DamageError, match="chunks of memory were lost"):
        export(fake, tmp_path, Reads.CERTIFIED)
    assert not (tmp_path / "copy.stable.bin").exists()


def test_a_chunk_of_a_snapshot_that_is_not_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slices = MemorySlices()
    snapshot = slices.plant(stable=bytes(range(256)) * (CHUNK_BYTES // 64))
    put = ChunkTable.put
    monkeypatch.setattr(
        ChunkTable,
        "put",
        lambda table, index, hash_: put(table, index, None if index == 1 else hash_),
    )
    with pytest.raises(DamageError, match="were lost"):
        stable_snapshot.export_snapshot(
            slices,
            WHAT,
            snapshot,
            StablePaths(base=tmp_path / "copy"),
            tool="test",
            created_at=1.0,
            options=quick(window=1),
            progress=SilentTransfer(),
        )
    assert not (tmp_path / "copy.stable.bin").exists()


@pytest.mark.parametrize("index", [-1, 3, 100])
def test_a_hash_beyond_the_end_moves_no_other(index: int) -> None:
    table = ChunkTable(3 * CHUNK_BYTES, CHUNK_BYTES)
    with pytest.raises(IndexError):
        table.put(index, b"\1" * 32)
    with pytest.raises(IndexError):
        table.put(1, b"\1" * 31)
    assert table == ChunkTable(3 * CHUNK_BYTES, CHUNK_BYTES)
