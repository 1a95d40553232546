import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.errors import DamageError, ProjectError
from dfx_backup.ic.canister_settings import Audience, CanisterSettings, Visibility
from dfx_backup.ic.snapshot_metadata import GlobalKind, WasmGlobal
from dfx_backup.model import Consistency
from dfx_backup.transfer import metadata_json
from dfx_backup.transfer.backup_details import BackupDetails
from dfx_backup.transfer.backup_json import BackupRecord, from_json, to_json
from dfx_backup.transfer.stable_details import StableDetails
from dfx_backup.transfer.stable_sidecar import Certified, Moment
from dfx_backup.transfer.terms import FileRecord, PageHash
from tests.fakes.memory_slices import MemorySlices

PATH = Path("copy/backup.json")
NAN = WasmGlobal(kind=GlobalKind.F64, value=0xFFF8000000000123)
SIGNALLING = WasmGlobal(kind=GlobalKind.F32, value=0x7F800001)
PAGES = PageHash(page_bytes=65536, sha256="cd" * 32)
PLAIN = WasmGlobal(kind=GlobalKind.I64, value=-1)


def record(*globals_: WasmGlobal | None) -> BackupRecord:
    return BackupRecord(
        identity=MemorySlices().what("00ff"),  # type: ignore[arg-type] # a snapshot id
        files=(
            FileRecord(name="wasm_module.bin", size=8, sha256="ab" * 32),
            FileRecord(name="wasm_memory.bin", size=9, sha256=None, pages=PAGES),
            FileRecord(name="stable_memory.bin", size=9, sha256="ef" * 32, pages=PAGES),
        ),
        globals=globals_,
    )


def test_what_is_written_is_read() -> None:
    told = record(NAN, SIGNALLING, PLAIN, None)
    assert from_json(to_json(told), PATH) == told


DETAILS = BackupDetails(
    backup_id="0f" * 16,
    network_name="local",
    taken_at_ns=1_700_000_000_123_456_789,
    consistency=Consistency.CONSISTENT,
    set_id="ab" * 16,
    set_canisters=("aaaaa-aa", "2vxsx-fae"),
    canister_name="chat",
    module_hash="cd" * 32,
    canister_version=7,
    level=2,
    ours_only=True,
    driver="agent",
    outage_s=1.5,
    cycles=10**24,
    cycles_estimate=1,
    certificate_time=1_700_000_000.0,
    settings=CanisterSettings(
        controllers=("aaaaa-aa",),
        freezing_threshold=10**20,
        log_visibility=Visibility(audience=Audience.ALLOWED_VIEWERS, viewers=("2vxsx-fae",)),
        environment_variables=(("A", "b"),),
    ),
    candid=(("candid:service", "service : {}"),),
    raw_bytes=3,
    new_bytes=2,
    stored_bytes=1,
)


STREAM = StableDetails(
    stream="users",
    kind="virtual_memory",
    protocol="backup",
    kit="rust 0.1.0",
    size=5,
    chunk_size=983040,
    root="ab" * 32,
    certified=Certified.HASHES,
    moment=Moment.SECOND_PASS,
    versions=(4, 9),
)


@pytest.mark.parametrize(
    "details",
    [
        DETAILS,
        replace(DETAILS, kind="stable", stable=STREAM),
        replace(DETAILS, kind="stable", stable=replace(STREAM, versions=None)),
    ],
    ids=["snapshot", "stable", "stable without versions"],
)
def test_what_a_backup_knows_is_read_as_it_was_written(details: BackupDetails) -> None:
    told = replace(record(PLAIN), backup=details)

    assert from_json(to_json(told), PATH) == told


def test_a_stream_has_its_section() -> None:
    with pytest.raises(DamageError, match="'stable' is missing"):
        from_json(to_json(replace(record(), backup=replace(DETAILS, kind="stable"))), PATH)
    content = json.loads(to_json(replace(record(), backup=DETAILS)))
    assert "stable" not in content["backup"]


def test_unknown_fields_are_kept_and_written_back() -> None:
    content = json.loads(to_json(replace(record(PLAIN), backup=DETAILS)))
    content["newer"] = {"a": [1]}
    content["backup"]["newer"] = None
    data = json.dumps(content).encode()

    assert json.loads(to_json(from_json(data, PATH))) == content


@pytest.mark.parametrize(
    "changes",
    [
        {"backup_id": "0F" * 16},
        {"set_id": "ab"},
        {"level": 10},
        {"consistency": "good"},
        {"cycles": 5},
        {"cycles": "-5"},
        {"settings": []},
        {"settings": {"controllers": "aaaaa-aa"}},
        {"settings": {"log_visibility": {"audience": "all", "viewers": []}}},
        {"candid": {"a": 1}},
        {"ours_only": None},
    ],
    ids=str,
)
def test_a_section_that_nobody_wrote_is_refused(changes: dict[str, Any]) -> None:
    content = json.loads(to_json(replace(record(PLAIN), backup=DETAILS)))
    content["backup"] |= changes
    with pytest.raises(DamageError, match=r"copy/backup\.json can't be understood"):
        from_json(json.dumps(content).encode(), PATH)


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
        {"files": [{"name": "x", "size": 1}]},
        {"files": [{"name": "x", "size": 1, "sha256": None, "pages": None}]},
        {"files": [{"name": "x", "size": 1, "sha256": None, "pages": "cd" * 32}]},
        {"files": [{"name": "x", "size": 1, "pages": {"bytes": 65536}}]},
        {"files": [{"name": "x", "size": 1, "pages": {"bytes": 65536, "sha256": "cd"}}]},
        {"files": [{"name": "x", "size": 1, "pages": {"bytes": 1, "sha256": "cd" * 32}}]},
        {"files": [{"name": "x", "size": 1, "sha256": "ab" * 32, "pages": {}}]},
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
