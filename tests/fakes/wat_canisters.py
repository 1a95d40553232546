"""Canisters in the WebAssembly text format, for the replica's tests."""

import wasmtime

_SCRIBE = """
(module
  (import "ic0" "msg_arg_data_size" (func $size (result PTR)))
  (import "ic0" "msg_arg_data_copy" (func $copy (param PTR PTR PTR)))
  (import "ic0" "msg_reply_data_append" (func $append (param PTR PTR)))
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "stable64_grow" (func $stable_grow (param i64) (result i64)))
  (import "ic0" "stable64_write" (func $stable_write (param i64 i64 i64)))
  (memory MEM 2)
  (global $sum (mut i32) (i32.const 7))
  (global $mix (mut i64) (i64.const 1))
  (global $ratio (mut f64) (f64.const 0.5))
  (func $run
    (local $n PTR) (local $op i32) (local $a i32)
    (local.set $n (call $size))
    (call $copy (PTR.const 0) (PTR.const 0) (local.get $n))
    (local.set $op (i32.load8_u (PTR.const 0)))
    (local.set $a (i32.load offset=2 (PTR.const 0)))
    (global.set $sum (i32.add (global.get $sum) (local.get $a)))
    (global.set $mix (i64.add (i64.mul (global.get $mix) (i64.const 31))
                              (i64.extend_i32_u (local.get $a))))
    (global.set $ratio (f64.neg (global.get $ratio)))
    (if (i32.eq (local.get $op) (i32.const 0)) (then
      (memory.copy (AS_ADDRESS (local.get $a)) (PTR.const 6)
                   (PTR.sub (local.get $n) (PTR.const 6)))))
    (if (i32.eq (local.get $op) (i32.const 1)) (then
      (call $stable_write (i64.extend_i32_u (local.get $a)) (i64.const 6)
                          (i64.sub (AS_WIDE (local.get $n)) (i64.const 6)))))
    (if (i32.eq (local.get $op) (i32.const 2)) (then
      (drop (memory.grow (AS_ADDRESS (local.get $a))))))
    (if (i32.eq (local.get $op) (i32.const 3)) (then
      (drop (call $stable_grow (i64.extend_i32_u (local.get $a))))))
    (if (i32.load8_u offset=1 (PTR.const 0)) (then unreachable))
    (call $append (PTR.const 0) (PTR.const 1))
    (call $reply))
  (export "canister_update run" (func $run))
  (export "canister_query peek" (func $run)))
"""


def scribe(*, is_64: bool) -> bytes:
    """A canister that does what its argument says; see `scribe_order`."""
    text = _SCRIBE.replace("PTR", "i64" if is_64 else "i32").replace("MEM", "i64" if is_64 else "")
    if is_64:
        text = text.replace("(AS_ADDRESS (local.get $a))", "(i64.extend_i32_u (local.get $a))")
        text = text.replace("(AS_WIDE (local.get $n))", "(local.get $n)")
    else:
        text = text.replace("(AS_ADDRESS (local.get $a))", "(local.get $a)")
        text = text.replace("(AS_WIDE (local.get $n))", "(i64.extend_i32_u (local.get $n))")
    return bytes(wasmtime.wat2wasm(text))


WRITE, STABLE_WRITE, GROW, STABLE_GROW, NOTHING = range(5)


def scribe_order(
    operation: int, number: int = 0, data: bytes = b"", *, traps: bool = False
) -> bytes:
    """An argument for the scribe: what to do with which address or number of pages."""
    return bytes([operation, traps]) + number.to_bytes(4, "little") + data


