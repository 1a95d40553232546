import gzip
import zlib

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from dfx_backup.operations.wasm_module import (
    HEARTBEAT,
    MAX_MODULE_BYTES,
    STUB_WASM64,
    candid_sections,
    exports,
    is_motoko,
)
from dfx_backup.replica.wasmbin import read_module
from tests.contract.replica_bench import note_wasm
from tests.fakes.wat_canisters import proxy, scribe


def module(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(module {text})"))


def test_every_name_is_found() -> None:
    text = f'(memory (export "memory") 1) (func (export "{HEARTBEAT}")) (func (export "héllo"))'

    assert exports(module(text)) == {"memory", HEARTBEAT, "héllo"}
    assert exports(gzip.compress(module(text), mtime=0)) == {"memory", HEARTBEAT, "héllo"}


def test_as_the_replica_reads_them() -> None:
    assert exports(note_wasm()) == {"canister_update set", "canister_query get"}
    assert exports(scribe(is_64=True)) == {"canister_update run", "canister_query peek"}
    assert (exports(proxy()) or set()) >= {"canister_update forward", "canister_query echo"}


def test_no_exports() -> None:
    assert exports(module("")) == frozenset()
    assert exports(STUB_WASM64) == frozenset()


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\0as",
        b"elf\0 and more",
        b"\x1f\x8b\x08 not gzip at all",
        gzip.compress(b"no module", mtime=0),
        gzip.compress(note_wasm(), mtime=0)[:40],
        note_wasm()[:-200][:60] + b"\x07\xff\xff\xff\xff\xff\xff",
    ],
)
def test_what_is_no_module(broken: bytes) -> None:
    assert not exports(broken)


def test_a_bomb_is_not_unpacked() -> None:
    packer = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    block = bytes(1 << 20)
    packed = b"".join(packer.compress(block) for _ in range((MAX_MODULE_BYTES >> 20) + 2))

    assert exports(packed + packer.flush()) is None


@given(st.binary(max_size=200))
def test_garbage_never_raises(garbage: bytes) -> None:
    exports(b"\0asm\x01\0\0\0" + garbage)


@given(st.integers(min_value=8, max_value=253))
def test_a_cut_never_raises(at: int) -> None:
    exports(note_wasm()[:at])


def test_the_stub_is_a_module_with_a_64_bit_memory() -> None:
    config = wasmtime.Config()
    config.wasm_memory64 = True
    wasmtime.Module.validate(wasmtime.Engine(config), STUB_WASM64)

    assert read_module(STUB_WASM64).is_wasm64


def custom(name: bytes, content: bytes) -> bytes:
    body = bytes([len(name)]) + name + content
    return b"\0" + bytes([len(body)]) + body


def test_candid_is_found_wherever_it_stands() -> None:
    carried = (
        STUB_WASM64
        + custom(b"icp:private candid:args", b"(nat)")
        + custom(b"icp:public candid:service", b"service : {}")
        + custom(b"icp:public motoko:compiler", b"0.1")
        + custom(b"candid:service", b"nobody's")
    )
    found = (("candid:args", "(nat)"), ("candid:service", "service : {}"))

    assert candid_sections(carried) == found
    assert candid_sections(gzip.compress(carried, mtime=0)) == found
    assert candid_sections(note_wasm()) == ()


@given(data=st.binary(max_size=64))
def test_candid_of_anything_at_all(data: bytes) -> None:
    candid_sections(data)
    candid_sections(b"\0asm\x01\0\0\0" + data)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (b"motoko:compiler", True),
        (b"icp:public motoko:compiler", True),
        (b"icp:private motoko:stable-types", True),
        (b"motoko", True),
        (b"icp:private enhanced-orthogonal-persistence", True),
        (b"icp:public candid:service", False),
        (b"about motoko: nothing", False),
    ],
)
def test_motoko_is_known_by_its_sections(name: bytes, found: bool) -> None:  # noqa: FBT001 # a parameter
    carried = STUB_WASM64 + custom(b"first", b"") + custom(name, b"")

    assert is_motoko(carried) is found
    assert is_motoko(gzip.compress(carried, mtime=0)) is found


@given(data=st.binary(max_size=64))
def test_anything_at_all_is_no_motoko(data: bytes) -> None:
    assert not is_motoko(data)
    assert not is_motoko(b"\0asm\x01\0\0\0" + data)
