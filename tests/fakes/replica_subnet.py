"""A replica without a network edge, and small canisters to fill it with."""

from functools import cache
from typing import Any

import wasmtime

from dfx_backup.replica.management import ManagementCanister
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.replica import Replica

ALICE = b"\x01" * 28 + b"\x02"
BOB = b"\x0b" * 28 + b"\x02"
CAROL = b"\x0c" * 28 + b"\x02"
SECOND = 1_000_000_000

# `set` keeps its argument in heap, stable memory and certified data, logs it and counts in two
# globals; `forward` calls the management canister with "<length><method><argument>" and replies
# with the answer, or with the reject code.
COUNTER = """
(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
  (import "ic0" "msg_reject_code" (func $reject_code (result i32)))
  (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
  (import "ic0" "stable64_write" (func $stable_write (param i64 i64 i64)))
  (import "ic0" "stable64_read" (func $stable_read (param i64 i64 i64)))
  (import "ic0" "certified_data_set" (func $certify (param i32 i32)))
  (import "ic0" "global_timer_set" (func $timer (param i64) (result i64)))
  (import "ic0" "debug_print" (func $print (param i32 i32)))
  (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_data_append" (func $call_data (param i32 i32)))
  (import "ic0" "call_perform" (func $call (result i32)))
  (memory 2)
  (table 2 funcref)
  (elem (i32.const 0) $on_reply $on_reject)
  (global $hidden (mut i64) (i64.const -7))
  (global $half (export "half") f64 (f64.const 0.5))
  (global $size (export "size") (mut i32) (i32.const 0))
  (func (export "canister_init") (drop (call $grow (i64.const 1))))
  (func (export "canister_update set")
    (global.set $size (call $arg_size))
    (global.set $hidden (i64.add (global.get $hidden) (i64.const 1)))
    (call $arg_copy (i32.const 1024) (i32.const 0) (global.get $size))
    (call $stable_write (i64.const 0) (i64.const 1024) (i64.extend_i32_u (global.get $size)))
    (call $certify (i32.const 1024) (global.get $size))
    (call $print (i32.const 1024) (global.get $size))
    (call $reply))
  (func (export "canister_query get")
    (call $append (i32.const 1024) (global.get $size))
    (call $reply))
  (func (export "canister_query get_stable")
    (call $stable_read (i64.const 4096) (i64.const 0) (i64.extend_i32_u (global.get $size)))
    (call $append (i32.const 4096) (global.get $size))
    (call $reply))
  (func (export "canister_query count")
    (i64.store (i32.const 16) (global.get $hidden))
    (call $append (i32.const 16) (i32.const 8))
    (call $reply))
  (func (export "canister_update arm")
    (call $arg_copy (i32.const 32) (i32.const 0) (i32.const 8))
    (drop (call $timer (i64.load (i32.const 32))))
    (call $reply))
  (func (export "canister_update trap") unreachable)
  (func (export "canister_update forward")
    (local $n i32)
    (call $arg_copy (i32.const 8192) (i32.const 0) (call $arg_size))
    (local.set $n (i32.load8_u (i32.const 8192)))
    (call $call_new (i32.const 0) (i32.const 0) (i32.const 8193) (local.get $n)
      (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
    (call $call_data (i32.add (i32.const 8193) (local.get $n))
      (i32.sub (i32.sub (call $arg_size) (local.get $n)) (i32.const 1)))
    (drop (call $call)))
  (func $on_reply (param i32)
    (call $arg_copy (i32.const 8192) (i32.const 0) (call $arg_size))
    (call $append (i32.const 8192) (call $arg_size))
    (call $reply))
  (func $on_reject (param i32)
    (i32.store8 (i32.const 8192) (call $reject_code))
    (call $append (i32.const 8192) (i32.const 1))
    (call $reply)))
"""


@cache
def wasm(source: str = COUNTER) -> bytes:
    """Compile WAT text; the bytes of equal texts are equal."""
    return bytes(wasmtime.wat2wasm(source))


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 1_700_000_000 * SECOND

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += int(seconds * SECOND)


class Subnet:
    """A replica with a management canister, called in Python values."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.replica = Replica(now_ns=self.clock, **options)
        self.management = ManagementCanister(self.replica, random_bytes=lambda n: b"r" * n)
        self.replica.management = self.management
        self.replica.subnet_id = b"subnet"
        self.codec = self.management.codec

    def arg(self, method: str, **fields: Any) -> bytes:
        """Encode an argument record; absent optional fields may be left out."""
        if not self.codec.methods[method].args:
            return self.codec.encode_args(method)
        return self.codec.encode_args(method, fields)

    def send(self, caller: bytes, method: str, **fields: Any) -> list[bytes | Reject]:
        """Call the management canister; the list gets the answer when it comes."""
        answers: list[bytes | Reject] = []
        arg = self.arg(method, **fields)
        if caller in self.replica.canisters:
            with self.replica.lock:
                self.management.call(
                    caller, method, arg, 0, lambda result, _refund: answers.append(result)
                )
        else:
            outcome = self.replica.ingress(caller, b"", method, arg)
            outcome.on_done(lambda done: answers.append(done.result))
        return answers

    def call(self, caller: bytes, method: str, **fields: Any) -> Any:
        """Call the management canister and give its decoded reply; raises Reject."""
        (answer,) = self.send(caller, method, **fields)
        if isinstance(answer, Reject):
            raise answer
        values = self.codec.decode_reply(method, answer)
        return values[0] if values else None

    def pay(self, caller: bytes, method: str, cycles: int, **fields: Any) -> tuple[Any, int]:
        """Call with cycles attached; give the answer and the refund."""
        answers: list[tuple[Any, int]] = []
        with self.replica.lock:
            self.management.call(
                caller,
                method,
                self.arg(method, **fields),
                cycles,
                lambda result, refund: answers.append((result, refund)),
            )
        return answers[0]

    def query(self, caller: bytes, method: str, **fields: Any) -> Any:
        """Ask the management canister; raises Reject."""
        answer = self.replica.query(caller, b"", method, self.arg(method, **fields))
        return self.codec.decode_reply(method, answer)[0]

    def accepts(self, sender: bytes, method: str, **fields: Any) -> None:
        """Put a message through the ingress filter; raises Reject."""
        self.replica.accepts_ingress(sender, b"", method, self.arg(method, **fields))

    def create(self, *controllers: bytes, cycles: int | None = None, **settings: Any) -> bytes:
        """Make a canister, of Alice unless told otherwise."""
        settings["controllers"] = list(controllers or (ALICE,))
        created: dict[str, bytes] = self.call(
            ALICE,
            "provisional_create_canister_with_cycles",
            amount=cycles,
            settings=settings,
        )
        return created["canister_id"]

    def installed(self, *controllers: bytes, source: str = COUNTER, **options: Any) -> bytes:
        """Make a canister with code."""
        canister_id = self.create(*controllers, **options)
        self.replica.install(canister_id, wasm(source))
        return canister_id

    def run(
        self, canister_id: bytes, method: str, arg: bytes = b"", caller: bytes = ALICE
    ) -> bytes:
        """Send an update to a canister and give the reply; raises Reject."""
        return self.replica.ingress(caller, canister_id, method, arg).get()

    def ask(
        self, canister_id: bytes, method: str, arg: bytes = b"", caller: bytes = ALICE
    ) -> bytes:
        """Send a query to a canister and give the reply; raises Reject."""
        return self.replica.query(caller, canister_id, method, arg)