_PROXY = """
(module
  (import "ic0" "msg_arg_data_size" (func $size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reject" (func $reject (param i32 i32)))
  (import "ic0" "msg_reject_code" (func $code (result i32)))
  (import "ic0" "msg_reject_msg_size" (func $reject_size (result i32)))
  (import "ic0" "msg_reject_msg_copy" (func $reject_copy (param i32 i32 i32)))
  (import "ic0" "msg_cycles_accept128" (func $accept (param i64 i64 i32)))
  (import "ic0" "msg_cycles_refunded128" (func $refunded (param i32)))
  (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_on_cleanup" (func $on_cleanup (param i32 i32)))
  (import "ic0" "call_data_append" (func $data (param i32 i32)))
  (import "ic0" "call_cycles_add128" (func $add (param i64 i64)))
  (import "ic0" "call_with_best_effort_response" (func $best_effort (param i32)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (memory 1)
  (table funcref (elem $on_reply $on_reject $trap_on_reply $cleanup))
  (func $on_reply (param $env i32)
    (call $refunded (i32.const 1000))
    (call $append (i32.const 1000) (i32.const 8))
    (call $copy (i32.const 2000) (i32.const 0) (call $size))
    (call $append (i32.const 2000) (call $size))
    (call $reply))
  (func $on_reject (param $env i32)
    (i32.store8 (i32.const 2000) (i32.add (i32.const 48) (call $code)))
    (call $reject_copy (i32.const 2001) (i32.const 0) (call $reject_size))
    (call $reject (i32.const 2000) (i32.add (i32.const 1) (call $reject_size))))
  (func $trap_on_reply (param $env i32)
    (i32.store (i32.const 40000) (i32.const 1)) unreachable)
  (func $cleanup (param $env i32) (i32.store (i32.const 40004) (local.get $env)))
  ;; argument: callee (10 bytes), length of the method, method, payload
  (func $begin (param $on_reply i32)
    (local $name i32)
    (call $copy (i32.const 0) (i32.const 0) (call $size))
    (local.set $name (i32.load8_u (i32.const 10)))
    (call $new (i32.const 0) (i32.const 10) (i32.const 11) (local.get $name)
               (local.get $on_reply) (i32.const 42) (i32.const 1) (i32.const 43))
    (call $data (i32.add (i32.const 11) (local.get $name))
                (i32.sub (call $size) (i32.add (i32.const 11) (local.get $name)))))
  (func (export "canister_update forward")
    (call $begin (i32.const 0)) (drop (call $perform)))
  (func (export "canister_composite_query look")
    (call $begin (i32.const 4)) (drop (call $perform)))
  (func (export "canister_update forward_with_cycles")
    (call $begin (i32.const 0)) (call $add (i64.const 0) (i64.const 1000)) (drop (call $perform)))
  (func (export "canister_update forward_briefly")
    (call $begin (i32.const 0)) (call $best_effort (i32.const 10)) (drop (call $perform)))
  (func (export "canister_update forward_and_trap")
    (call $begin (i32.const 0)) (drop (call $perform)) unreachable)
  (func (export "canister_update forward_and_fail_later")
    (call $begin (i32.const 2)) (call $on_cleanup (i32.const 3) (i32.const 77))
    (drop (call $perform)))
  (func (export "canister_update take_300")
    (call $accept (i64.const 0) (i64.const 300) (i32.const 0))
    (call $append (i32.const 0) (i32.const 8)) (call $reply))
  (func (export "canister_update say_no")
    (i32.store (i32.const 0) (i32.const 0x6f6e)) (call $reject (i32.const 0) (i32.const 2)))
  (func (export "canister_update forget"))
  (func (export "canister_query echo")
    (call $copy (i32.const 0) (i32.const 0) (call $size))
    (call $append (i32.const 0) (call $size)) (call $reply))
  (func $on_look (param $env i32)
    (call $copy (i32.const 2000) (i32.const 0) (call $size))
    (call $append (i32.const 2000) (call $size)) (call $reply))
  (elem (i32.const 4) $on_look))
"""


def proxy() -> bytes:
    """A canister that forwards calls; see `proxy_order`."""
    text = _PROXY.replace("(table funcref (elem", "(table 5 funcref) (elem (i32.const 0)").replace(
        "$trap_on_reply $cleanup))", "$trap_on_reply $cleanup)"
    )
    return bytes(wasmtime.wat2wasm(text))


def proxy_order(callee: bytes, method: str, payload: bytes = b"") -> bytes:
    """An argument for the proxy's `forward…` methods."""
    return callee.ljust(10, b"\0") + bytes([len(method)]) + method.encode() + payload


def canister(body: str, *, memory: str = "(memory 1)") -> bytes:
    """A module with the commonest imports and this body."""
    return bytes(
        wasmtime.wat2wasm(
            f"""(module
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "canister_version" (func $version (result i64)))
  (import "ic0" "time" (func $time (result i64)))
  (import "ic0" "global_timer_set" (func $set_timer (param i64) (result i64)))
  (import "ic0" "debug_print" (func $print (param i32 i32)))
  (import "ic0" "trap" (func $trap (param i32 i32)))
  (import "ic0" "certified_data_set" (func $certify (param i32 i32)))
  (import "ic0" "data_certificate_present" (func $has_certificate (result i32)))
  (import "ic0" "stable64_grow" (func $stable_grow (param i64) (result i64)))
  (import "ic0" "stable64_write" (func $stable_write (param i64 i64 i64)))
  (import "ic0" "accept_message" (func $accept))
  (import "ic0" "msg_arg_data_size" (func $size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
  {memory}
  {body})"""
        )
    )
