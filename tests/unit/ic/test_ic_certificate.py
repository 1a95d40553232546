import time
from typing import Any

import cbor2
import pytest

from dfx_backup.errors import CertificateError
from dfx_backup.ic import bls
from dfx_backup.ic.certificate import CertificateVerifier
from dfx_backup.ic.hash_tree import HashTree, Lookup, Presence
from dfx_backup.ic.principal import MANAGEMENT, Principal
from tests.fakes import fake_network as fake

NOW = 1_800_000_000.0
ROOT = fake.BlsKey(11)
SUBNET_KEY = fake.BlsKey(12)
INSIDE = Principal(b"\x00" * 7 + b"\x05\x01\x01")
RANGES = [(b"\x00" * 10, b"\x00" * 7 + b"\x09\xff\xff")]
OUTSIDE = Principal(b"\x00" * 6 + b"\x01\x00\x01\x01")


def content(at: float = NOW) -> dict[bytes, Any]:
    return {b"time": fake.leb(int(at * 1e9)), b"answer": b"42"}


def made(
    at: float = NOW, *, delegation: dict[str, bytes] | None = None, key: fake.BlsKey = ROOT
) -> bytes:
    return fake.certificate(key, fake.tree_of(content(at)), delegation)


def verifier(now: float = NOW) -> CertificateVerifier:
    return CertificateVerifier(ROOT.der, clock=lambda: now)


def delegation(*, sharded: bool = True, **changes: bytes) -> dict[str, bytes]:
    return {**fake.delegation_of(ROOT, SUBNET_KEY, RANGES, sharded=sharded), **changes}


def test_a_good_certificate_tells_its_values() -> None:
    found = verifier().verify(made(), INSIDE)
    assert found.tree.value([b"answer"]) == b"42"
    assert found.time_ns == int(NOW * 1e9)
    assert found.subnet == Principal.self_authenticating(ROOT.der)


@pytest.mark.parametrize("sharded", [True, False])
def test_delegations_in_both_forms(*, sharded: bool) -> None:
    raw = made(delegation=delegation(sharded=sharded), key=SUBNET_KEY)
    found = verifier().verify(raw, INSIDE)
    assert found.subnet.raw == fake.SUBNET
    assert found.ranges == tuple(RANGES)


@pytest.mark.parametrize("sharded", [True, False])
def test_a_canister_outside_the_ranges_is_refused(*, sharded: bool) -> None:
    raw = made(delegation=delegation(sharded=sharded), key=SUBNET_KEY)
    checker = verifier()
    checker.verify(raw, MANAGEMENT)
    with pytest.raises(CertificateError, match="does not host"):
        checker.verify(raw, OUTSIDE)


@pytest.mark.parametrize("canister", [RANGES[0][0], RANGES[0][1]])
def test_ranges_hold_their_ends(canister: bytes) -> None:
    raw = made(delegation=delegation(), key=SUBNET_KEY)
    verifier().verify(raw, Principal(canister))


def test_a_known_delegation_is_not_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    checker = verifier()
    raw = made(delegation=delegation(), key=SUBNET_KEY)
    checks: list[bytes] = []
    real = bls.verify

    def counted(key: bytes, message: bytes, signature: bytes) -> bool:
        checks.append(key)
        return real(key, message, signature)

    monkeypatch.setattr(bls, "verify", counted)
    checker.verify(raw, INSIDE)
    checker.verify(raw, INSIDE)
    assert len(checks) == 3


def test_a_delegation_of_another_subnet_is_refused() -> None:
    raw = made(delegation=delegation(subnet_id=b"\x08" * 29), key=SUBNET_KEY)
    with pytest.raises(CertificateError, match="subnet's key"):
        verifier().verify(raw, INSIDE)


def test_a_delegation_that_another_root_signed_is_refused() -> None:
    foreign = fake.delegation_of(fake.BlsKey(99), SUBNET_KEY, RANGES, sharded=True)
    with pytest.raises(CertificateError, match="not signed by this network"):
        verifier().verify(made(delegation=foreign, key=SUBNET_KEY), INSIDE)


