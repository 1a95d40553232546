import json
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.errors import DamageError, ProjectError
from dfx_backup.ic.snapshot_metadata import GlobalKind, WasmGlobal
from dfx_backup.transfer import metadata_json
from dfx_backup.transfer.backup_json import BackupRecord, from_json, to_json
from dfx_backup.transfer.terms import FileRecord
from tests.fakes.memory_slices import MemorySlices

PATH = Path("copy/backup.json")
NAN = WasmGlobal(kind=GlobalKind.F64, value=0xFFF8000000000123)
SIGNALLING = WasmGlobal(kind=GlobalKind.F32, value=0x7F800001)
PLAIN = WasmGlobal(kind=GlobalKind.I64, value=-1)


def record(*globals_: WasmGlobal | None) -> BackupRecord:
    return BackupRecord(
        identity=MemorySlices().what("00ff"),  # type: ignore[arg-type] # a snapshot id
        files=(FileRecord(name="wasm_module.bin", size=8, sha256="ab" * 32),),
        globals=globals_,
    )


def test_what_is_written_is_read() -> None:
    told = record(NAN, SIGNALLING, PLAIN, None)
    assert from_json(to_json(told), PATH) == told


def test_the_bits_that_metadata_json_lacks_are_put_back() -> None:
    slices = MemorySlices()
    snapshot = slices.plant(globals_=(NAN, PLAIN, SIGNALLING))
    exact = slices.held[snapshot].metadata
    lossy = metadata_json.from_json(metadata_json.to_json(exact), PATH)
    assert lossy != exact
    assert record(NAN, PLAIN, SIGNALLING).completed(lossy) == exact


def test_other_globals_are_not_put_in_place_of_those_of_metadata_json() -> None:
    slices = MemorySlices()
    metadata = slices.held[slices.plant(globals_=(PLAIN,))].metadata
    assert record(NAN).completed(metadata) is None
    assert record(PLAIN, PLAIN).completed(metadata) is None


def change(**changes: Any) -> bytes:
    return json.dumps(json.loads(to_json(record(PLAIN))) | changes).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "something else"},
        {"canister_id": None},
        {"created_at": "now"},
        {"files": [{"name": "x", "size": -1, "sha256": "ab" * 32}]},
        {"files": [{"name": "x", "size": 1, "sha256": "AB" * 32}]},
        {"files": "none"},
        {"globals": None},
        {"globals": [3]},
        {"globals": [{"type": "f16", "value": "1"}]},
        {"globals": [{"type": "i32", "value": "2147483648"}]},
        {"globals": [{"type": "f64", "value": "-1"}]},
        {"globals": [{"type": "i32"}]},
    ],
    ids=str,
)
def test_anything_else_is_refused_and_the_file_named(changes: dict[str, Any]) -> None:
    with pytest.raises(DamageError, match=r"copy/backup\.json can't be understood"):
        from_json(change(**changes), PATH)


def test_a_newer_format_is_told() -> None:
    with pytest.raises(ProjectError, match="format 2"):
        from_json(change(version=2), PATH)


@pytest.mark.parametrize("data", [b"", b"[]", b"{"])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(DamageError, match=r"backup\.json"):
        from_json(data, PATH)
