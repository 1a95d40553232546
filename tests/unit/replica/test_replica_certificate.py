import hashlib
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfx_backup.replica.certificate import (
    BlsKey,
    Leaf,
    Pruned,
    bytes_head,
    certificate_pieces,
    hash_of_map,
    state_root_signature,
    witness,
)
from dfx_backup.replica.certifier import Certifier
from dfx_backup.replica.keys import ReplicaKeys
from dfx_backup.replica.leb128 import leb128
from dfx_backup.replica.principal import from_text, self_authenticating, to_text
from dfx_backup.replica.state_tree import OWN_RANGE, canister_ranges, ranges_tree
from tests.fakes import small_client as small

SPEC_TREE = {
    b"a": {b"x": Leaf(b"hello"), b"y": Leaf(b"world")},
    b"b": Leaf(b"good"),
    b"c": {},
    b"d": Leaf(b"morning"),
}

labels = st.binary(min_size=0, max_size=3)
trees = st.recursive(
    st.binary(max_size=5).map(Leaf),
    lambda below: st.dictionaries(labels, below, max_size=5),
    max_leaves=20,
).filter(lambda tree: isinstance(tree, dict))


def decoded(pieces: list[bytes]) -> list:
    return cbor2.loads(b"".join(pieces))


def paths_of(tree: Any, prefix: tuple[bytes, ...] = ()) -> list[Any]:
    if isinstance(tree, Leaf):
        return [(prefix, tree.value)]
    return [found for label, below in tree.items() for found in paths_of(below, (*prefix, label))]


@given(tree=trees, asked=st.lists(st.lists(labels, max_size=3).map(tuple), max_size=4))
@settings(max_examples=150, deadline=None)
def test_a_witness_has_the_trees_root_and_shows_exactly_what_was_asked(
    tree: Any, asked: list[Any]
) -> None:
    whole_root, whole = witness(tree, [()])
    root, pieces = witness(tree, asked)
    shown = decoded(pieces)
    assert root == whole_root == small.root_hash(shown) == small.root_hash(decoded(whole))
    for path, value in paths_of(tree):
        wanted = any(path[: len(prefix)] == prefix for prefix in asked)
        found = small.lookup(shown, *path)
        assert found == value if wanted else found in (small.UNKNOWN, value)
    for path in asked:
        here = tree
        for label in path:
            here = here.get(label, small.ABSENT) if isinstance(here, dict) else small.ABSENT
        if here == small.ABSENT:
            assert small.lookup(shown, *path) == small.ABSENT


def test_what_is_not_asked_for_is_not_there() -> None:
    _, pieces = witness(SPEC_TREE, [(b"a", b"x"), (b"bb",)])
    encoded = b"".join(pieces)
    assert b"hello" in encoded
    assert not any(value in encoded for value in (b"good", b"world", b"morning"))


def test_the_root_hash_is_the_specifications() -> None:
    # interface specification, "Certification", the example tree (there with another shape)
    a = [1, [1, [2, b"x", [3, b"hello"]], [0]], [2, b"y", [3, b"world"]]]
    ab = [1, [2, b"a", a], [2, b"b", [3, b"good"]]]
    shape = [1, ab, [1, [2, b"c", [0]], [2, b"d", [3, b"morning"]]]]
    assert small.root_hash(shape).hex() == (
        "eb5c5b2195e62d996b84c9bcc8259d19a83786a2f59e0878cec84c811f669aa0"
    )
    root, pieces = witness(SPEC_TREE, [()])
    assert small.root_hash(decoded(pieces)) == root


def test_pruned_parts_stay_pruned_even_when_asked_for() -> None:
    _, pieces = witness({b"a": Pruned(bytes(32)), b"b": Leaf(b"x")}, [(b"a", b"q"), (b"b",)])
    assert small.lookup(decoded(pieces), b"a", b"q") == small.UNKNOWN


