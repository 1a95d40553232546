import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.errors import DamageError, ProjectError
from dfx_backup.ic.snapshot_metadata import (
    GlobalKind,
    GlobalTimer,
    HookStatus,
    SnapshotMetadata,
    WasmGlobal,
)
from dfx_backup.ic.snapshot_parts import WasmChunk
from dfx_backup.transfer import metadata_json
from dfx_backup.transfer.folder import JOURNAL_NAME, check_folder
from dfx_backup.transfer.juno import split_chunks
from dfx_backup.transfer.snapshot_download import download_snapshot
from dfx_backup.transfer.terms import FolderKind, SilentTransfer
from dfx_backup.transfer.upload_plan import plan_upload
from tests.fakes.juno_folder import juno_folder
from tests.fakes.memory_slices import MODULE, PAGE, MemorySlices, quick
from tests.fakes.snapshot_folder import write_folder
from tests.fakes.snapshot_stage import tree

NAN = WasmGlobal(kind=GlobalKind.F64, value=0x7FF8000000000001)
INT = WasmGlobal(kind=GlobalKind.I32, value=-5)
LONG = WasmGlobal(kind=GlobalKind.I64, value=1 << 60)
WIDE = WasmGlobal(kind=GlobalKind.V128, value=2**127 + 1)
HEAP = b"heap".ljust(2 * PAGE, b"\0")
STABLE = bytes(6 * PAGE) + b"stable".ljust(PAGE, b"\0")
CHUNKS = (b"one", b"two" * 1000)


def copy(folder: Path, *globals_: WasmGlobal, **more: Any) -> Path:
    slices = MemorySlices()
    snapshot = slices.plant(
        heap=HEAP, stable=STABLE, chunks=CHUNKS, globals_=globals_ or (INT, LONG, WIDE), **more
    )
    download_snapshot(
        slices, slices.what(snapshot), folder, options=quick(), progress=SilentTransfer()
    )
    return folder


def dfx_copy(folder: Path, *globals_: WasmGlobal, **more: Any) -> Path:
    copy(folder, *globals_, **more)
    (folder / "backup.json").unlink()
    return folder


def icp_copy(folder: Path) -> Path:
    dfx_copy(folder)
    (folder / ".lock").touch()
    return folder


def juno_copy(folder: Path, **more: Any) -> Path:
    slices = MemorySlices()
    snapshot = slices.plant(
        heap=HEAP, stable=STABLE, chunks=CHUNKS, globals_=(INT, LONG, WIDE), **more
    )
    metadata = slices.held[snapshot].metadata
    return juno_folder(folder, metadata, (MODULE, HEAP, STABLE), CHUNKS)


MAKERS: dict[FolderKind, Callable[[Path], Path]] = {
    FolderKind.OURS: copy,
    FolderKind.DFX: dfx_copy,
    FolderKind.ICP: icp_copy,
    FolderKind.JUNO: juno_copy,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_whole_folder_of_each_kind(tmp_path: Path, kind: FolderKind) -> None:
    folder = MAKERS[kind](tmp_path / "copy")
    before = tree(folder)
    report = check_folder(folder)
    assert report.kind is kind
    assert report.problems == ()
    assert report.hashes == (kind in (FolderKind.OURS, FolderKind.JUNO))
    assert (report.identity is not None) == (kind is FolderKind.OURS)

    plan = plan_upload(folder)
    assert plan.origin.problems == ()
    assert plan.metadata.globals == (INT, LONG, WIDE)
    assert plan.metadata.global_timer == GlobalTimer(deadline_ns=12345)
    assert plan.metadata.hook_status is HookStatus.READY
    assert plan.total_bytes == len(MODULE) + len(HEAP) + len(STABLE) + sum(map(len, CHUNKS))
    assert plan.send_bytes == len(MODULE) + 2 * PAGE + PAGE + sum(map(len, CHUNKS)) - PAGE
    assert plan.zero_bytes == plan.total_bytes - plan.send_bytes
    assert plan.envelopes == 5
    assert plan.chunks == 2
    assert tree(folder) == before


def test_a_page_that_changed_is_found_without_a_hash_of_the_whole(tmp_path: Path) -> None:
    for size in (65536, 262144):
        folder = tmp_path / str(size)
        write_folder(folder, heap=HEAP, stable={5: b"five"}, page_bytes=size)
        report = check_folder(folder)
        assert (report.problems, report.hashes) == ((), True)
        told = {each.name: each.sha256 for each in report.files}
        assert told["wasm_memory.bin"] is None
        digest = plan_upload(folder).digest

        with (folder / "stable_memory.bin").open("r+b") as file:
            file.seek(5 * PAGE + 2)
            file.write(b"w")
        (problem,) = check_folder(folder).problems
        assert "stable_memory.bin is damaged" in problem
        assert plan_upload(folder).origin.problems == (problem,)
        assert plan_upload(folder).digest != digest


def test_chunks_of_every_kind_are_the_same(tmp_path: Path) -> None:
    for number, make in enumerate(MAKERS.values()):
        plan = plan_upload(make(tmp_path / str(number)))
        plan.origin.open()
        found = {
            data.part.hash: plan.origin.read(data, 0, data.size)
            for data in plan.sections
            if isinstance(data.part, WasmChunk)
        }
        plan.origin.close()
        assert found == {hashlib.sha256(chunk).digest(): chunk for chunk in CHUNKS}


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, (folder / name).stat().st_size - 1)


