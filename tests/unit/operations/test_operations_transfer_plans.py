"""What transfers decide before anything moves, over a subnet in memory."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.drivers.base import BeforeSend, FolderTransfer, ignore_sent
from dfx_backup.errors import (
    DamageError,
    NetworkError,
    RefusedError,
    ToolError,
    UsageError,
)
from dfx_backup.ic.canister_settings import CanisterSettings
from dfx_backup.ic.snapshot_metadata import GlobalKind, HookStatus, WasmGlobal
from dfx_backup.model import CanisterId, CanisterRef, SnapshotId
from dfx_backup.operations.direct import Direct
from dfx_backup.operations.ledger import Ledger
from dfx_backup.operations.snapshot_download import download, plan_download
from dfx_backup.operations.snapshot_upload import plan_upload, state_file, upload
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.operations.transfer_plans import DownloadOptions, UploadOptions
from dfx_backup.operations.upload_planning import _keeps_hook
from dfx_backup.transfer import metadata_json
from dfx_backup.transfer.snapshot_upload import upload_snapshot
from dfx_backup.transfer.terms import ReadBack, SilentTransfer
from tests.fakes.memory_driver import POOR, MemoryDriver
from tests.fakes.memory_management import ALICE, How, MemorySubnet, reject
from tests.fakes.memory_transfer import GIB, MODULE, PAGE, MemoryTransfer
from tests.fakes.operations_world import NETWORK, NETWORK_ID, Notes, WorldClock

QUIET = SilentTransfer()


class Place:
    """A canister with a snapshot, and what is needed to move it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.subnet = MemorySubnet()
        self.canister = self.subnet.create(content=b"Hi there!")
        self.management = MemoryTransfer(self.subnet)
        self.snapshot = self.management.take_snapshot(self.canister).snapshot_id
        self.notes = Notes()
        self.run = Runtime(
            state=folder / "state", clock=WorldClock(self.subnet.clock), progress=self.notes
        )
        self.target = Target(
            ref=CanisterRef(canister_id=self.canister, name="chat"),
            network=NETWORK,
            network_id=NETWORK_ID,
            driver=MemoryDriver(self.subnet),
            reader=self.management,
            direct=Direct(calls=self.management, slices=self.management),
            principal=ALICE,
        )

    @property
    def copy(self) -> Path:
        return self.folder / "copy"

    def download(self, **more: Any) -> Any:
        options = DownloadOptions(folder=self.copy, window=1, **more)
        return download(self.run, self.target, self.snapshot, options, QUIET)

    def upload(self, **more: Any) -> Any:
        return upload(self.run, self.target, self.upload_options(**more), QUIET)

    def plan(self, **more: Any) -> Any:
        return plan_upload(self.run, self.target, self.upload_options(**more))

    def upload_options(self, **more: Any) -> UploadOptions:
        return UploadOptions(folder=self.copy, window=1, **more)

    def called(self, method: str) -> int:
        return sum(name == method for name, _ in self.subnet.calls)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


class TestKnownModule:
    """The module is not read when a hash certified at the snapshot's own version proves it."""

    @pytest.fixture
    def module(self, place: Place) -> Path:
        path = place.folder / "built.wasm"
        path.write_bytes(MODULE)
        return path

    def reads(self, place: Place) -> int:
        return place.called("read_canister_snapshot_data")

    def test_at_the_same_version(self, place: Place, module: Path) -> None:
        result = place.download(known_module=module)

        assert result.report.known_bytes == len(MODULE)
        assert self.reads(place) == 1  # the heap

    def test_not_at_another_version(self, place: Place, module: Path) -> None:
        place.subnet[place.canister].version += 1

        assert place.download(known_module=module).report.known_bytes == 0
        assert self.reads(place) == 2

    def test_not_with_another_file(self, place: Place, module: Path) -> None:
        module.write_bytes(b"\0asm\x01")

        assert place.download(known_module=module).report.known_bytes == 0

    def test_not_when_the_status_may_not_be_seen(self, place: Place, module: Path) -> None:
        place.subnet.fail("canister_status", How.REJECT, error=reject(5, "IC0512", "no"))

        assert place.download(known_module=module).report.known_bytes == 0
        assert place.subnet.unused_faults == []

    def test_without_a_file_the_hash_still_has_to_agree(self, place: Place) -> None:
        place.subnet[place.canister].module_hash = "ab" * 32

        with pytest.raises(DamageError, match="the snapshot's module has SHA-256"):
            place.download()


