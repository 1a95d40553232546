import itertools
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from dfx_backup.replica.auth import MAX_EXPIRY_NS, Kind, Request, RequestError, open_envelope
from tests.fakes import small_client as small

NOW = 1_800_000_000 * 10**9
CANISTER = bytes.fromhex("80000000001000000101")
ED = small.ed25519_signer(1)
K1 = small.ecdsa_signer(ec.SECP256K1())
P256 = small.ecdsa_signer(ec.SECP256R1())
OTHER = small.ed25519_signer(2)
LATER = NOW + 60 * 10**9


def call(signer: small.Signer | None = ED, kind: str = "call", **more: Any) -> dict[str, Any]:
    sender = signer.principal if signer else small.ANONYMOUS
    content = small.call(CANISTER, "greet", b"DIDL\0\0", sender=sender, kind=kind)
    return {**content, "ingress_expiry": LATER, **more}


def opened(body: bytes, kind: Kind = "call") -> Request:
    return open_envelope(body, kind, NOW)


def refused(body: bytes, match: str, kind: Kind = "call") -> None:
    with pytest.raises(RequestError, match=match) as caught:
        opened(body, kind)
    assert caught.value.status == 400


@pytest.mark.parametrize("signer", [ED, K1, P256], ids=["ed25519", "secp256k1", "p256"])
def test_signed_calls_are_taken(signer: small.Signer) -> None:
    content = call(signer, nonce=bytes(32))
    request = opened(small.envelope(content, signer))
    assert request.sender == signer.principal
    assert request.request_id == small.hash_value(content)
    assert (request.canister_id, request.method, request.arg) == (CANISTER, "greet", b"DIDL\0\0")
    assert request.targets is None


def test_the_tag_may_be_missing() -> None:
    body = small.envelope(call(), ED)
    assert opened(body) == opened(body.removeprefix(small.TAG))


@pytest.mark.parametrize("signer", [ED, K1, P256], ids=["ed25519", "secp256k1", "p256"])
def test_the_signature_of_another_key_is_refused(signer: small.Signer) -> None:
    content = call(signer)
    body = {
        "content": content,
        "sender_pubkey": signer.der,
        "sender_sig": OTHER.sign(b"\x0aic-request" + small.hash_value(content)),
    }
    refused(cbor2.dumps(body), "Invalid signature")
    refused(cbor2.dumps({**body, "sender_sig": b""}), "64 bytes")


def test_the_sender_must_belong_to_the_key() -> None:
    refused(small.envelope(call(OTHER), ED), "does not belong to the sender")


def test_anonymous_requests_carry_no_key() -> None:
    assert opened(small.envelope(call(None))).sender == small.ANONYMOUS
    refused(small.envelope(call(None), ED), "anonymous")
    refused(small.envelope(call(ED)), "missing")


@pytest.mark.parametrize(
    ("expiry", "good"),
    [
        (NOW - 1, False),
        (NOW, False),
        (NOW + 1, True),
        (NOW + MAX_EXPIRY_NS, True),
        (NOW + MAX_EXPIRY_NS + 1, False),
        (0, False),
        ((1 << 64) - 1, False),
    ],
)
@pytest.mark.parametrize("kind", ["call", "query", "read_state"])
def test_expiry(kind: Kind, expiry: int, good: bool) -> None:  # noqa: FBT001 - parametrized
    contents = {
        name: {**call(signer, kind), "ingress_expiry": expiry}
        if kind != "read_state"
        else small.read([b"time"], sender=signer.principal if signer else small.ANONYMOUS)
        | {"ingress_expiry": expiry}
        for name, signer in (("signed", ED), ("anonymous", None))
    }
    signed = small.envelope(contents["signed"], ED)
    anonymous = small.envelope(contents["anonymous"])
    if good:
        opened(signed, kind)
    else:
        refused(signed, "Invalid request expiry", kind)
    if good or kind != "call":
        opened(anonymous, kind)
    else:
        refused(anonymous, "Invalid request expiry", kind)


# Delegations


def chain(*signers: small.Signer, **more: Any) -> tuple[dict[str, Any], ...]:
    options = {"expiration": LATER, **more}
    return tuple(
        small.delegate(giver, taker, **options) for giver, taker in itertools.pairwise(signers)
    )


def delegated(signers: list[small.Signer], kind: str = "call", **more: Any) -> bytes:
    content = call(signers[0], kind)
    return small.envelope(content, signers[-1], chain=chain(*signers, **more), root=signers[0])


def test_delegations_over_all_kinds_of_keys() -> None:
    for order in ([ED, K1], [K1, P256], [P256, ED], [ED, K1, P256, OTHER]):
        assert opened(delegated(order)).sender == order[0].principal


def test_twenty_delegations_are_enough() -> None:
    signers = [small.ed25519_signer(number) for number in range(22)]
    opened(delegated(signers[:21]))
    refused(delegated(signers), "more than 20")


def test_a_chain_has_no_cycles() -> None:
    refused(delegated([ED, K1, ED, OTHER]), "cycle")
    refused(delegated([ED, ED]), "cycle")


def test_delegations_expire() -> None:
    refused(delegated([ED, K1], expiration=NOW), "expired")
    opened(delegated([ED, K1], expiration=NOW + 1))


def test_delegations_must_be_signed_by_the_key_before() -> None:
    links = (*chain(ED, K1), *chain(ED, P256))
    refused(small.envelope(call(ED), P256, chain=links, root=ED), "Invalid delegation")