def test_the_hash_of_a_map_is_the_specifications() -> None:
    content = {
        "request_type": "call",
        "sender": b"\x04",
        "ingress_expiry": 1685570400000000000,
        "canister_id": bytes.fromhex("00000000000004d2"),
        "method_name": "hello",
        "arg": b"DIDL\x00\xfd*",
    }
    expected = "1d1091364d6bb8a6c16b203ee75467d59ead468f523eb058880ae8ec80e2b101"
    assert hash_of_map(content).hex() == expected == small.hash_value(content).hex()


@pytest.mark.parametrize("value", [1.5, None, -1, True, {1: b""}])
def test_a_map_with_something_else_in_it_has_no_hash(value: Any) -> None:
    with pytest.raises(TypeError):
        hash_of_map({"a": value})


@pytest.mark.parametrize("length", [0, 23, 24, 255, 256, 65535, 65536, 2_000_000])
def test_heads_of_byte_strings(length: int) -> None:
    assert cbor2.loads(bytes_head(length) + bytes(length)) == bytes(length)


@given(st.integers(min_value=0, max_value=1 << 80))
def test_leb128(number: int) -> None:
    assert leb128(number) == small.leb(number)


def test_principals() -> None:
    assert to_text(b"") == "aaaaa-aa"
    assert to_text(bytes.fromhex("abcd01")) == "em77e-bvlzu-aq"
    assert to_text(bytes.fromhex("80000000001000000101")) == "bnz7o-iuaaa-aaaaa-qaaaa-cai"
    assert from_text("EM77E-bvlzu-aq") == bytes.fromhex("abcd01")
    for bad in ("", "em77e-bvlzu-ab", "em77ebvlzuaq", "em77e-bvlzu-aq-", "ünicode", "1"):
        with pytest.raises(ValueError, match="is not a principal"):
            from_text(bad)


@given(st.binary(max_size=29))
def test_principals_round_trip(raw: bytes) -> None:
    assert from_text(to_text(raw)) == raw


def test_keys_are_kept_and_differ_and_seeds_repeat_them(tmp_path: Path) -> None:
    first = ReplicaKeys.load_or_create(tmp_path)
    again = ReplicaKeys.load_or_create(tmp_path, delegation=True)
    assert again.root.public_der == first.root.public_der == first.subnet.public_der
    assert again.subnet.public_der != first.root.public_der
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    assert ReplicaKeys.from_number(1).seed == ReplicaKeys.from_number(1).seed
    assert ReplicaKeys.from_number(1).seed != ReplicaKeys.from_number(2).seed
    assert first.subnet_id == self_authenticating(first.root.public_der)


@pytest.mark.parametrize("text", ["", "{}", '{"seed": 1}', '{"seed": "zz"}', '{"seed": "00"}'])
def test_damaged_keys_are_reported_with_their_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(Exception, match=r"keys\.json"):
        ReplicaKeys.load_or_create(tmp_path)


def test_ranges_hold_own_and_specified_ids_in_shards() -> None:
    low, high = OWN_RANGE
    other = [number.to_bytes(8, "big") + b"\x01\x01" for number in range(12)]
    ranges = canister_ranges([low, *other])
    assert len(ranges) == 13
    assert list(ranges) == sorted(ranges)
    shards = ranges_tree(ranges)
    assert len(shards) == 3
    flattened = [pair for leaf in shards.values() for pair in cbor2.loads(leaf.value)]
    assert [tuple(pair) for pair in flattened] == list(ranges)
    assert all(cbor2.loads(leaf.value)[0][0] == start for start, leaf in shards.items())
    assert canister_ranges([low, high]) == (OWN_RANGE,)


KEYS = {mode: ReplicaKeys.from_number(5, delegation=mode) for mode in (False, True)}
TREE = {b"time": Leaf(leb128(123)), b"x": {b"y": Leaf(b"value")}, b"z": Leaf(b"hidden")}


