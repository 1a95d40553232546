"""The stable memory of a snapshot into a file, and out of one into a new snapshot."""

import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfx_backup.errors import DamageError, InterruptedRunError, RefusedError, RejectError
from dfx_backup.ic.snapshot_parts import Section, Slice
from dfx_backup.model import CanisterId, SnapshotId
from dfx_backup.transfer.chunk_table import ChunkTable
from dfx_backup.transfer.snapshot_download import download_snapshot
from dfx_backup.transfer.snapshot_upload import upload_snapshot
from dfx_backup.transfer.stable_data import FileData
from dfx_backup.transfer.stable_image import Scanned, WithoutStableMemory, plan_image, scan
from dfx_backup.transfer.stable_reads import CHUNK_BYTES
from dfx_backup.transfer.stable_sidecar import Certified, Moment, StablePaths, StreamIdentity
from dfx_backup.transfer.stable_snapshot import SnapshotExport, export_snapshot
from dfx_backup.transfer.stable_work import check_previous
from dfx_backup.transfer.terms import (
    ReadBack,
    SilentTransfer,
    UploadChoices,
    UploadTarget,
)
from dfx_backup.transfer.upload_plan import SourceFile, UploadPlan, plan_upload
from tests.fakes.memory_slices import CANISTER, NETWORK, PAGE, MemorySlices, quick, reject

RANDOM = random.Random(4)
DATA = RANDOM.randbytes(20 * PAGE) + bytes(60 * PAGE) + RANDOM.randbytes(7 * PAGE)


def identity(protocol: str = "snapshot", canister: CanisterId = CANISTER) -> StreamIdentity:
    return StreamIdentity(
        network_id=NETWORK, canister_id=canister, stream="stable_memory", protocol=protocol
    )


def export(slices: MemorySlices, snapshot: SnapshotId, folder: Path, **more: Any) -> SnapshotExport:
    return export_snapshot(
        slices,
        more.pop("what", identity()),
        snapshot,
        StablePaths(base=folder / "copy"),
        tool="test",
        created_at=1.0,
        options=quick(**({"window": 1} | more)),
        progress=SilentTransfer(),
    )


@pytest.fixture
def slices() -> MemorySlices:
    return MemorySlices()