def test_a_delegated_delegation_is_refused() -> None:
    inner = fake.certificate(
        SUBNET_KEY,
        fake.tree_of({b"subnet": {fake.SUBNET: {b"public_key": SUBNET_KEY.der}}}),
        delegation(),
    )
    twice = {"subnet_id": fake.SUBNET, "certificate": inner}
    with pytest.raises(CertificateError, match="delegated itself"):
        verifier().verify(made(delegation=twice, key=SUBNET_KEY), INSIDE)


def test_a_delegation_without_ranges_is_refused() -> None:
    tree = fake.tree_of({b"subnet": {fake.SUBNET: {b"public_key": SUBNET_KEY.der}}})
    bare = {"subnet_id": fake.SUBNET, "certificate": fake.certificate(ROOT, tree)}
    with pytest.raises(CertificateError, match="does not host"):
        verifier().verify(made(delegation=bare, key=SUBNET_KEY), INSIDE)


@pytest.mark.parametrize(
    ("age", "good"), [(0, True), (239, True), (241, False), (-299, True), (-301, False)]
)
def test_only_the_present_counts(age: float, *, good: bool) -> None:
    raw = made(NOW - age)
    if good:
        verifier().verify(raw, INSIDE)
    else:
        with pytest.raises(CertificateError, match=r"s (old|in the future)"):
            verifier().verify(raw, INSIDE)


def test_a_certificate_without_a_time_is_refused() -> None:
    raw = fake.certificate(ROOT, fake.tree_of({b"answer": b"42"}))
    with pytest.raises(CertificateError, match="time"):
        verifier().verify(raw, INSIDE)


@pytest.mark.parametrize("leaf", [b"", b"\x80", b"\x80\x80", b"\x01\x01", b"\xff" * 20 + b"\x01"])
def test_a_time_that_is_no_number_is_refused(leaf: bytes) -> None:
    raw = fake.certificate(ROOT, fake.tree_of({b"time": leaf}))
    with pytest.raises(CertificateError, match="no number"):
        verifier().verify(raw, INSIDE)


@pytest.mark.parametrize(
    "signature",
    [
        bytes(48),
        b"\xff" * 48,
        b"\xc0" + bytes(47),  # the point at infinity
        b"",
        b"\x80" * 48,
        bytes.fromhex("80" + "00" * 46 + "04"),
    ],
)
def test_signatures_that_are_no_points_are_refused(signature: bytes) -> None:
    raw = cbor2.dumps({"tree": fake.tree_of(content()), "signature": signature})
    with pytest.raises(CertificateError, match="not signed"):
        verifier().verify(raw, INSIDE)


def test_the_point_at_infinity_is_no_key_either() -> None:
    infinity = b"\xc0" + bytes(95)
    assert not bls.verify(infinity, b"m", ROOT.sign(b"m"))
    assert not bls.verify(infinity, b"m", b"\xc0" + bytes(47))


