import errno
import hashlib
import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.errors import (
    BackupError,
    CertificateError,
    DamageError,
    InterruptedRunError,
    LockedError,
    NetworkError,
    ProjectError,
    RefusedError,
    RejectError,
)
from dfx_backup.ic.snapshot_metadata import GlobalKind, SnapshotSource, WasmGlobal
from dfx_backup.ic.snapshot_parts import Slice
from dfx_backup.transfer import metadata_json
from dfx_backup.transfer.folder import JOURNAL_NAME, check_folder
from dfx_backup.transfer.section_file import SectionFile
from dfx_backup.transfer.snapshot_download import download_snapshot
from dfx_backup.transfer.terms import DownloadReport, FolderKind, KnownModule, SilentTransfer
from tests.fakes.memory_slices import (
    MODULE,
    NETWORK,
    PAGE,
    MemorySlices,
    broken,
    expired,
    http,
    lost,
    quick,
    reject,
)
from tests.fakes.snapshot_stage import tree

STABLE = os.urandom(5_000_000) + bytes(10 * PAGE - 5_000_000 % PAGE)
NAN = WasmGlobal(kind=GlobalKind.F64, value=0x7FF8000000000001)


@pytest.fixture
def slices() -> MemorySlices:
    return MemorySlices()


def download(slices: MemorySlices, snapshot: Any, folder: Path, **more: Any) -> DownloadReport:
    values: dict[str, Any] = {"options": quick(slices.time), "progress": SilentTransfer()}
    what = more.pop("what", slices.what(snapshot))
    return download_snapshot(slices, what, folder, **(values | more))


def plant(slices: MemorySlices, **more: Any) -> Any:
    return slices.plant(**({"stable": STABLE, "chunks": (b"one", b"two")} | more))


def expected(slices: MemorySlices, snapshot: Any) -> dict[str, bytes]:
    held = slices.held[snapshot]
    names = ("wasm_module.bin", "wasm_memory.bin", "stable_memory.bin")
    files = dict(zip(names, map(bytes, held.sections.values()), strict=True))
    if not files["stable_memory.bin"]:
        del files["stable_memory.bin"]
    files |= {f"wasm_chunk_store/{key.hex()}.bin": data for key, data in held.chunks.items()}
    return files | {"metadata.json": metadata_json.to_json(held.metadata)}


def test_a_download_is_everything_in_the_layout_of_dfx(
    slices: MemorySlices, tmp_path: Path
) -> None:
    snapshot = plant(slices, globals_=(NAN,))
    report = download(slices, snapshot, tmp_path / "new" / "copy")
    found = tree(report.folder)
    record = json.loads(found.pop("backup.json"))
    assert found == expected(slices, snapshot)
    assert record["snapshot_id"] == snapshot
    assert record["network_id"] == NETWORK
    assert {each["name"]: each["sha256"] for each in record["files"]} == {
        name: hashlib.sha256(data).hexdigest() for name, data in found.items()
    }
    assert {each.name: each.sha256 for each in report.files} == {
        each["name"]: each["sha256"] for each in record["files"]
    }
    total = sum(map(len, found.values())) - len(found["metadata.json"])
    assert report.total_bytes == report.moved_bytes == total
    assert report.zero_bytes >= 9 * PAGE
    assert report.slices == slices.count("read_data")
    assert check_folder(report.folder).problems == ()


def test_only_the_owner_may_read_it(slices: MemorySlices, tmp_path: Path) -> None:
    report = download(slices, plant(slices), tmp_path / "copy")
    modes = {each.stat().st_mode & 0o777 for each in report.folder.rglob("*") if each.is_file()}
    assert modes == {0o600}
    assert report.folder.stat().st_mode & 0o777 == 0o700
    assert (report.folder / "wasm_chunk_store").stat().st_mode & 0o777 == 0o700


def test_what_is_empty_has_no_file_except_what_dfx_needs(
    slices: MemorySlices, tmp_path: Path
) -> None:
    report = download(slices, slices.plant(heap=b""), tmp_path / "copy")
    assert sorted(tree(report.folder)) == [
        "backup.json",
        "metadata.json",
        "wasm_memory.bin",
        "wasm_module.bin",
    ]


@pytest.mark.parametrize(
    "error",
    [
        broken,
        lost,
        expired,
        lambda: http(429),
        lambda: http(503),
        lambda: reject("IC0210"),
        lambda: reject("IC0211"),
    ],
)
def test_errors_that_pass_are_sat_out(slices: MemorySlices, tmp_path: Path, error: Any) -> None:
    snapshot = plant(slices)
    slices.fail("read_metadata", error, times=2)
    slices.fail("read_data", error, times=3, skip=1)
    told: list[str] = []

    class Progress(SilentTransfer):
        def retry(self, reason: str) -> None:
            told.append(reason)

    report = download(slices, snapshot, tmp_path / "copy", progress=Progress())
    assert check_folder(report.folder).problems == ()
    assert report.retries >= 3
    assert len(told) >= 5


