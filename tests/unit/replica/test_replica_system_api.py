"""What the system API answers, through modules with 32-bit and 64-bit pointers."""

import pytest
import wasmtime

from dfx_backup.replica.reject import Reject
from dfx_backup.replica.replica import Replica
from dfx_backup.replica.state import GlobalValue

USER = b"\x04"


def answer(body: str, imports: str, *, is_64: bool, setup: str = "") -> bytes:
    """Run `body`, which leaves its answer in memory from 0 to the value it returns."""
    text = f"""(module
      (import "ic0" "msg_reply_data_append" (func $append (param P P)))
      (import "ic0" "msg_reply" (func $reply))
      {imports}
      (memory MEM 1)
      (data (P.const 500) "NAME")
      {setup}
      (func $body (result P) {body})
      (func (export "canister_update go") (call $append (P.const 0) (call $body)) (call $reply)))"""
    text = text.replace("(param P P P P)", "(param P P P P)")
    pointer = "i64" if is_64 else "i32"
    for old, new in (("MEM", "i64" if is_64 else ""), ("P.", f"{pointer}.")):
        text = text.replace(old, new)
    text = " ".join(pointer if word == "P" else word for word in text.replace(")", " ) ").split())
    replica = Replica(now_ns=lambda: 77)
    replica.root_key, replica.subnet_id = b"root key", b"subnet"
    canister_id = replica.create_canister(
        controllers=[b"NAME"], specified_id=b"\x01" * 10, cycles=10**20
    )
    state = replica.canisters[canister_id]
    state.settings.environment_variables = (("NAME", "value"), ("B", ""))
    replica.install(canister_id, bytes(wasmtime.wat2wasm(text)))
    return replica.ingress(USER, canister_id, "go", b"").get()


def blob_imports(name: str) -> str:
    return f"""(import "ic0" "{name}_size" (func $size (result P)))
      (import "ic0" "{name}_copy" (func $copy (param P P P)))"""


WIDTHS = pytest.mark.parametrize("is_64", [False, True])


@WIDTHS
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("msg_caller", USER),
        ("canister_self", b"\x01" * 10),
        ("subnet_self", b"subnet"),
        ("root_key", b"root key"),
        ("msg_caller_info_data", b""),
    ],
)
def test_blobs_are_copied_out(name: str, expected: bytes, *, is_64: bool) -> None:
    body = "(call $copy (P.const 0) (P.const 0) (call $size)) (call $size)"
    assert answer(body, blob_imports(name), is_64=is_64) == expected


@WIDTHS
def test_environment_variables(*, is_64: bool) -> None:
    imports = """(import "ic0" "env_var_value_size" (func $size (param P P) (result P)))
      (import "ic0" "env_var_value_copy" (func $copy (param P P P P P)))
      (import "ic0" "env_var_name_exists" (func $exists (param P P) (result i32)))
      (import "ic0" "env_var_count" (func $count (result P)))"""
    body = """(call $copy (P.const 500) (P.const 4) (P.const 0) (P.const 0)
                (call $size (P.const 500) (P.const 4)))
      (i32.store8 (P.const 5) (call $exists (P.const 500) (P.const 3)))
      (P.store8 (P.const 6) (call $count)) (P.const 7)"""
    assert answer(body, imports, is_64=is_64) == b"value\x00\x02"


@WIDTHS
def test_cycles_are_128_bits_wide(*, is_64: bool) -> None:
    imports = '(import "ic0" "canister_cycle_balance128" (func $balance (param P)))'
    reply = answer("(call $balance (P.const 0)) (P.const 16)", imports, is_64=is_64)
    assert int.from_bytes(reply, "little") == 10**20
    with pytest.raises(Reject, match="64 bits"):
        answer(
            "(drop (call $small)) (i32.const 0)",
            '(import "ic0" "canister_cycle_balance" (func $small (result i64)))',
            is_64=False,
        )


