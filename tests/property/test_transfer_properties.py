"""Transfers against models: runs of zeros, texts of floats, and any order of interruptions."""

import hashlib
import json
import os
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfx_backup.errors import BackupError, DamageError, ProjectError
from dfx_backup.ic.snapshot_metadata import (
    GlobalKind,
    GlobalTimer,
    HookStatus,
    SnapshotMetadata,
    SnapshotSource,
    WasmGlobal,
)
from dfx_backup.transfer import metadata_json
from dfx_backup.transfer.float_text import F32, F64, float_text
from dfx_backup.transfer.folder import check_folder
from dfx_backup.transfer.page_hash import FileHash
from dfx_backup.transfer.resume import Journal
from dfx_backup.transfer.slices import data_runs
from dfx_backup.transfer.snapshot_download import download_snapshot
from dfx_backup.transfer.snapshot_upload import upload_snapshot
from dfx_backup.transfer.terms import ReadBack, SilentTransfer, UploadChoices, UploadTarget
from dfx_backup.transfer.upload_plan import plan_upload
from tests.fakes.memory_slices import (
    CANISTER,
    NETWORK,
    PAGE,
    MemorySlices,
    broken,
    http,
    lost,
    quick,
    reject,
)
from tests.fakes.snapshot_folder import paged

PATH = Path("metadata.json")


# Floats


@settings(deadline=None)
@given(st.integers(0, (1 << 64) - 1))
def test_a_double_reads_back_and_is_as_short_as_can_be(bits: int) -> None:
    text = float_text(bits, F64)
    value = struct.unpack("<d", struct.pack("<Q", bits))[0]
    if text is None:
        assert value != value or value in (float("inf"), float("-inf"))  # noqa: PLR0124 # NaN
        return
    assert struct.pack("<d", float(text)) == struct.pack("<Q", bits)
    assert len(_digits(text)) <= len(_digits(repr(value)))


@settings(deadline=None)
@given(st.integers(0, (1 << 32) - 1))
def test_a_single_reads_back_and_no_shorter_text_does(bits: int) -> None:
    text = float_text(bits, F32)
    if text is None:
        assert bits >> 23 & 0xFF == 0xFF
        return
    assert struct.pack("<f", float(text)) == struct.pack("<I", bits)
    digits = len(_digits(text))
    value = struct.unpack("<f", struct.pack("<I", bits))[0]
    if digits > 1:
        shorter = f"{value:.{digits - 2}e}"
        assert _single(float(shorter)) != struct.pack("<I", bits)


def _digits(text: str) -> str:
    return text.lstrip("-").split("e")[0].replace(".", "").strip("0")


def _single(value: float) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return b""


# metadata.json

globals_ = st.one_of(
    st.builds(WasmGlobal, kind=st.just(GlobalKind.I32), value=st.integers(-(1 << 31), 2**31 - 1)),
    st.builds(WasmGlobal, kind=st.just(GlobalKind.I64), value=st.integers(-(1 << 63), 2**63 - 1)),
    st.builds(WasmGlobal, kind=st.just(GlobalKind.F32), value=st.integers(0, 0x7F7FFFFF)),
    st.builds(WasmGlobal, kind=st.just(GlobalKind.F64), value=st.integers(0, 0x7FEF << 48)),
    st.builds(WasmGlobal, kind=st.just(GlobalKind.V128), value=st.integers(0, 2**128 - 1)),
)
u64 = st.integers(0, (1 << 64) - 1)
metadata = st.builds(
    SnapshotMetadata,
    source=st.none() | st.sampled_from(SnapshotSource),
    taken_at_ns=u64,
    wasm_module_size=u64,
    globals=st.lists(globals_, max_size=5).map(tuple),
    wasm_memory_size=u64,
    stable_memory_size=u64,
    wasm_chunk_store=st.lists(st.binary(min_size=32, max_size=32), max_size=2).map(tuple),
    canister_version=u64,
    certified_data=st.binary(max_size=32),
    global_timer=st.none() | st.builds(GlobalTimer, deadline_ns=st.none() | u64),
    hook_status=st.none() | st.sampled_from(HookStatus),
)


@settings(deadline=None)
@given(metadata)
def test_metadata_is_json_and_reads_back(told: SnapshotMetadata) -> None:
    text = metadata_json.to_json(told)
    json.loads(text)
    assert metadata_json.from_json(text, PATH) == told


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
KEYS = (
    "source",
    "taken_at_timestamp",
    "globals",
    "wasm_chunk_store",
    "certified_data",
    "global_timer",
    "on_low_wasm_memory_hook_status",
    "metadata",
    "data",
    "snapshotId",
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), json_values))
def test_garbage_in_a_folder_is_a_problem_and_never_a_crash(changes: dict[str, Any]) -> None:
    slices = MemorySlices()
    good = json.loads(metadata_json.to_json(slices.held[slices.plant()].metadata))
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "metadata.json").write_text(json.dumps(good | changes))
        try:
            assert check_folder(Path(name)).problems
            plan_upload(Path(name))
        except (DamageError, ProjectError):
            pass