LIMIT = 3 * GIB


@pytest.mark.parametrize(
    ("status", "limit", "threshold", "heap", "kept"),
    [
        (HookStatus.CONDITION_NOT_SATISFIED, LIMIT, 0, LIMIT, True),
        (HookStatus.CONDITION_NOT_SATISFIED, LIMIT, 1, LIMIT, False),
        (HookStatus.READY, LIMIT, 1, LIMIT, True),
        (HookStatus.EXECUTED, LIMIT, PAGE, LIMIT - PAGE, False),
        (HookStatus.EXECUTED, LIMIT, PAGE + 1, LIMIT - PAGE, True),
        (HookStatus.CONDITION_NOT_SATISFIED, 0, 0, PAGE, False),  # no limit: not certain
        (HookStatus.CONDITION_NOT_SATISFIED, None, 0, PAGE, False),
        (None, LIMIT, 0, PAGE, False),
    ],
)
def test_when_the_hook_status_is_sent(  # one column for each value
    place: Place,
    status: HookStatus | None,
    limit: int | None,
    threshold: int,
    heap: int,
    *,
    kept: bool,
) -> None:
    metadata = place.management.read_snapshot_metadata(place.canister, place.snapshot)
    settings = CanisterSettings(wasm_memory_limit=limit, wasm_memory_threshold=threshold)

    there = replace(metadata, hook_status=status, wasm_memory_size=heap)

    assert _keeps_hook(there, settings) is kept


def test_the_estimate_holds_every_call(place: Place) -> None:
    options = DownloadOptions(folder=place.copy)
    planned = plan_download(place.target, place.snapshot, options)
    result = place.download()

    assert planned.calls == result.report.slices == 2
    assert planned.cycles == result.cycles


def test_a_disk_that_is_too_small_is_warned_about(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda _path: Usage)
    options = DownloadOptions(folder=place.copy)

    [warning] = plan_download(place.target, place.snapshot, options).warnings

    assert "1,000 bytes left, and the snapshot may need 65,540" in warning