def flip(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)

    return change


def first_chunk() -> str:
    return f"wasm_chunk_store/{hashlib.sha256(CHUNKS[0]).hexdigest()}.bin"


PROBLEMS: list[tuple[FolderKind, Callable[[Path], None], str]] = [
    (FolderKind.DFX, cut("stable_memory.bin"), "stable_memory.bin has 458751 bytes where 458752"),
    (FolderKind.ICP, cut("wasm_memory.bin"), "wasm_memory.bin has 131071 bytes"),
    (FolderKind.DFX, lambda f: (f / "wasm_module.bin").unlink(), "wasm_module.bin is missing"),
    (FolderKind.DFX, lambda f: (f / "wasm_module.bin").write_bytes(b"#!" * 8 + b"!"), "is no Wasm"),
    (FolderKind.DFX, flip(first_chunk()), "is damaged: its SHA-256"),
    (FolderKind.DFX, lambda f: (f / first_chunk()).unlink(), "is missing"),
    (
        FolderKind.DFX,
        lambda f: (f / first_chunk()).write_bytes(bytes((1 << 20) + 1)),
        "larger than a chunk",
    ),
    (FolderKind.OURS, flip("wasm_memory.bin"), "wasm_memory.bin is damaged: its SHA-256"),
    (FolderKind.OURS, flip("stable_memory.bin"), "stable_memory.bin is damaged"),
    (FolderKind.OURS, flip("wasm_module.bin"), "wasm_module.bin is damaged"),
    (FolderKind.OURS, cut("wasm_memory.bin"), "wasm_memory.bin has"),
    (FolderKind.OURS, lambda f: edit(f, canister_version=1), "is not the one that backup.json"),
    (FolderKind.OURS, flip("backup.json"), "backup.json"),
    (FolderKind.JUNO, flip("heap.bin"), "heap.bin is damaged"),
    (FolderKind.JUNO, flip("chunks-store.bin"), "chunks-store.bin is damaged"),
    (FolderKind.JUNO, cut("stable.bin"), "stable.bin has"),
    (FolderKind.JUNO, lambda f: (f / "wasm-code.bin").unlink(), "wasm-code.bin is missing"),
    (FolderKind.DFX, lambda f: edit(f, wasm_module_size=0), "A module of 0 bytes"),
    (FolderKind.DFX, lambda f: edit(f, stable_memory_size=5), "A stable memory of 5 bytes"),
    (FolderKind.DFX, lambda f: edit(f, wasm_memory_size=7 << 30), "A Wasm memory of 7516192768"),
    (FolderKind.DFX, lambda f: edit(f, globals=[{"i32": 1}] * 1001), "1001 globals"),
    (FolderKind.DFX, lambda f: edit(f, certified_data=[1] * 33), "33 bytes of certified data"),
    (FolderKind.DFX, lambda f: edit(f, globals=[{"f64": None}]), "exact value of global 0"),
    (FolderKind.DFX, lambda f: edit(f, globals=[{"i32": 1}, None]), "exact value of global 1"),
    (FolderKind.OURS, lambda f: (f / JOURNAL_NAME).touch(), "unfinished download"),
    (FolderKind.ICP, lambda f: (f / ".download_progress.json").touch(), "unfinished download"),
    (FolderKind.DFX, lambda f: edit(f, taken_at_timestamp="x"), "can't be understood"),
    (FolderKind.DFX, lambda f: (f / "metadata.json").unlink(), "It has no metadata.json"),
]


@pytest.mark.parametrize(("kind", "harm", "text"), PROBLEMS, ids=[each[2] for each in PROBLEMS])
def test_every_problem_is_found_before_anything_is_sent(
    tmp_path: Path, kind: FolderKind, harm: Callable[[Path], None], text: str
) -> None:
    folder = MAKERS[kind](tmp_path / "copy")
    harm(folder)
    assert text in " ".join(check_folder(folder).problems)
    try:
        problems = " ".join(plan_upload(folder).origin.problems)
    except DamageError as error:
        problems = error.message
    assert text in problems


