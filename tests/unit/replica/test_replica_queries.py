"""What queries change, and who sees it."""

import random

import pytest
import wasmtime

from dfx_backup.replica.memory import BlobStore
from dfx_backup.replica.overlay import Overlay
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.replica import Replica

USER = b"\x04"

# `outer` writes 1 to heap, global and stable memory, and calls `state` of its own canister twice;
# the first callback writes 2 and traps, the clean-up adds 16, the second callback tells everything.
# `state` gives: number of stable pages; the byte in the heap, the global, the stable memory.
_LAYERS = """
(module
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_arg_data_size" (func $size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
  (import "ic0" "canister_self_copy" (func $self (param i32 i32 i32)))
  (import "ic0" "stable64_grow" (func $stable_grow (param i64) (result i64)))
  (import "ic0" "stable64_size" (func $stable_size (result i64)))
  (import "ic0" "stable64_write" (func $stable_write (param i64 i64 i64)))
  (import "ic0" "stable64_read" (func $stable_read (param i64 i64 i64)))
  (import "ic0" "data_certificate_present" (func $certified (result i32)))
  (import "ic0" "data_certificate_size" (func $certificate_size (result i32)))
  (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_on_cleanup" (func $on_cleanup (param i32 i32)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (memory 1)
  (global $g (mut i32) (i32.const 0))
  (table funcref (elem $fail $tell $clean))
  (data (i32.const 600) "statemanagement")
  (func $put (param $value i32)
    (i32.store8 (i32.const 500) (local.get $value))
    (global.set $g (local.get $value))
    (call $stable_write (i64.const 4095) (i64.const 500) (i64.const 1)))
  (func $say
    (i64.store8 (i32.const 10) (call $stable_size))
    (i32.store8 (i32.const 11) (i32.load8_u (i32.const 500)))
    (i32.store8 (i32.const 12) (global.get $g))
    (i32.store8 (i32.const 13) (i32.const 0))
    (if (i64.gt_u (call $stable_size) (i64.const 0)) (then
      (call $stable_read (i64.const 13) (i64.const 4095) (i64.const 1))))
    (i32.store8 (i32.const 14) (call $certified))
    (call $append (i32.const 10) (i32.const 5)))
  (func (export "canister_query state") (call $say) (call $reply))
  (func (export "canister_query certificate")
    (i32.store8 (i32.const 10) (call $certificate_size))
    (i32.store8 (i32.const 11) (call $certificate_size))
    (call $append (i32.const 10) (i32.const 2)) (call $reply))
  (func (export "canister_update write")
    (drop (call $stable_grow (i64.const 1))) (call $put (i32.const 7)) (call $reply))
  (func $ask (param $callback i32)
    (call $self (i32.const 0) (i32.const 0) (i32.const 10))
    (call $new (i32.const 0) (i32.const 10) (i32.const 600) (i32.const 5)
               (local.get $callback) (i32.const 0) (i32.const 1) (i32.const 0)))
  (func $begin
    (drop (call $stable_grow (i64.const 1)))
    (drop (memory.grow (i32.const 1)))
    (call $put (i32.const 1)))
  (func (export "canister_composite_query outer")
    (call $begin)
    (call $ask (i32.const 0)) (call $on_cleanup (i32.const 2) (i32.const 0)) (drop (call $perform))
    (call $ask (i32.const 1)) (drop (call $perform)))
  (func (export "canister_composite_query no_cleanup")
    (call $begin)
    (call $ask (i32.const 0)) (drop (call $perform))
    (call $ask (i32.const 1)) (drop (call $perform)))
  (func (export "canister_composite_query last_fails")
    (call $begin)
    (call $ask (i32.const 0)) (call $on_cleanup (i32.const 2) (i32.const 0)) (drop (call $perform)))
  (func (export "canister_composite_query answered")
    (call $ask (i32.const 0)) (drop (call $perform)) (call $say) (call $reply))
  (func $fail (param i32)
    (drop (memory.grow (i32.const 1)))
    (drop (call $stable_grow (i64.const 1)))
    (call $put (i32.const 2)) unreachable)
  (func $clean (param i32) (call $put (i32.add (global.get $g) (i32.const 16))))
  (func $tell (param i32)
    (call $copy (i32.const 20) (i32.const 0) (call $size))
    (call $say)
    (call $append (i32.const 20) (call $size))
    (i32.store8 (i32.const 30) (memory.size))
    (call $append (i32.const 30) (i32.const 1))
    (call $reply)))
"""