@WIDTHS
def test_instructions_are_counted(*, is_64: bool) -> None:
    imports = '(import "ic0" "performance_counter" (func $count (param i32) (result i64)))'
    body = """(i64.store (P.const 0) (call $count (i32.const 0)))
      (i64.store (P.const 8) (call $count (i32.const 0)))
      (i64.store (P.const 16) (call $count (i32.const 1))) (P.const 24)"""
    reply = answer(body, imports, is_64=is_64)
    first, second, third = (int.from_bytes(reply[n : n + 8], "little") for n in (0, 8, 16))
    assert 0 < first < second < third < 100


@WIDTHS
def test_time_and_controllers(*, is_64: bool) -> None:
    imports = """(import "ic0" "time" (func $time (result i64)))
      (import "ic0" "is_controller" (func $is (param P P) (result i32)))
      (import "ic0" "in_replicated_execution" (func $replicated (result i32)))
      (import "ic0" "canister_status" (func $status (result i32)))"""
    body = """(if (i64.ne (call $time) (call $time)) (then unreachable))
      (i32.store8 (P.const 0) (call $is (P.const 500) (P.const 4)))
      (i32.store8 (P.const 1) (call $is (P.const 500) (P.const 3)))
      (i32.store8 (P.const 2) (call $replicated))
      (i32.store8 (P.const 3) (call $status)) (P.const 4)"""
    assert answer(body, imports, is_64=is_64) == b"\x01\x00\x01\x01"


@WIDTHS
def test_costs_are_numbers(*, is_64: bool) -> None:
    imports = """(import "ic0" "cost_call" (func $call (param i64 i64 P)))
      (import "ic0" "cost_create_canister" (func $create (param P)))
      (import "ic0" "cost_sign_with_ecdsa" (func $sign (param P P i32 P) (result i32)))"""
    body = """(call $call (i64.const 5) (i64.const 10) (P.const 0))
      (call $create (P.const 16))
      (if (call $sign (P.const 500) (P.const 4) (i32.const 0) (P.const 32)) (then unreachable))
      (if (i32.eqz (call $sign (P.const 500) (P.const 4) (i32.const 9) (P.const 32)))
        (then unreachable))
      (P.const 48)"""
    reply = answer(body, imports, is_64=is_64)
    assert all(int.from_bytes(reply[n : n + 16], "little") > 10**9 for n in (0, 16, 32))


def test_small_stable_memory_functions() -> None:
    imports = """(import "ic0" "stable_grow" (func $grow (param i32) (result i32)))
      (import "ic0" "stable_size" (func $size (result i32)))
      (import "ic0" "stable_write" (func $write (param i32 i32 i32)))
      (import "ic0" "stable_read" (func $read (param i32 i32 i32)))"""
    body = """(drop (call $grow (i32.const 2)))
      (call $write (i32.const 70000) (i32.const 500) (i32.const 4))
      (call $read (i32.const 0) (i32.const 70001) (i32.const 3))
      (i32.store8 (i32.const 3) (call $size))
      (i32.store (i32.const 4) (call $grow (i32.const 65535))) (i32.const 8)"""
    assert answer(body, imports, is_64=False) == b"AME\x02\xff\xff\xff\xff"


@pytest.mark.parametrize(
    ("kind", "number", "bits"),
    [
        ("i32", -1, 0xFFFF_FFFF),
        ("i64", -(1 << 63), 1 << 63),
        ("f32", 1.5, 0x3FC0_0000),
        ("f64", -2.0, 0xC000_0000_0000_0000),
        ("v128", (1 << 128) - 1, (1 << 128) - 1),
    ],
)
def test_globals_have_numbers_and_bits(kind: str, number: float, bits: int) -> None:
    value = GlobalValue.from_number(kind, number)
    assert (value.bits, value.number) == (bits, number)


@pytest.mark.parametrize(
    ("kind", "number"),
    [("i32", 1 << 31), ("v128", -1), ("v128", 1 << 128), ("i7", 0), ("i64", 0.5)],
)
def test_numbers_that_do_not_fit_are_refused(kind: str, number: float) -> None:
    with pytest.raises(ValueError, match=kind):
        GlobalValue.from_number(kind, number)