def test_the_bits_of_nan_come_from_backup_json(tmp_path: Path) -> None:
    ours = copy(tmp_path / "ours", NAN, INT)
    assert check_folder(ours).problems == ()
    assert plan_upload(ours).metadata.globals == (NAN, INT)
    theirs = dfx_copy(tmp_path / "theirs", NAN, INT)
    assert "exact value of global 0 is not known" in " ".join(check_folder(theirs).problems)


def test_juno_without_timer_hook_and_memories(tmp_path: Path) -> None:
    slices = MemorySlices()
    held = slices.held[slices.plant(heap=b"")]
    bare = replace(held.metadata, global_timer=None, hook_status=None)
    report = check_folder(juno_folder(tmp_path / "a", bare, (MODULE, b"", b"")))
    assert report.problems == ()
    assert report.metadata == bare
    idle = replace(bare, global_timer=GlobalTimer(deadline_ns=None))
    assert check_folder(juno_folder(tmp_path / "b", idle, (MODULE, b"", b""))).metadata == idle


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("metadata", 5),
        ("data", {"wasmModule": 5}),
        ("data", {"wasmModule": {"filename": "../x", "size": {"__bigint__": "8"}, "hash": ""}}),
        ("data", {"wasmModule": {"filename": "x", "size": {"__bigint__": "y"}, "hash": ""}}),
        ("data", {}),
    ],
)
def test_what_juno_does_not_write_is_a_problem(tmp_path: Path, name: str, value: object) -> None:
    folder = juno_copy(tmp_path / "copy")
    edit(folder, **{name: value})
    assert check_folder(folder).problems


def test_chunks_in_one_file_are_told_apart_by_their_hashes() -> None:
    chunks = [os.urandom(size) for size in (1 << 20, 1_000_000, 70_000, 1, 300)]
    hashes = [hashlib.sha256(chunk).digest() for chunk in chunks]
    ranges = split_chunks(b"".join(chunks), hashes, Path("x"))
    assert [size for _, size in ranges] == [len(chunk) for chunk in chunks]
    with pytest.raises(DamageError, match="belong to no chunk"):
        split_chunks(b"".join(chunks) + b"more", hashes, Path("x"))
    with pytest.raises(DamageError, match="does not hold the chunk"):
        split_chunks(b"".join(chunks), [hashes[1]], Path("x"))


def test_no_folder_and_no_access_are_told_apart_from_damage(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="there is no folder"):
        check_folder(tmp_path / "nowhere")
    with pytest.raises(ProjectError, match="there is no folder"):
        plan_upload(tmp_path / "nowhere")
    assert check_folder(tmp_path).kind is FolderKind.UNKNOWN
    with pytest.raises(DamageError, match=r"has no metadata\.json"):
        plan_upload(tmp_path)


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    folder = copy(tmp_path / "copy")
    path = folder / "backup.json"
    content = json.loads(path.read_text())
    content["files"].append({"name": "../../etc/passwd", "size": 1, "sha256": "ab" * 32})
    path.write_text(json.dumps(content))
    assert check_folder(folder).problems == ()


def test_the_digest_tells_contents_apart(tmp_path: Path) -> None:
    first = plan_upload(copy(tmp_path / "a")).digest
    assert plan_upload(copy(tmp_path / "b")).digest == first
    assert plan_upload(copy(tmp_path / "c", INT)).digest != first
    flipped = copy(tmp_path / "d")
    flip("wasm_memory.bin")(flipped)
    assert plan_upload(flipped).digest != first


def test_a_file_that_changes_after_the_plan_is_noticed(tmp_path: Path) -> None:
    folder = copy(tmp_path / "copy")
    plan = plan_upload(folder)
    plan.origin.check_unchanged()
    flip("wasm_memory.bin")(folder)
    with pytest.raises(DamageError, match="was changed"):
        plan.origin.check_unchanged()
    (folder / "wasm_memory.bin").unlink()
    with pytest.raises(DamageError, match="was changed"):
        plan.origin.check_unchanged()


def test_metadata_round_trip_is_exact_where_it_can_be(tmp_path: Path) -> None:
    folder = dfx_copy(tmp_path / "copy")
    metadata = plan_upload(folder).metadata
    assert isinstance(metadata, SnapshotMetadata)
    assert metadata_json.to_json(metadata) == (folder / "metadata.json").read_bytes()
