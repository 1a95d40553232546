"""dfx moves snapshots to folders and back, as the driver drives it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfx_backup.drivers.dfx import DfxDriver
from dfx_backup.errors import RejectError, ToolError, UnknownOutcomeError
from dfx_backup.model import SnapshotId
from dfx_backup.replica.server import ReplicaServer
from tests.contract.driver_suite import UNKNOWN_SNAPSHOT
from tests.contract.replica_bench import ReplicaBench
from tests.contract.test_driver_contract import dfx_bench, found, stand_in

TIMEOUT_S = 60.0


@pytest.fixture
def version(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", "0.32.0"))


@pytest.fixture
def bench(tmp_path: Path, version: str) -> Iterator[ReplicaBench]:
    fake = stand_in(tmp_path, version)
    with ReplicaServer.start() as server:
        made = dfx_bench(server, found(fake))
        yield made
        made.close()
    fake.check()


def taken(bench: ReplicaBench, folder: Path) -> tuple[DfxDriver, SnapshotId]:
    """A snapshot of the stopped canister, and an empty folder for it."""
    assert isinstance(bench.driver, DfxDriver)
    bench.management.stop(bench.canister, timeout_s=10)
    folder.mkdir()
    return bench.driver, bench.driver.take_snapshot(bench.canister).snapshot_id


@pytest.mark.parametrize("version", ["0.30.1", "0.32.0"], indirect=True)
def test_a_snapshot_goes_to_a_folder_and_back(bench: ReplicaBench, tmp_path: Path) -> None:
    folder, scratch = tmp_path / "folder", tmp_path / "scratch"
    driver, first = taken(bench, folder)
    driver.download_folder(bench.canister, first, folder, timeout_s=TIMEOUT_S)
    metadata = json.loads((folder / "metadata.json").read_text())
    assert (folder / "wasm_memory.bin").stat().st_size == metadata["wasm_memory_size"]

    bench.write(b"second")
    shutil.copytree(folder, scratch)
    sent = []
    uploaded = driver.upload_folder(
        bench.canister, scratch, timeout_s=TIMEOUT_S, before_send=sent.append
    )
    assert len(sent) == 1
    assert bench.snapshots() == [first, uploaded]
    driver.load_snapshot(bench.canister, uploaded)
    assert bench.read() == b"first"
    assert {each.name for each in scratch.iterdir()} > {each.name for each in folder.iterdir()}


@pytest.mark.parametrize("version", ["0.28.0"], indirect=True)
def test_a_dfx_without_transfers_is_refused_with_a_way_out(
    bench: ReplicaBench, tmp_path: Path
) -> None:
    driver, first = taken(bench, tmp_path / "folder")
    with pytest.raises(ToolError, match=r"0\.28\.0 is too old") as caught:
        driver.download_folder(bench.canister, first, tmp_path / "folder", timeout_s=TIMEOUT_S)
    assert "--driver agent" in (caught.value.hint or "")
    with pytest.raises(ToolError, match=r"0\.28\.0 is too old"):
        driver.upload_folder(bench.canister, tmp_path / "folder", timeout_s=TIMEOUT_S)


def test_transfers_that_fail(bench: ReplicaBench, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    driver, first = taken(bench, folder)
    with pytest.raises(RejectError) as caught:
        driver.download_folder(bench.canister, UNKNOWN_SNAPSHOT, folder, timeout_s=TIMEOUT_S)
    assert caught.value.error_code == "IC0305"
    driver.download_folder(bench.canister, first, folder, timeout_s=TIMEOUT_S)
    bench.lose_answer("upload_canister_snapshot_metadata")
    with pytest.raises(UnknownOutcomeError):
        driver.upload_folder(bench.canister, folder, timeout_s=TIMEOUT_S)
    assert len(bench.snapshots()) == 2  # the caller finds it by comparing lists