@pytest.mark.parametrize("code", ["IC0207", "IC0305", "IC0408", "IC0409", "IC0512"])
def test_refusals_end_it_and_it_can_be_resumed(
    slices: MemorySlices, tmp_path: Path, code: str
) -> None:
    snapshot = plant(slices)
    slices.fail("read_data", lambda: reject(code), skip=2)
    with pytest.raises(RejectError) as caught:
        download(slices, snapshot, tmp_path / "copy", options=quick(slices.time, window=1))
    assert caught.value.error_code == code
    assert slices.count("read_data") == 3
    report = download(slices, snapshot, tmp_path / "copy", resume=True)
    assert report.slices == slices.count("read_data") - 3
    assert report.resumed_bytes + report.moved_bytes == report.total_bytes
    assert tree(report.folder).keys() == expected(slices, snapshot).keys() | {"backup.json"}


def test_a_missing_snapshot_leaves_no_folder_behind(slices: MemorySlices, tmp_path: Path) -> None:
    with pytest.raises(RejectError):
        download(slices, "00", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    (tmp_path / "there").mkdir()
    with pytest.raises(RejectError):
        download(slices, "00", tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []


def test_a_slice_of_the_wrong_size_is_refused(slices: MemorySlices, tmp_path: Path) -> None:
    slices.corrupt = lambda part, data: data[:-1] if isinstance(part, Slice) else data
    with pytest.raises(NetworkError, match=r"bytes came where .* of wasm_module were asked for"):
        download(slices, plant(slices), tmp_path / "copy", options=quick(window=1))


def test_a_chunk_with_other_bytes_is_refused(slices: MemorySlices, tmp_path: Path) -> None:
    slices.corrupt = lambda part, data: data if isinstance(part, Slice) else b"x" + data[1:]
    with pytest.raises(NetworkError, match="other bytes came than the Wasm chunk"):
        download(slices, plant(slices), tmp_path / "copy")


def test_what_is_not_certified_ends_it(slices: MemorySlices, tmp_path: Path) -> None:
    slices.fail("read_data", lambda: CertificateError("not signed by this network"))
    with pytest.raises(CertificateError):
        download(slices, plant(slices), tmp_path / "copy")
    assert not (tmp_path / "copy" / "metadata.json").exists()


# Resume


def interrupted(slices: MemorySlices, folder: Path, *, after: int = 2, **more: Any) -> Any:
    snapshot = plant(slices, **more)
    slices.fail("read_data", lambda: reject("IC0207"), skip=after)
    with pytest.raises(RejectError):
        download(slices, snapshot, folder, options=quick(slices.time, window=1))
    slices.calls.clear()
    return snapshot


def test_finished_slices_are_not_read_again(slices: MemorySlices, tmp_path: Path) -> None:
    snapshot = interrupted(slices, tmp_path / "copy", after=3)
    report = download(slices, snapshot, tmp_path / "copy", resume=True)
    read = [part for name, part in slices.calls if name == "read_data"]
    assert [(part.section, part.offset) for part in read[:-2]] == [
        ("stable_memory", 2_000_000),
        ("stable_memory", 4_000_000),
    ]
    assert report.resumed_bytes == len(MODULE) + PAGE + 2_000_000
    found = tree(report.folder)
    del found["backup.json"]
    assert found == expected(slices, snapshot)


def test_slices_that_were_damaged_since_are_read_again(
    slices: MemorySlices, tmp_path: Path
) -> None:
    snapshot = interrupted(slices, tmp_path / "copy", after=5)
    with (tmp_path / "copy" / "stable_memory.bin").open("r+b") as file:
        file.seek(1_000_000)
        file.write(bytes(3))  # a hole that a power cut left
    report = download(slices, snapshot, tmp_path / "copy", resume=True)
    again = [part for name, part in slices.calls if name == "read_data"]
    assert [part.offset for part in again if isinstance(part, Slice)] == [0]
    assert tree(report.folder)["stable_memory.bin"] == STABLE


def test_garbage_where_zeros_belong_is_cleared(slices: MemorySlices, tmp_path: Path) -> None:
    snapshot = interrupted(slices, tmp_path / "copy", after=4)
    with (tmp_path / "copy" / "stable_memory.bin").open("r+b") as file:
        file.seek(len(STABLE) - 5 * PAGE)
        file.write(b"garbage")
    report = download(slices, snapshot, tmp_path / "copy", resume=True)
    assert tree(report.folder)["stable_memory.bin"] == STABLE


def test_chunks_that_are_there_are_kept_and_damaged_ones_are_not(
    slices: MemorySlices, tmp_path: Path
) -> None:
    snapshot = interrupted(slices, tmp_path / "copy", after=6, chunks=(b"one", b"two", b"six"))
    there = sorted((tmp_path / "copy" / "wasm_chunk_store").iterdir())
    assert len(there) == 1
    there[0].write_bytes(b"damaged")
    report = download(slices, snapshot, tmp_path / "copy", resume=True)
    assert slices.count("read_data") == 3
    assert check_folder(report.folder).problems == ()


def test_a_folder_that_is_in_use_is_not_touched(slices: MemorySlices, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    snapshot = interrupted(slices, folder)
    before = tree(folder)
    with pytest.raises(RefusedError, match="unfinished download") as caught:
        download(slices, snapshot, folder)
    assert "--resume" in (caught.value.hint or "")
    assert tree(folder) == before


@pytest.mark.parametrize("resume", [True, False])
def test_a_folder_with_something_else_is_refused(
    slices: MemorySlices, tmp_path: Path, *, resume: bool
) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(RefusedError, match="is not empty"):
        download(slices, plant(slices), tmp_path, resume=resume)
    assert tree(tmp_path) == {"holiday.jpg": b"x"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("snapshot_id", "00ee"), ("canister_id", "aaaaa-aa"), ("network_id", "11" * 32)],
)
def test_resume_refuses_the_folder_of_something_else(
    slices: MemorySlices, tmp_path: Path, name: str, value: str
) -> None:
    snapshot = interrupted(slices, tmp_path / "copy")
    other = slices.what(snapshot, **{name: value})
    with pytest.raises(RefusedError, match=value):
        download(slices, snapshot, tmp_path / "copy", resume=True, what=other)
    assert slices.calls == []
    download(slices, snapshot, tmp_path / "copy", resume=True)
    with pytest.raises(RefusedError, match="holds another snapshot"):
        download(slices, snapshot, tmp_path / "copy", resume=True, what=other)


def test_a_snapshot_that_has_changed_is_found_out(slices: MemorySlices, tmp_path: Path) -> None:
    snapshot = interrupted(slices, tmp_path / "copy")
    held = slices.held[snapshot]
    held.metadata = replace(held.metadata, canister_version=8)
    with pytest.raises(DamageError, match="metadata has changed"):
        download(slices, snapshot, tmp_path / "copy", resume=True)


def test_resume_begins_where_nothing_is(slices: MemorySlices, tmp_path: Path) -> None:
    report = download(slices, plant(slices), tmp_path / "copy", resume=True)
    assert report.resumed_bytes == 0


def test_resuming_what_is_finished_checks_it_and_asks_nobody(
    slices: MemorySlices, tmp_path: Path
) -> None:
    snapshot = plant(slices)
    first = download(slices, snapshot, tmp_path / "copy")
    slices.calls.clear()
    again = download(slices, snapshot, tmp_path / "copy", resume=True)
    assert slices.calls == []
    assert again.files == first.files
    assert again.resumed_bytes == again.total_bytes == first.total_bytes
    (tmp_path / "copy" / "wasm_memory.bin").write_bytes(b"\1" + bytes(PAGE - 1))
    with pytest.raises(DamageError, match="wasm_memory"):
        download(slices, snapshot, tmp_path / "copy", resume=True)


def test_two_downloads_into_one_folder(slices: MemorySlices, tmp_path: Path) -> None:
    snapshot = plant(slices)
    inside, go_on = threading.Event(), threading.Event()

    def wait(method: str) -> None:
        if method == "read_data":
            inside.set()
            go_on.wait(10)

    slices.before_call = wait
    first = threading.Thread(target=download, args=(slices, snapshot, tmp_path / "copy"))
    first.start()
    assert inside.wait(10)
    with pytest.raises(LockedError):
        download(MemorySlices(), snapshot, tmp_path / "copy", resume=True)
    go_on.set()
    first.join(10)
    assert check_folder(tmp_path / "copy").problems == ()


def test_an_interrupted_download_can_be_resumed(slices: MemorySlices, tmp_path: Path) -> None:
    snapshot = plant(slices)
    options = quick(slices.time, window=1, should_stop=lambda: slices.count("read_data") > 2)
    slices.before_call = lambda _method: threading.Event().wait(0.12)  # type: ignore[assignment,return-value] # slower than the look
    with pytest.raises(InterruptedRunError):
        download(slices, snapshot, tmp_path / "copy", options=options)
    slices.before_call = lambda _method: None
    before = slices.count("read_data")
    report = download(slices, snapshot, tmp_path / "copy", resume=True)
    assert report.resumed_bytes > 0
    assert slices.count("read_data") - before == report.slices
    assert check_folder(tmp_path / "copy").problems == ()


def test_a_full_disk_is_told_and_the_rest_comes_later(
    slices: MemorySlices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = plant(slices)
    real = SectionFile.put

    def full(file: SectionFile, offset: int, data: bytes) -> int:
        if offset == 2_000_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, offset, data)

    with monkeypatch.context() as patch:
        patch.setattr(SectionFile, "put", full)
        with pytest.raises(ProjectError, match="No space left") as caught:
            download(slices, snapshot, tmp_path / "copy", options=quick(slices.time, window=1))
    assert "--resume" in (caught.value.hint or "")
    report = download(slices, snapshot, tmp_path / "copy", resume=True)
    assert report.resumed_bytes > 2_000_000
    assert check_folder(tmp_path / "copy").problems == ()


def test_a_killed_begin_is_taken_for_an_empty_folder(slices: MemorySlices, tmp_path: Path) -> None:
    (tmp_path / JOURNAL_NAME).write_bytes(b"")
    download(slices, plant(slices), tmp_path)
    assert check_folder(tmp_path).problems == ()


def test_a_journal_of_something_else_is_damage(slices: MemorySlices, tmp_path: Path) -> None:
    (tmp_path / JOURNAL_NAME).write_bytes(b'{"format":"dfx-backup upload","version":1}\n')
    with pytest.raises(DamageError, match="is no `dfx-backup download`"):
        download(slices, plant(slices), tmp_path, resume=True)


def test_data_is_forced_to_the_disk_now_and_then(
    slices: MemorySlices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    monkeypatch.setattr(SectionFile, "sync", lambda file: synced.append(file.path.name))
    options = quick(slices.time, window=1, checkpoint_bytes=4_000_000)
    download(slices, plant(slices), tmp_path / "copy", options=options)
    assert synced.count("stable_memory.bin") == 2  # once on the way, once in the end


# A module that is known


def known(folder: Path, module: bytes = MODULE, **more: Any) -> KnownModule:
    path = folder / "module.wasm"
    path.write_bytes(module)
    told = hashlib.sha256(MODULE).hexdigest()
    values: dict[str, Any] = {"path": path, "module_hash": told, "canister_version": 7}
    return KnownModule(**(values | more))


def test_a_module_that_is_proven_is_not_read(slices: MemorySlices, tmp_path: Path) -> None:
    snapshot = plant(slices)
    report = download(slices, snapshot, tmp_path / "copy", known_module=known(tmp_path))
    assert report.known_bytes == len(MODULE)
    parts = [part for name, part in slices.calls if name == "read_data"]
    assert all(getattr(part, "section", None) != "wasm_module" for part in parts)
    assert tree(report.folder)["wasm_module.bin"] == MODULE


@pytest.mark.parametrize(
    "change",
    [
        {"canister_version": 8},
        {"module": b"another module"},
        {"path": Path("/nowhere/at/all")},
    ],
    ids=str,
)
def test_a_module_without_proof_is_read(
    slices: MemorySlices, tmp_path: Path, change: dict[str, Any]
) -> None:
    report = download(
        slices, plant(slices), tmp_path / "copy", known_module=known(tmp_path, **change)
    )
    assert report.known_bytes == 0
    assert tree(report.folder)["wasm_module.bin"] == MODULE


def test_an_uploaded_snapshot_is_at_no_version_of_the_canister(
    slices: MemorySlices, tmp_path: Path
) -> None:
    snapshot = plant(slices, source=SnapshotSource.METADATA_UPLOAD)
    report = download(slices, snapshot, tmp_path / "copy", known_module=known(tmp_path))
    assert report.known_bytes == 0


def test_a_module_that_is_not_the_canisters_is_damage(slices: MemorySlices, tmp_path: Path) -> None:
    evidence = known(tmp_path, module=b"?", module_hash="ab" * 32)
    with pytest.raises(DamageError, match="module has SHA-256"):
        download(slices, plant(slices), tmp_path / "copy", known_module=evidence)
    assert not (tmp_path / "copy" / "metadata.json").exists()


def test_check_folder_names_the_kind(slices: MemorySlices, tmp_path: Path) -> None:
    report = download(slices, plant(slices), tmp_path / "copy")
    found = check_folder(report.folder)
    assert found.kind is FolderKind.OURS
    assert found.hashes
    assert found.identity == slices.what(found.identity.snapshot_id)  # type: ignore[union-attr] # it is ours
    assert issubclass(DamageError, BackupError)