class TestUpload:
    def test_the_new_snapshot_is_ours_before_its_data_arrives(self, place: Place) -> None:
        place.download()
        place.subnet.fail("upload_canister_snapshot_data", How.REJECT, error=NetworkError("gone"))

        with pytest.raises(NetworkError, match="gone"):
            place.upload()

        [_, made] = place.management.list_snapshots(place.canister)
        ledger = Ledger(place.run.state, place.target.key)
        assert [own.snapshot_id for own in ledger.read()] == [made.snapshot_id]

    def test_what_was_replaced_is_not_ours_any_more(self, place: Place) -> None:
        place.download()
        first = place.upload().snapshot_id

        second = place.upload(replace=first).snapshot_id

        ledger = Ledger(place.run.state, place.target.key)
        assert [own.snapshot_id for own in ledger.read()] == [second]

    def test_a_snapshot_that_was_deleted_is_not_gone_on_with(self, place: Place) -> None:
        place.download()
        place.subnet.fail("upload_canister_snapshot_data", How.REJECT, error=NetworkError("gone"))
        with pytest.raises(NetworkError):
            place.upload()
        [_, begun] = place.management.list_snapshots(place.canister)
        assert place.plan().resumes == begun.snapshot_id
        place.management.delete_snapshot(place.canister, begun.snapshot_id)
        assert place.plan().resumes is None

        made = place.upload().snapshot_id

        assert made != begun.snapshot_id
        assert not state_file(place.run, place.target, place.copy).exists()

    def test_resuming_a_snapshot_of_other_sizes_is_refused(self, place: Place) -> None:
        place.download()
        made = place.upload().snapshot_id
        there = place.subnet[place.canister].snapshots[1].upload
        there.metadata = replace(there.metadata, stable_memory_size=PAGE)

        with pytest.raises(RefusedError, match="does not have the sizes"):
            place.plan(resume=made)

    def test_resuming_and_replacing_contradict_each_other(self, place: Place) -> None:
        place.download()
        made = place.upload().snapshot_id

        with pytest.raises(UsageError, match="replaces none"):
            place.plan(resume=made, replace=made)

    def test_a_resumed_upload_is_not_refused_for_its_price(self, place: Place) -> None:
        place.download()
        made = place.upload().snapshot_id
        place.subnet[place.canister].cycles = 10**6

        with pytest.raises(RefusedError, match="uploading to chat costs about"):
            place.plan()
        assert any("may be too much" in each for each in place.plan(resume=made).warnings)

    def test_reading_all_back_is_in_the_price(self, place: Place) -> None:
        place.download()

        sampled = place.plan().cycles.cost
        assert place.plan(read_back=ReadBack.ALL).cycles.cost > sampled

    def test_the_engine_reads_back_what_it_sent(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seeds = []

        def spy(*args: Any, **more: Any) -> Any:
            seeds.append((args[3].seed, args[3].read_back))
            return upload_snapshot(*args, **more)

        monkeypatch.setattr("dfx_backup.operations.snapshot_upload.upload_snapshot", spy)
        place.download()
        place.upload(seed=7)

        assert seeds == [(7, ReadBack.SAMPLED)]


class FolderDriver(MemoryDriver, FolderTransfer):
    """A driver that moves folders itself, as dfx does, and can do it badly."""

    breaks = ""

    def download_folder(
        self, canister: CanisterId, snapshot: SnapshotId, folder: Path, *, timeout_s: float
    ) -> None:
        assert timeout_s > 3600
        assert list(folder.iterdir()) == []
        management = MemoryTransfer(self.subnet)
        metadata = management.read_snapshot_metadata(canister, snapshot)
        (folder / "metadata.json").write_bytes(metadata_json.to_json(metadata))
        (folder / "wasm_module.bin").write_bytes(MODULE)
        heap = b"Hi there!".ljust(PAGE, b"\0")
        if self.breaks == "heap":
            heap = b"x" + heap[1:]
        if self.breaks != "download":
            (folder / "wasm_memory.bin").write_bytes(heap)
        (folder / ".lock").touch()

    def upload_folder(
        self,
        canister: CanisterId,
        folder: Path,
        *,
        timeout_s: float,
        before_send: BeforeSend = ignore_sent,
    ) -> SnapshotId:
        assert timeout_s > 3600
        before_send  # noqa: B018 # nobody journals an upload
        raw = (folder / "metadata.json").read_bytes()
        metadata = metadata_json.from_json(raw, folder)
        made = MemoryTransfer(self.subnet).upload_snapshot_metadata(canister, metadata)
        (folder / f"{made}.json").write_text("progress")
        if self.breaks == "upload":
            raise ToolError("dfx failed")
        assert (folder / "wasm_memory.bin").is_symlink()
        return made


class TestDriversOwnWay:
    @pytest.fixture
    def driver(self, place: Place) -> FolderDriver:
        driver = FolderDriver(place.subnet, capabilities=POOR)
        place.target = replace(place.target, driver=driver, reader=None, direct=None)
        return driver

    def test_a_copy_that_is_not_whole_is_refused(self, place: Place, driver: FolderDriver) -> None:
        driver.breaks = "download"

        with pytest.raises(DamageError, match=r"wasm_memory\.bin is missing"):
            place.download()

        assert not place.copy.exists()

    def test_the_way_and_no_numbers_are_told(self, place: Place, driver: FolderDriver) -> None:
        result = place.download()

        assert result.plan.way.value == "driver"
        assert driver.describe() in result.plan.warnings[0]
        assert result.cycles is None
        assert sorted(each.name for each in place.copy.iterdir()) == [
            "backup.json",
            "metadata.json",
            "wasm_memory.bin",
            "wasm_module.bin",
        ]
        assert {oct(each.stat().st_mode & 0o777) for each in place.copy.iterdir()} == {"0o600"}

    def test_what_a_killed_run_left_behind_goes(self, place: Place, driver: FolderDriver) -> None:
        del driver
        (place.copy / ".scratch").mkdir(parents=True)
        (place.copy / ".scratch" / "half").write_text("a part")

        place.download()

        assert not (place.copy / ".scratch").exists()

    def test_an_unfinished_snapshot_is_named(self, place: Place, driver: FolderDriver) -> None:
        place.download()
        driver.breaks = "upload"

        with pytest.raises(ToolError) as caught:
            place.upload()

        [_, left] = place.management.list_snapshots(place.canister)
        assert caught.value.hint is not None
        assert "snapshot delete" in caught.value.hint
        assert left.snapshot_id in caught.value.hint
        assert Ledger(place.run.state, place.target.key).read() == ()

    def test_what_was_not_read_back_is_told(self, place: Place, driver: FolderDriver) -> None:
        del driver
        place.download()

        result = place.upload()

        assert result.report is None
        assert "was not read back" in result.warnings[0]
        ledger = Ledger(place.run.state, place.target.key)
        assert [own.snapshot_id for own in ledger.read()] == [result.snapshot_id]

    def test_other_bytes_are_found_when_all_is_read_back(
        self, place: Place, driver: FolderDriver
    ) -> None:
        place.download()
        driver.breaks = "heap"

        with pytest.raises(DamageError, match=r"wasm_memory\.bin differs"):
            place.upload(read_back=ReadBack.ALL)

    def test_nan_does_not_fit_into_what_the_driver_reads(
        self, place: Place, driver: FolderDriver
    ) -> None:
        """Downloaded by somebody whose key could be read, so that backup.json has the bits."""
        direct = Direct(calls=place.management, slices=place.management)
        there = place.management.upload_snapshot_metadata(
            place.canister,
            replace(
                place.management.read_snapshot_metadata(place.canister, place.snapshot),
                globals=(WasmGlobal(kind=GlobalKind.F64, value=0x7FF8000000000001),),
            ),
        )
        place.subnet[place.canister].snapshots[1].upload.sections["wasm_module"][:] = MODULE
        place.snapshot = there
        place.target = replace(place.target, direct=direct)
        place.subnet[place.canister].version += 1
        place.download()
        place.target = replace(place.target, direct=None)

        with pytest.raises(RefusedError, match="NaN or infinite"):
            place.upload()
        del driver

    def test_a_driver_that_can_not_is_refused(self, place: Place) -> None:
        place.target = replace(place.target, reader=None, direct=None)

        with pytest.raises(RefusedError, match="can't transfer snapshots"):
            place.download()

    def test_a_large_heap_needs_code_first(self, place: Place, driver: FolderDriver) -> None:
        place.download()
        heap = place.copy / "wasm_memory.bin"
        with heap.open("r+b") as file:
            file.truncate(5 * GIB)
        (place.copy / "backup.json").unlink()
        path = place.copy / "metadata.json"
        metadata = metadata_json.from_json(path.read_bytes(), path)
        path.write_bytes(metadata_json.to_json(replace(metadata, wasm_memory_size=5 * GIB)))
        place.subnet[place.canister].module_hash = None
        del driver

        with pytest.raises(RefusedError, match="needs a wasm64 module"):
            place.upload()
