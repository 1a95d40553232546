"""A stable memory of 64 GiB, nearly all zeros, goes up within bounds; `make bench` brings one down.

What is sent, kept in memory and asked of the replica follows the data, not the size.
"""

import os
import tracemalloc
from pathlib import Path

import pytest

from dfx_backup.ic.snapshot_metadata import SnapshotMetadata, SnapshotSource
from dfx_backup.model import NetworkId
from dfx_backup.transfer import metadata_json
from dfx_backup.transfer.snapshot_upload import upload_snapshot
from dfx_backup.transfer.terms import ReadBack, SilentTransfer, UploadChoices, UploadTarget
from dfx_backup.transfer.upload_plan import plan_upload
from tests.fakes.snapshot_stage import MIB, MODULE, PAGE, SnapshotStage, options

SIZE = 64 * 1024 * MIB
PAGES = SIZE // PAGE
DATA = {
    0: b"first",
    65_535: b"last below 4 GiB",
    65_536: b"first above",
    524_288: os.urandom(150 * PAGE),
    700_000: b"a short gap follows",
    700_003: b"and ends here",
    PAGES - 1: b"last".rjust(PAGE, b"\1"),
}
"""By page number."""


def fill(folder: Path) -> None:
    metadata = SnapshotMetadata(
        source=SnapshotSource.TAKEN_FROM_CANISTER,
        taken_at_ns=1_700_000_000_000_000_000,
        wasm_module_size=len(MODULE),
        globals=(),
        wasm_memory_size=PAGE,
        stable_memory_size=SIZE,
        wasm_chunk_store=(),
        canister_version=3,
        certified_data=b"",
        global_timer=None,
        hook_status=None,
    )
    (folder / "metadata.json").write_bytes(metadata_json.to_json(metadata))
    (folder / "wasm_module.bin").write_bytes(MODULE)
    (folder / "wasm_memory.bin").write_bytes(bytes(PAGE))
    with (folder / "stable_memory.bin").open("wb") as file:
        file.truncate(SIZE)
        for page, data in DATA.items():
            os.pwrite(file.fileno(), data, page * PAGE)


@pytest.mark.slow
def test_what_is_nearly_all_zeros_uploads_like_what_it_holds(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    fill(folder)
    with SnapshotStage.start() as stage:
        target = UploadTarget(
            canister_id=stage.canister,
            network_id=NetworkId(stage.session.network_id()),
            state=tmp_path / "state",
        )
        tracemalloc.start()
        try:
            report = upload_snapshot(
                stage.management,
                target,
                plan_upload(folder),
                UploadChoices(read_back=ReadBack.SAMPLED),
                options=options(),
                progress=SilentTransfer(),
            )
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        counters = stage.server.faults.counters()
        canister = stage.server.replica.canisters[stage.raw]
        stable = canister.snapshots[bytes.fromhex(report.snapshot_id)].stable

        assert stable.size == SIZE
        kept = {
            page: stable.read(page * PAGE, PAGE)
            for start, end in stable.data_ranges()
            for page in range(start // PAGE, -(-end // PAGE))
        }
    wanted = {
        page + at: data[at * PAGE : (at + 1) * PAGE].ljust(PAGE, b"\0")
        for page, data in DATA.items()
        for at in range(-(-len(data) // PAGE))
    }
    assert {page: data for page, data in kept.items() if any(data)} == wanted
    assert report.total_bytes == SIZE + PAGE + len(MODULE)
    assert report.sent_bytes <= (len(wanted) + 4) * PAGE
    assert counters.bytes_in <= (len(wanted) + 8) * PAGE
    assert report.envelopes <= 20
    assert peak < 150 * MIB  # the replica's part is in it