def certified(form: str | None, **more: Any) -> bytes:
    certifier = Certifier(KEYS[form is not None])
    pieces = certifier.certify(
        TREE,
        [(b"x",)],
        form=form or "flat",
        ranges=canister_ranges([]),
        now_ns=1,
        **more,
    )
    return b"".join(pieces)


@pytest.mark.parametrize("form", [None, "flat", "sharded"])
def test_certificates_verify_in_every_mode(form: str | None) -> None:
    tree = small.check_certificate(
        certified(form), KEYS[False].root.public_der, canister_id=OWN_RANGE[0], form=form
    )
    assert small.lookup(tree, b"x", b"y") == b"value"
    assert small.lookup(tree, b"time") == leb128(123)
    assert small.lookup(tree, b"z") == small.UNKNOWN


@pytest.mark.parametrize("defect", ["signature", "subnet"])
@pytest.mark.parametrize("form", [None, "flat", "sharded"])
def test_bad_certificates_are_bad(form: str | None, defect: str) -> None:
    data = certified(form, defect=defect)
    root = KEYS[False].root.public_der
    forms = {form, "flat"} if defect == "subnet" else {form}
    for expected in forms:
        with pytest.raises(small.BadProof):
            small.check_certificate(data, root, canister_id=OWN_RANGE[0], form=expected)
    if defect == "subnet":  # a certificate all the same, but of a subnet that knows nothing of us
        small.check_certificate(data, root, form=form or "flat")


def altered(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


def check_altered(data: bytes, form: str | None) -> None:
    root = KEYS[False].root.public_der
    try:
        tree = small.check_certificate(data, root, canister_id=OWN_RANGE[0], form=form)
    except (small.BadProof, AssertionError, TypeError, IndexError, AttributeError, ValueError):
        return
    # The only bits that don't matter are those of the outer CBOR tag.
    assert data[3:] == certified(form)[3:], "an altered certificate was taken for a good one"
    assert tree is not None


@given(place=st.integers(min_value=0), bit=st.integers(0, 7))
@pytest.mark.parametrize("form", [None, "flat", "sharded"])
@settings(max_examples=60, deadline=None)
def test_one_altered_bit_spoils_a_certificate(form: str | None, place: int, bit: int) -> None:
    data = certified(form)
    check_altered(altered(data, place % len(data), bit), form)


@pytest.mark.slow
@pytest.mark.parametrize("form", [None, "flat", "sharded"])
def test_every_altered_bit_spoils_a_certificate(form: str | None) -> None:
    data = certified(form)
    for place in range(len(data)):
        for bit in range(8):
            check_altered(altered(data, place, bit), form)


def test_delegations_are_kept_until_the_ranges_change() -> None:
    certifier = Certifier(KEYS[True])

    def delegation(now_ns: int, ids: list[bytes]) -> bytes:
        ranges = canister_ranges(ids)
        pieces = certifier.certify(TREE, [], form="flat", ranges=ranges, now_ns=now_ns)
        return cbor2.loads(b"".join(pieces))["delegation"]["certificate"]

    first = delegation(10**9, [])
    assert delegation(30 * 10**9, []) == first
    assert delegation(30 * 10**9, [b"\x01"]) != first
    assert delegation(90 * 10**9, []) != first


def test_a_large_leaf_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = Leaf(bytes(100))
    hashed = []
    real = hashlib.sha256

    def counting(data: bytes = b"") -> Any:
        hashed.append(data)
        return real(data)

    monkeypatch.setattr("dfx_backup.replica.certificate.hashlib.sha256", counting)
    assert leaf.digest == leaf.digest
    assert len(hashed) == 1


def test_bls_keys_sign() -> None:
    key = BlsKey.from_seed(b"x" * 32)
    root, pieces = witness(TREE, [()])
    signature = state_root_signature(key, root)
    data = b"".join(certificate_pieces(pieces, signature, None))
    small.check_certificate(data, key.public_der)
    with pytest.raises(small.BadProof):
        small.check_certificate(data, BlsKey.from_seed(b"y" * 32).public_der)