def test_points_outside_the_subgroup_are_refused() -> None:
    """Points on the curve with small x are, nearly all, outside the subgroup of prime order."""
    prime = int(
        "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffff"
        "ffffaaab",
        16,
    )
    on_curve = [x for x in range(1, 60) if pow(x**3 + 4, (prime - 1) // 2, prime) == 1]
    assert len(on_curve) > 10
    for x in on_curve:
        point = bytearray(x.to_bytes(48, "big"))
        point[0] |= 0x80
        assert not bls.verify(ROOT.der[37:], b"m", bytes(point))


def nested(depth: int) -> bytes:
    return b"\x83\x02\x41a" * depth + b"\x81\x00"


@pytest.mark.parametrize(
    "tree",
    [
        b"\x80",
        b"\x00",
        b"\xf6",
        b"\x81\x05",
        b"\x82\x03\x01",
        b"\x82\x04\x41a",
        b"\x83\x01\x81\x00\x00",
        b"\x83\x02\x61a\x81\x00",
        b"\x81\x81\x00",
        nested(129),
        nested(399),
        nested(100_000),
        b"\x9f" * 500,
        b"\xd8\x1c\x83\x01\xd8\x1d\x00\xd8\x1d\x00",  # a fork whose branches are the fork itself
    ],
)
def test_what_is_no_tree_is_a_certificate_error(tree: bytes) -> None:
    raw = b"\xa2\x64tree" + tree + b"\x69signature\x58\x30" + bytes(48)
    with pytest.raises(CertificateError):
        verifier().verify(raw, INSIDE)


def test_a_tree_that_unfolds_for_ever_is_cut() -> None:
    """Shared references make a small message a tree of 2^100 nodes."""
    layers = b"".join(b"\x83\x01" + b"\xd8\x1c" for _ in range(100))
    raw = b"\xa2\x64tree\xd8\x1c" + layers + b"\x81\x00"
    raw += b"".join(b"\xd8\x1d\x18" + bytes([n]) for n in range(100, 0, -1))
    raw += b"\x69signature\x58\x30" + bytes(48)
    began = time.monotonic()
    with pytest.raises(CertificateError):
        verifier().verify(raw, INSIDE)
    assert time.monotonic() - began < 5


# The tree of the interface specification's section "Certificate", and what it tells.

SPEC_TREE = fake.tree_of({})
SPEC_TREE = [
    1,
    [
        1,
        [2, b"a", [1, [1, [2, b"x", [3, b"hello"]], [0]], [2, b"y", [3, b"world"]]]],
        [2, b"b", [3, b"good"]],
    ],
    [1, [2, b"c", [0]], [2, b"d", [3, b"morning"]]],
]


def test_the_specifications_tree_has_the_specifications_hash() -> None:
    root = HashTree.parse(SPEC_TREE)
    assert root.digest.hex() == "eb5c5b2195e62d996b84c9bcc8259d19a83786a2f59e0878cec84c811f669aa0"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ([b"a", b"x"], Lookup(Presence.FOUND, b"hello")),
        ([b"a", b"y"], Lookup(Presence.FOUND, b"world")),
        ([b"b"], Lookup(Presence.FOUND, b"good")),
        ([b"d"], Lookup(Presence.FOUND, b"morning")),
        ([b"a"], Lookup(Presence.ERROR)),
        ([b"a", b"xx"], Lookup(Presence.ABSENT)),
        ([b"a", b"0"], Lookup(Presence.ABSENT)),
        ([b"a", b"z"], Lookup(Presence.ABSENT)),
        ([b"0"], Lookup(Presence.ABSENT)),
        ([b"e"], Lookup(Presence.ABSENT)),
        ([b"c"], Lookup(Presence.ABSENT)),
        ([b"c", b"q"], Lookup(Presence.ABSENT)),
        ([b"b", b"q"], Lookup(Presence.ERROR)),
        ([], Lookup(Presence.ERROR)),
    ],
)
def test_lookups_in_the_whole_tree(path: list[bytes], expected: Lookup) -> None:
    assert HashTree.parse(SPEC_TREE).lookup(path) == expected


@pytest.mark.parametrize(
    ("path", "presence"),
    [
        ([b"a"], Presence.UNKNOWN),
        ([b"b"], Presence.FOUND),
        ([b"aa"], Presence.UNKNOWN),
        ([b"bb"], Presence.UNKNOWN),
        ([b"d"], Presence.FOUND),
        ([b"e"], Presence.ABSENT),
        ([b"c"], Presence.UNKNOWN),
    ],
)
def test_what_is_cut_off_is_unknown_and_not_absent(path: list[bytes], presence: Presence) -> None:
    cut_a = [4, fake.digest(SPEC_TREE[1][1])]
    cut_c = [4, fake.digest(SPEC_TREE[2][1])]
    pruned = [1, [1, cut_a, SPEC_TREE[1][2]], [1, cut_c, SPEC_TREE[2][2]]]
    tree = HashTree.parse(pruned)
    assert tree.digest == HashTree.parse(SPEC_TREE).digest
    assert tree.lookup(path).presence is presence