class TestExport:
    def test_only_the_stable_memory_is_read(self, slices: MemorySlices, tmp_path: Path) -> None:
        snapshot = slices.plant(stable=DATA, heap=bytes(PAGE * 50))

        done = export(slices, snapshot, tmp_path)

        copy = tmp_path / "copy.stable.bin"
        assert copy.read_bytes() == DATA
        assert copy.stat().st_blocks * 512 <= 28 * PAGE
        assert {part.section for name, part in slices.calls if name == "read_data"} == {
            Section.STABLE_MEMORY
        }
        assert done.tally.moved_bytes == len(DATA)
        assert done.tally.zero_bytes == 60 * PAGE
        sidecar = check_previous(StablePaths(base=tmp_path / "copy"), identity())
        assert sidecar == done.sidecar
        assert (sidecar.certified, sidecar.moment) == (Certified.READS, Moment.SNAPSHOT)
        assert (sidecar.snapshot, sidecar.versions) == (snapshot, (7, 7))

    def test_nothing_is_a_stable_memory_too(self, slices: MemorySlices, tmp_path: Path) -> None:
        done = export(slices, slices.plant(), tmp_path)

        assert done.sidecar.hashes.size == 0
        assert (tmp_path / "copy.stable.bin").read_bytes() == b""

    @pytest.mark.parametrize("damage", [False, True])
    def test_it_goes_on(self, slices: MemorySlices, tmp_path: Path, *, damage: bool) -> None:
        snapshot = slices.plant(stable=DATA)
        slices.fail("read_data", lambda: reject("IC0503"), skip=2)
        with pytest.raises(RejectError):
            export(slices, snapshot, tmp_path)
        if damage:
            with (tmp_path / "copy.stable.part").open("r+b") as file:
                file.write(b"not what was read")

        done = export(slices, snapshot, tmp_path)

        assert (tmp_path / "copy.stable.bin").read_bytes() == DATA
        assert done.tally.resumed_bytes == (3 if damage else 4) * CHUNK_BYTES
        assert done.tally.moved_bytes + done.tally.resumed_bytes == len(DATA)

    def test_another_snapshot_begins_anew(self, slices: MemorySlices, tmp_path: Path) -> None:
        slices.fail("read_data", lambda: reject("IC0503"), skip=2)
        with pytest.raises(RejectError):
            export(slices, slices.plant(stable=DATA), tmp_path)
        other = bytes(len(DATA))

        done = export(slices, slices.plant(stable=other), tmp_path)

        assert done.tally.resumed_bytes == 0
        assert (tmp_path / "copy.stable.bin").read_bytes() == other

    def test_a_part_that_was_read_otherwise_is_given_up(
        self, slices: MemorySlices, tmp_path: Path
    ) -> None:
        slices.fail("read_data", lambda: reject("IC0503"), skip=2)
        snapshot = slices.plant(stable=DATA)
        with pytest.raises(RejectError):
            export(slices, snapshot, tmp_path, what=identity("backup"))

        assert export(slices, snapshot, tmp_path).tally.resumed_bytes == 0

    def test_files_of_another_canister_are_left_alone(
        self, slices: MemorySlices, tmp_path: Path
    ) -> None:
        snapshot = slices.plant(stable=DATA)
        export(slices, snapshot, tmp_path)

        with pytest.raises(RefusedError, match="is a copy of"):
            export(slices, snapshot, tmp_path, what=identity(canister=CanisterId("aaaaa-aa")))

    def test_a_signal(self, slices: MemorySlices, tmp_path: Path) -> None:
        with pytest.raises(InterruptedRunError):
            export(slices, slices.plant(stable=DATA), tmp_path, should_stop=lambda: True)
        assert not (tmp_path / "copy.stable.bin").exists()


def table_of(data: bytes, chunk_size: int) -> ChunkTable:
    table = ChunkTable(len(data), chunk_size)
    for index in range(table.count):
        at = index * chunk_size
        table.put(index, hashlib.sha256(data[at : at + chunk_size]).digest())
    return table


def scanned(path: Path, table: ChunkTable, **more: Callable[[], bool]) -> Scanned:
    data = FileData.open(path)
    stop = more.get("should_stop", lambda: False)
    try:
        return scan(data, table, progress=SilentTransfer(), should_stop=stop)
    finally:
        data.close()


