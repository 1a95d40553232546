import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.errors import DamageError
from dfx_backup.ic.snapshot_metadata import (
    GlobalKind,
    GlobalTimer,
    HookStatus,
    SnapshotMetadata,
    SnapshotSource,
    WasmGlobal,
)
from dfx_backup.transfer.metadata_json import from_json, to_json

PATH = Path("copy/metadata.json")
NAN = WasmGlobal(kind=GlobalKind.F64, value=0x7FF8000000000001)

METADATA = SnapshotMetadata(
    source=SnapshotSource.TAKEN_FROM_CANISTER,
    taken_at_ns=1726515623000000000,
    wasm_module_size=1234567,
    globals=(
        WasmGlobal(kind=GlobalKind.I32, value=-5),
        WasmGlobal(kind=GlobalKind.I64, value=-(1 << 63)),
        WasmGlobal(kind=GlobalKind.F32, value=0x3DCCCCCD),
        WasmGlobal(kind=GlobalKind.F64, value=0xBFD0000000000000),
        WasmGlobal(kind=GlobalKind.V128, value=2**127 + 1),
        WasmGlobal(kind=GlobalKind.V128, value=0),
    ),
    wasm_memory_size=1114112,
    stable_memory_size=0,
    wasm_chunk_store=(bytes(range(32)),),
    canister_version=3,
    certified_data=b"",
    global_timer=GlobalTimer(deadline_ns=None),
    hook_status=HookStatus.CONDITION_NOT_SATISFIED,
)
TEXT = """{
  "source": {
    "taken_from_canister": null
  },
  "taken_at_timestamp": 1726515623000000000,
  "wasm_module_size": 1234567,
  "globals": [
    {
      "i32": -5
    },
    {
      "i64": -9223372036854775808
    },
    {
      "f32": 0.1
    },
    {
      "f64": -0.25
    },
    {
      "v128": [
        1,
        0,
        0,
        2147483648
      ]
    },
    {
      "v128": []
    }
  ],
  "wasm_memory_size": 1114112,
  "stable_memory_size": 0,
  "wasm_chunk_store": [
    {
      "hash": [
HASH
      ]
    }
  ],
  "canister_version": 3,
  "certified_data": [],
  "global_timer": "inactive",
  "on_low_wasm_memory_hook_status": "condition_not_satisfied"
}""".replace("HASH", ",\n".join(f"        {byte}" for byte in range(32)))


def test_every_byte_is_as_serde_json_writes_it() -> None:
    assert to_json(METADATA).decode() == TEXT


def test_what_is_written_is_read() -> None:
    assert from_json(to_json(METADATA), PATH) == METADATA


def test_what_is_missing_is_null() -> None:
    bare = replace(METADATA, source=None, global_timer=None, hook_status=None, globals=())
    told = json.loads(to_json(bare))
    assert told["source"] is None
    assert told["global_timer"] is None
    assert told["on_low_wasm_memory_hook_status"] is None
    assert told["globals"] == []
    assert from_json(to_json(bare), PATH) == bare


def test_an_active_timer_and_other_variants() -> None:
    other = replace(
        METADATA,
        source=SnapshotSource.METADATA_UPLOAD,
        global_timer=GlobalTimer(deadline_ns=(1 << 64) - 1),
        hook_status=HookStatus.EXECUTED,
        certified_data=b"\x00\xff",
    )
    told = json.loads(to_json(other))
    assert told["global_timer"] == {"active": (1 << 64) - 1}
    assert told["certified_data"] == [0, 255]
    assert from_json(to_json(other), PATH) == other


def test_nan_is_written_as_null_and_read_as_unknown() -> None:
    told = replace(METADATA, globals=(NAN, None))
    assert json.loads(to_json(told))["globals"] == [{"f64": None}, None]
    assert from_json(to_json(told), PATH).globals == (None, None)


@pytest.mark.parametrize(
    ("value", "number"),
    [([5], 5), (2**64 - 1, 2**64 - 1), ("340282366920938463463374607431768211455", 2**128 - 1)],
)
def test_v128_is_read_in_each_form_that_candid_reads(value: object, number: int) -> None:
    content = json.loads(TEXT) | {"globals": [{"v128": value}]}
    found = from_json(json.dumps(content).encode(), PATH)
    assert found.globals == (WasmGlobal(kind=GlobalKind.V128, value=number),)


def test_exponents_are_read_with_and_without_a_sign() -> None:
    for text in ("1e16", "1e+16", "1E16"):
        content = TEXT.replace('"f64": -0.25', f'"f64": {text}')
        assert from_json(content.encode(), PATH).globals[3] == WasmGlobal(
            kind=GlobalKind.F64, value=0x4341C37937E08000
        )


def test_a_whole_number_is_read_as_a_float_and_unknown_keys_are_ignored() -> None:
    content = json.loads(TEXT) | {"globals": [{"f32": 2}, {"f64": 3}], "newer": 1}
    found = from_json(json.dumps(content).encode(), PATH)
    assert [each and each.value for each in found.globals] == [0x40000000, 0x4008000000000000]


BAD: list[dict[str, Any]] = [
    {"taken_at_timestamp": -1},
    {"taken_at_timestamp": "1"},
    {"wasm_module_size": True},
    {"wasm_memory_size": 1 << 64},
    {"stable_memory_size": None},
    {"globals": None},
    {"globals": [5]},
    {"globals": [{}]},
    {"globals": [{"i32": 1, "i64": 2}]},
    {"globals": [{"i8": 1}]},
    {"globals": [{"i32": 1 << 31}]},
    {"globals": [{"i64": 1.5}]},
    {"globals": [{"i32": True}]},
    {"globals": [{"f32": 1e300}]},
    {"globals": [{"f64": "1.5"}]},
    {"globals": [{"v128": [1 << 32]}]},
    {"globals": [{"v128": [0, 0, 0, 0, 1]}]},
    {"globals": [{"v128": 1.5}]},
    {"globals": [{"v128": "x"}]},
    {"wasm_chunk_store": [{"hash": [1, 2]}]},
    {"wasm_chunk_store": [7]},
    {"certified_data": [256]},
    {"certified_data": "ab"},
    {"global_timer": "active"},
    {"global_timer": {"active": -1}},
    {"source": "somewhere"},
    {"on_low_wasm_memory_hook_status": 3},
]


@pytest.mark.parametrize("change", BAD, ids=str)
def test_anything_else_is_refused_and_the_file_named(change: dict[str, Any]) -> None:
    content = json.loads(TEXT) | change
    with pytest.raises(DamageError, match=r"copy/metadata\.json can't be understood"):
        from_json(json.dumps(content).encode(), PATH)


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(DamageError, match=r"metadata\.json"):
        from_json(data, PATH)
