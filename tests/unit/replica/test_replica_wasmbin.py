import gzip
from pathlib import Path

import pytest
import wasmtime

from dfx_backup.replica.reject import Reject
from dfx_backup.replica.system_api import functions_for, implementation
from dfx_backup.replica.system_api.table import SIGNATURES, Mode
from dfx_backup.replica.wasmbin import read_module


def custom(name: str, content: bytes) -> bytes:
    body = bytes([len(name)]) + name.encode() + content
    return bytes([0, len(body)]) + body


def built(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


FULL = """
(module
  (import "ic0" "msg_reply" (func $reply))
  (memory i64 3)
  (table 2 funcref)
  (global $a (mut i32) (i32.const 1))
  (global $b i64 (i64.const -2))
  (global $c (mut f64) (f64.const 3))
  (global $d (mut f32) (f32.const 4))
  (global $e f32 (f32.const 5))
  (func $start)
  (start $start)
  (export "last" (global $d))
  (export "constant" (global $b))
  (func (export "canister_init"))
  (func (export "canister_update put") (call $reply))
  (func (export "canister_query get") (call $reply))
  (func (export "canister_composite_query look") (call $reply))
  (func (export "other") (param i32) (result i32) (local.get 0)))
"""


def test_a_module_is_understood() -> None:
    info = read_module(built(FULL))
    assert (info.is_wasm64, info.memory_pages) == (True, 3)
    assert (info.has_table, info.has_start) == (True, True)
    assert info.hooks == {"canister_init"}
    assert info.methods == {"put": "update", "get": "query", "look": "composite_query"}
    # exported ones in export order, then the other mutable ones by index
    assert [(each.type, each.mutable) for each in info.globals] == [
        ("f32", True),
        ("i64", False),
        ("i32", True),
        ("f64", True),
    ]


def test_the_rewritten_module_is_open_and_starts_nothing() -> None:
    config = wasmtime.Config()
    config.wasm_memory64 = True
    info = read_module(built(FULL))
    module = wasmtime.Module(wasmtime.Engine(config), info.binary)
    names = {each.name for each in module.exports}
    assert {"\0memory", "\0table", "\0start", *(each.export for each in info.globals)} <= names
    assert {"other", "canister_update put", "last"} <= names


def test_gzip_is_unpacked_and_the_hash_is_of_what_was_sent() -> None:
    packed = gzip.compress(built(FULL))
    info = read_module(packed)
    assert info.module.raw == packed
    assert info.binary == read_module(built(FULL)).binary


def test_metadata_is_read() -> None:
    wasm = (
        built("(module)")
        + custom("icp:public candid:service", b"service {}")
        + custom("icp:private dfx", b"x")
        + custom("name", b"ignored")
    )
    info = read_module(wasm)
    assert info.module.metadata == {
        "candid:service": (True, b"service {}"),
        "dfx": (False, b"x"),
    }
    assert not info.is_enhanced_persistence
    assert info.memory_pages is None


@pytest.mark.parametrize(
    ("wasm", "reason"),
    [
        (b"", "no Wasm module"),
        (b"\0asm\x02\0\0\0", "no Wasm module"),
        (b"\0asm\x01\0\0\0\x01\x7f", "unexpected end"),
        (b"\x1f\x8b\x08\0\0", "gzip"),
        (gzip.compress(b"\0asm\x01\0\0\0" * 9, mtime=0)[:-9], "gzip"),
        (built('(module (import "env" "f" (func)))'), "env.f"),
        (built('(module (import "ic0" "memory" (memory 1)))'), "ic0.memory"),
        (built("(module (memory 1) (memory 1))"), "more than one memory"),
        (built('(module (func (export "canister_init") (param i32)))'), "canister_init"),
        (built('(module (func (export "canister_update x") (result i32) i32.const 1))'), "x"),
        (built('(module (memory (export "canister_query m") 1))'), "canister_query m"),
        (built('(module (func (export "canister_upgrade")))'), "reserved name"),
        (
            built(
                '(module (func (export "canister_query a")) (func (export "canister_update a")))'
            ),
            "more than once",
        ),
        (built("(module " + "(global i32 (i32.const 0))" * 1001 + ")"), "1001 globals"),
        (built("(module)") + custom("icp:public a", b"") * 2, "two custom sections"),
        (
            built("(module)") + b"".join(custom(f"icp:public {n}", b"") for n in range(17)),
            "17 custom sections",
        ),
    ],
)
def test_bad_modules_are_refused(wasm: bytes, reason: str) -> None:
    with pytest.raises(Reject) as caught:
        read_module(wasm)
    assert caught.value.error_code == "IC0505"
    assert reason in caught.value.message


def test_constant_expressions_are_stepped_over() -> None:
    wasm = built(
        """(module (func $f) (global i32 (i32.add (i32.const 1) (i32.const 2)))
        (global i64 (i64.const -9223372036854775808)) (global funcref (ref.func $f))
        (global v128 (v128.const i64x2 11 11)) (global externref (ref.null extern))
        (global f32 (f32.const 0.1)) (global (mut f64) (f64.const 11)))"""
    )
    assert [each.type for each in read_module(wasm).globals] == ["f64"]


def test_every_function_of_the_table_is_there() -> None:
    for name in SIGNATURES:
        assert callable(implementation(name))
    assert len(functions_for(is_64=False)) == len(SIGNATURES)
    small = set(functions_for(is_64=False)) - set(functions_for(is_64=True))
    assert small == {
        "msg_cycles_available",
        "msg_cycles_accept",
        "msg_cycles_refunded",
        "canister_cycle_balance",
        "call_cycles_add",
        "stable_size",
        "stable_grow",
        "stable_write",
        "stable_read",
    }


def test_availability_is_as_specified() -> None:
    assert SIGNATURES["accept_message"].modes == {Mode.INSPECT}
    assert SIGNATURES["time"].modes == set(Mode) - {Mode.START}
    assert SIGNATURES["trap"].modes == set(Mode)
    assert Mode.QUERY not in SIGNATURES["call_new"].modes
    assert Mode.COMPOSITE in SIGNATURES["call_new"].modes


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        ("", False),
        ("(table.set (i32.const 0) (ref.func $f))", True),
        ("(drop (table.grow (ref.func $f) (i32.const 1)))", True),
        ("(table.fill (i32.const 0) (ref.null func) (i32.const 1))", True),
        ("(table.copy (i32.const 0) (i32.const 1) (i32.const 1))", True),
        ("(table.init $e (i32.const 0) (i32.const 0) (i32.const 1))", True),
        ("(data.drop $d)", True),
        ("(elem.drop $e)", False),
        ("(memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))", False),
        ("(drop (table.get (i32.const 0))) (drop (table.size))", False),
        # the bytes of table.set 0 and data.drop as operands
        ("(drop (i32.const 38)) (if (i32.const 38) (then unreachable))", False),
        ("(drop (i64.const 0x0013_0000_0026)) (drop (f64.const nan:0x92600_26002600))", False),
        ("(drop (v128.const i32x4 0x0026 0x09fc 0x260026 0x11fc0ffc))", False),
        ("(drop (i32x4.extract_lane 0 (v128.load offset=38 (i32.const 38))))", False),
        ("(block (block (br_table 0 1 0 (i32.const 38)))) (br_if 0 (i32.const 38))", False),
        ("(drop (select (result i32) (i32.const 38) (i32.const 0) (i32.const 1)))", False),
        ("(drop (f32.const 38)) (global.set $g (i32.const 38))", False),
        ("(call_indirect (i32.const 38)) unreachable", False),
        ("(drop (i32.trunc_sat_f32_s (f32.const 1)))", False),
        ("(memory.fill (i32.const 38) (i32.const 0) (i32.const 0))", False),
        ("(memory.copy (i32.const 38) (i32.const 0) (i32.const 0))", False),
        ("(drop (v128.load8_lane 3 (i32.const 38) (v128.const i32x4 38 0 0 0)))", False),
    ],
)
def test_modules_that_change_their_instance(body: str, *, changes: bool) -> None:
    text = f"""(module (memory 1) (table $t 2 funcref) (global $g (mut i32) (i32.const 0))
      (data $d "data") (elem $e func $f) (elem declare func $f)
      (func $f (param i32) (result i32) (local.get 0))
      (func (local i64 f32) {body} (drop (i32.const 38)) unreachable))"""
    assert read_module(bytes(wasmtime.wat2wasm(text))).changes_instance == changes


def test_several_tables_count_as_changed() -> None:
    module = wasmtime.wat2wasm("(module (table 1 funcref) (table 1 funcref) (func))")
    assert read_module(bytes(module)).changes_instance


def test_motoko_modules_keep_their_instance() -> None:
    for kind in ("enhanced", "classic"):
        path = Path(__file__).parents[2] / "fixtures" / "motoko" / f"notes_{kind}.wasm"
        assert not read_module(path.read_bytes()).changes_instance