@pytest.fixture
def replica() -> Replica:
    return Replica(now_ns=lambda: 1)


@pytest.fixture
def layers(replica: Replica) -> bytes:
    canister_id = replica.create_canister(controllers=[USER])
    replica.install(canister_id, bytes(wasmtime.wat2wasm(_LAYERS)))
    return canister_id


def test_a_trapped_callback_is_undone_and_cleaned_up(replica: Replica, layers: bytes) -> None:
    reply = replica.query(USER, layers, "outer", b"")
    mine, inner, pages = reply[:5], reply[5:10], reply[10]
    assert mine == bytes([1, 17, 17, 17, 0])
    assert inner == bytes(5)
    assert pages == 2
    assert replica.query(USER, layers, "state", b"") == bytes(5)


def test_inner_calls_see_what_is_committed(replica: Replica, layers: bytes) -> None:
    replica.ingress(USER, layers, "write", b"").get()
    reply = replica.query(USER, layers, "outer", b"")
    assert reply[:5] == bytes([2, 17, 17, 17, 0])
    assert reply[5:10] == bytes([1, 7, 7, 7, 0])
    assert replica.query(USER, layers, "state", b"") == bytes([1, 7, 7, 7, 0])
    assert replica.canisters[layers].stable.read(4095, 1) == b"\7"


def test_a_trapped_callback_without_clean_up_ends_the_query(
    replica: Replica, layers: bytes
) -> None:
    for method in ("no_cleanup", "last_fails"):
        with pytest.raises(Reject, match="unreachable"):
            replica.query(USER, layers, method, b"")
    assert replica.query(USER, layers, "state", b"") == bytes(5)


def test_who_has_answered_makes_no_calls(replica: Replica, layers: bytes) -> None:
    assert replica.query(USER, layers, "answered", b"") == bytes(5)


def test_certificates_are_made_when_they_are_asked_for(replica: Replica, layers: bytes) -> None:
    made: list[bytes] = []

    def certify(canister_id: bytes) -> bytes:
        made.append(canister_id)
        return bytes(40 + len(made))

    replica.data_certificate = certify
    assert replica.query(USER, layers, "state", b"")[4] == 1
    assert made == []
    assert replica.query(USER, layers, "certificate", b"") == bytes([41, 41])
    assert made == [layers]
    reply = replica.query(USER, layers, "outer", b"")
    assert reply[4] == 0  # a callback
    assert reply[9] == 1  # the root canister again
    other = replica.create_canister(controllers=[USER])
    replica.install(other, bytes(wasmtime.wat2wasm(_LAYERS)))
    assert replica.query(USER, other, "state", b"")[4] == 1


def test_an_overlay_is_what_a_copy_would_be() -> None:
    random_ = random.Random(5)
    blob = BlobStore().from_bytes(random_.randbytes(30_000))
    overlay, model = Overlay(blob), bytearray(blob.read(0, 30_000))
    overlay.resize(50_000)
    model += bytes(20_000)
    kept: list[tuple[Overlay, bytes]] = []
    for _ in range(200):
        start, end = sorted(random_.sample(range(50_001), 2))
        if random_.random() < 0.5:
            data = random_.randbytes(min(end - start, 9000))
            overlay.write(start, memoryview(data))
            model[start : start + len(data)] = data
        target = bytearray(end - start)
        overlay.read_into(start, memoryview(target))
        assert target == model[start:end]
        if random_.random() < 0.1:
            kept.append((overlay.copy(), bytes(model)))
    for copy, content in kept:
        target = bytearray(50_000)
        copy.read_into(0, memoryview(target))
        assert target == content
    assert len({content for _, content in kept}) > 5
    assert blob.read(0, 30_000) != model[:30_000]