def test_targets_narrow_down() -> None:
    opened(delegated([ED, K1], targets=[b"\x01", CANISTER]))
    refused(delegated([ED, K1], targets=[b"\x01"]), "targets")
    refused(delegated([ED, K1], targets=[]), "targets")
    links = (
        small.delegate(ED, K1, LATER, targets=[CANISTER, b"\x01"]),
        small.delegate(K1, P256, LATER, targets=[b"\x01"]),
    )
    refused(small.envelope(call(ED), P256, chain=links, root=ED), "targets")
    refused(delegated([ED, K1], targets=[b"\x01"] * 1001), "1000")
    read = small.read([b"time"], sender=ED.principal) | {"ingress_expiry": LATER}
    links = chain(ED, K1, targets=[b"\x01"])
    request = opened(small.envelope(read, K1, chain=links, root=ED), "read_state")
    assert request.targets == {b"\x01"}


def test_a_delegation_for_queries_makes_no_calls() -> None:
    refused(delegated([ED, K1], permissions="queries"), "queries only")
    opened(delegated([ED, K1], kind="query", permissions="queries"), "query")
    opened(delegated([ED, K1], permissions="all"))
    refused(delegated([ED, K1], permissions="some"), "permissions")


def test_delegations_without_signature_of_the_last_key() -> None:
    refused(small.envelope(call(ED), ED, chain=chain(ED, K1), root=ED), "Invalid signature")


# Malformed requests


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"request_type": "query"}, "request_type"),
        ({"nonce": bytes(33)}, "nonce"),
        ({"nonce": "text"}, "nonce"),
        ({"sender": bytes(30)}, "29"),
        ({"sender": "text"}, "sender"),
        ({"canister_id": bytes(30)}, "canister_id"),
        ({"method_name": b"greet"}, "method_name"),
        ({"arg": "text"}, "arg"),
        ({"arg": None}, "arg"),
        ({"ingress_expiry": 1.5}, "ingress_expiry"),
        ({"ingress_expiry": True}, "ingress_expiry"),
        ({"ingress_expiry": -1}, "ingress_expiry"),
        ({"ingress_expiry": 1 << 64}, "ingress_expiry"),
        ({"more": 1}, "unknown field 'more'"),
        ({"sender_info": {}}, "unknown field 'sender_info'"),
    ],
)
def test_malformed_contents(changes: dict[str, Any], match: str) -> None:
    refused(cbor2.dumps({"content": {**call(None), **changes}}), match)


@pytest.mark.parametrize("missing", ["sender", "ingress_expiry", "canister_id", "method_name"])
def test_missing_fields(missing: str) -> None:
    content = call(None)
    del content[missing]
    refused(cbor2.dumps({"content": content}), missing)


@pytest.mark.parametrize(
    ("paths", "match"),
    [
        ([[b"time"]] * 1001, "1000"),
        ([[b"x"] * 128], "127"),
        ([b"time"], "a path"),
        ([["time"]], "label"),
        (None, "paths"),
    ],
)
def test_malformed_paths(paths: Any, match: str) -> None:
    content = {**small.read(), "paths": paths}
    refused(cbor2.dumps({"content": content}), match, "read_state")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"text",
        b"\x80",
        cbor2.dumps({"content": 1}),
        cbor2.dumps({}),
        cbor2.dumps({1: 2}),
        cbor2.dumps({"content": {1: 2}}),
        small.TAG * 2 + cbor2.dumps({"content": {}}),
        b"\x9f" * 5000,
        b"\x5b\x7f" + b"\xff" * 7,
        b"\xa1\x80\x01",
    ],
)
def test_no_cbor_of_ours(body: bytes) -> None:
    refused(body, "Malformed request")


def test_bytes_after_the_envelope() -> None:
    refused(small.envelope(call(), ED) + b"\0", "follow")


@pytest.mark.parametrize(
    "der", [b"", b"x" * 44, ED.der[:-1], K1.der + b"\0", K1.der[:-32] + bytes(32), P256.der[:-65]]
)
def test_keys_that_are_none(der: bytes) -> None:
    signer = small.Signer(der, lambda _: bytes(64))
    refused(small.envelope(call(signer), signer), "Invalid signature")


def test_fields_of_the_envelope_and_of_delegations_are_known() -> None:
    body = cbor2.loads(small.envelope(call(), ED).removeprefix(small.TAG))
    refused(cbor2.dumps({**body, "extra": 1}), "extra")
    for broken in ([1], [{}], [{"delegation": {}, "signature": b"", "x": 1}], "text"):
        refused(cbor2.dumps({**body, "sender_delegation": broken}), r"Malformed|Invalid delegation")
    refused(delegated([ED, K1], extra=1), "extra")


@given(body=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_garbage_is_refused_with_a_reason(body: bytes) -> None:
    for prefix in (b"", small.TAG, small.TAG + b"\xa1\x67content"):
        with pytest.raises(RequestError):
            opened(prefix + body)


# Every altered bit

BODIES = {
    "ed25519": small.envelope(call(ED), ED),
    "secp256k1": small.envelope(call(K1), K1),
    "p256": small.envelope(call(P256), P256),
    "delegated": delegated([ED, K1, P256], targets=[CANISTER], permissions="all"),
}


def check_altered(name: str, place: int, bit: int) -> None:
    body = BODIES[name]
    changed = body[:place] + bytes([body[place] ^ (1 << bit)]) + body[place + 1 :]
    with pytest.raises(RequestError):
        opened(changed)


@given(place=st.integers(min_value=0), bit=st.integers(0, 7))
@pytest.mark.parametrize("name", BODIES)
@settings(max_examples=100, deadline=None)
def test_one_altered_bit_spoils_an_envelope(name: str, place: int, bit: int) -> None:
    check_altered(name, place % len(BODIES[name]), bit)


@pytest.mark.slow
@pytest.mark.parametrize("name", BODIES)
def test_every_altered_bit_spoils_an_envelope(name: str) -> None:
    for place in range(len(BODIES[name])):
        for bit in range(8):
            check_altered(name, place, bit)