class TestScan:
    @given(
        pages=st.lists(st.sampled_from([0, 0, 0, 1]), max_size=40),
        tail=st.integers(min_value=0, max_value=PAGE - 1),
        chunk_pages=st.sampled_from([1, 3, 15]),
    )
    def test_what_is_not_zero_is_in_the_runs(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        pages: list[int],
        tail: int,
        chunk_pages: int,
    ) -> None:
        data = b"".join(bytes([page]) * PAGE for page in pages) + b"\1" * tail
        path = tmp_path_factory.mktemp("scan") / "data"
        path.write_bytes(data)

        found = scanned(path, table_of(data, chunk_pages * PAGE))

        whole = data.ljust(-(-len(data) // PAGE) * PAGE, b"\0")
        assert found.size == len(whole)
        assert not found.wrong
        sent = bytearray(len(whole))
        last = -5 * PAGE
        for begin, end in found.runs:
            assert begin % PAGE == end % PAGE == 0
            assert begin - last >= 4 * PAGE  # or one call would do for both
            assert any(whole[begin : begin + PAGE])
            assert any(whole[end - PAGE : end])
            sent[begin:end] = whole[begin:end]
            last = end
        assert sent == whole

    def test_damage(self, tmp_path: Path) -> None:
        table = table_of(DATA, CHUNK_BYTES)
        (tmp_path / "data").write_bytes(DATA[:CHUNK_BYTES] + b"x" + DATA[CHUNK_BYTES + 1 :])

        assert scanned(tmp_path / "data", table).wrong == (CHUNK_BYTES,)

    def test_a_signal(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_bytes(DATA)

        with pytest.raises(InterruptedRunError):
            scanned(tmp_path / "data", table_of(DATA, CHUNK_BYTES), should_stop=lambda: True)


class TestImage:
    """A new snapshot of an old heap and another stable memory."""

    HEAP = RANDOM.randbytes(3 * PAGE) + bytes(10 * PAGE)

    def plan(self, slices: MemorySlices, folder: Path, content: bytes = DATA) -> UploadPlan:
        base = slices.plant(heap=self.HEAP, stable=b"s" * PAGE, chunks=(b"chunk",))
        download_snapshot(
            WithoutStableMemory(slices),
            slices.what(base),
            folder / "base",
            options=quick(),
            progress=SilentTransfer(),
        )
        copy = folder / "copy"
        copy.write_bytes(content)
        table = table_of(content, CHUNK_BYTES)
        return plan_image(
            plan_upload(folder / "base"),
            "copy",
            lambda: FileData.open(copy),
            table,
            scanned(copy, table),
            SourceFile.of(copy),
        )

    def send(self, slices: MemorySlices, folder: Path, plan: UploadPlan) -> SnapshotId:
        target = UploadTarget(
            canister_id=CANISTER, network_id=NETWORK, state=folder / "state" / "upload"
        )
        choices = UploadChoices(read_back=ReadBack.ALL)
        done = upload_snapshot(
            slices, target, plan, choices, options=quick(), progress=SilentTransfer()
        )
        return done.snapshot_id

    @pytest.mark.parametrize("extra", [b"", b"no whole page"])
    def test_both_parts_arrive(self, slices: MemorySlices, tmp_path: Path, extra: bytes) -> None:
        plan = self.plan(slices, tmp_path, DATA + extra)
        read = {part.section for _, part in slices.calls if isinstance(part, Slice)}
        assert read == {Section.WASM_MODULE, Section.WASM_MEMORY}

        made = slices.held[self.send(slices, tmp_path, plan)]

        stable = bytes(made.sections[Section.STABLE_MEMORY])
        assert stable == (DATA + extra).ljust(len(stable), b"\0")
        assert len(stable) % PAGE == 0
        assert made.sections[Section.WASM_MEMORY] == self.HEAP
        assert list(made.chunks.values()) == [b"chunk"]
        assert plan.zero_bytes >= 60 * PAGE
        sent = sum(detail[1] for name, detail in slices.calls if name == "upload_data")
        assert sent == plan.send_bytes < len(DATA)

    def test_nothing(self, slices: MemorySlices, tmp_path: Path) -> None:
        made = slices.held[self.send(slices, tmp_path, self.plan(slices, tmp_path, b""))]

        assert made.sections[Section.STABLE_MEMORY] == b""
        assert made.sections[Section.WASM_MEMORY] == self.HEAP

    def test_a_copy_that_changes_is_found_out(self, slices: MemorySlices, tmp_path: Path) -> None:
        plan = self.plan(slices, tmp_path)

        def change(method: str) -> None:
            if method == "upload_data":
                with (tmp_path / "copy").open("r+b") as file:
                    file.write(b"changed")

        slices.before_call = change
        with pytest.raises(DamageError, match="was changed while it was uploaded"):
            self.send(slices, tmp_path, plan)

    def test_each_content_has_its_digest(self, slices: MemorySlices, tmp_path: Path) -> None:
        digests = set()
        for number, content in enumerate((DATA, DATA[:PAGE], bytes(PAGE), b"")):
            folder = tmp_path / str(number)
            folder.mkdir()
            digests.add(self.plan(slices, folder, content).digest)
        assert len(digests) == 4