# Runs of zeros


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text("D0.", max_size=80), st.integers(0, PAGE - 1))
def test_runs_are_those_of_a_model(tmp_path: Path, pattern: str, rest: int) -> None:
    path = tmp_path / "file"
    size = len(pattern) * PAGE + rest
    with path.open("wb") as file:
        for at, kind in enumerate(pattern):
            if kind != ".":
                file.seek(at * PAGE)
                file.write((b"\1" if kind == "D" else b"\0").rjust(PAGE, b"\0"))
        file.truncate(size)
    handle = os.open(path, os.O_RDONLY)
    try:
        hashes = FileHash(page_bytes=PAGE)
        found = list(data_runs(handle, size, hashes=hashes))
    finally:
        os.close(handle)
    data = path.read_bytes()
    assert hashes.sha256 == hashlib.sha256(data).hexdigest()
    assert hashes.pages == paged("", data, PAGE).pages
    assert found == _model(pattern)


def _model(pattern: str) -> list[tuple[int, int]]:
    """Split where four or more pages are zero, and cut the zeros at both ends."""
    found: list[tuple[int, int]] = []
    for page in (at for at, kind in enumerate(pattern) if kind == "D"):
        if found and page - found[-1][1] < 4:
            found[-1] = (found[-1][0], page + 1)
        else:
            found.append((page, page + 1))
    return [(begin * PAGE, end * PAGE) for begin, end in found]


# The journal


@settings(deadline=None)
@given(st.lists(st.integers() | st.text() | st.lists(st.integers()), max_size=6), st.data())
def test_a_journal_cut_anywhere_keeps_a_beginning(steps: list[Any], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "journal"
        journal = Journal.open(path)
        journal.begin({"a": 1})
        for step in steps:
            journal.add(step)
        journal.close()
        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
        again = Journal.open(path)
        kept = list(again.lines)
        again.close()
        assert kept == steps[: len(kept)]


# Interruptions

ERRORS = [broken, lost, lambda: http(429), lambda: http(503), lambda: reject("IC0210")]
ENDS = [lambda: reject("IC0207"), lambda: KeyboardInterrupt(), lambda: MemoryError()]  # noqa: PLW0108 # fresh ones
PIECES = st.sampled_from([b"x".ljust(PAGE, b"\0"), bytes(PAGE), bytes(5 * PAGE), b"y" * PAGE * 20])
faults = st.lists(
    st.tuples(
        st.sampled_from(["read_data", "upload_data", "upload_metadata", "list", "read_metadata"]),
        st.sampled_from(ERRORS) | st.sampled_from(ENDS),
        st.integers(0, 12),
        st.booleans(),
    ),
    max_size=6,
)


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(PIECES, max_size=6).map(b"".join), st.integers(1, 5), faults, faults)
def test_whatever_goes_wrong_the_copy_of_the_copy_is_the_same(
    stable: bytes, window: int, on_the_way_out: list[Any], on_the_way_in: list[Any]
) -> None:
    slices = MemorySlices()
    original = slices.plant(stable=stable, chunks=(b"one", b"two"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "copy"
        _break(slices, on_the_way_out)
        _until_done(
            lambda: download_snapshot(
                slices,
                slices.what(original),
                folder,
                options=quick(slices.time, window=window),
                progress=SilentTransfer(),
                resume=True,
            )
        )
        assert check_folder(folder).problems == ()
        _break(slices, on_the_way_in)
        plan = plan_upload(folder)
        report = _until_done(
            lambda: upload_snapshot(
                slices,
                UploadTarget(
                    canister_id=CANISTER, network_id=NETWORK, state=Path(name) / "s" / "x"
                ),
                plan,
                UploadChoices(read_back=ReadBack.ALL),
                options=quick(slices.time, window=window),
                progress=SilentTransfer(),
            )
        )
    first, second = slices.held[original], slices.held[report.snapshot_id]
    assert (first.sections, first.chunks) == (second.sections, second.chunks)
    assert len(slices.held) == 2


def _break(slices: MemorySlices, wanted: list[Any]) -> None:
    slices.faults.clear()
    for method, error, skip, executed in wanted:
        slices.fail(method, error, skip=skip, executed=executed)


def _until_done(action: Any) -> Any:
    for _ in range(10):
        try:
            return action()
        except (BackupError, KeyboardInterrupt, MemoryError):
            continue
    pytest.fail("it never ended")
