import contextlib

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfx_backup.errors import BackupError, CertificateError
from dfx_backup.ic import candid as c
from dfx_backup.ic import management_types as mt
from dfx_backup.ic.certificate import Certificate, CertificateVerifier
from dfx_backup.ic.envelope import call_content, hash_of_map, sign
from dfx_backup.ic.principal import Principal, PrincipalError
from tests.fakes import fake_network as fake
from tests.fakes.signers import Ed25519Signer

NOW = 1_800_000_000.0
ROOT = fake.BlsKey(11)
SUBNET_KEY = fake.BlsKey(12)
INSIDE = Principal(b"\x00" * 7 + b"\x05\x01\x01")
TREE = fake.tree_of({b"time": fake.leb(int(NOW * 1e9)), b"answer": b"42", b"more": {b"x": b"y"}})
DELEGATION = fake.delegation_of(ROOT, SUBNET_KEY, [(b"", b"\xff" * 10)], sharded=True)
CERTIFICATE = fake.certificate(SUBNET_KEY, TREE, DELEGATION)


def told(raw: bytes) -> Certificate | None:
    """What a certificate is believed to say, or None when it is refused, in the one right way."""
    try:
        return CertificateVerifier(ROOT.der, clock=lambda: NOW).verify(raw, INSIDE)
    except CertificateError:
        return None


HONEST = told(CERTIFICATE)


def same(found: Certificate | None) -> bool:
    assert HONEST is not None
    return found is not None and (
        found.tree.digest,
        found.tree.value([b"answer"]),
        found.time_ns,
        found.subnet,
        found.ranges,
    ) == (
        HONEST.tree.digest,
        HONEST.tree.value([b"answer"]),
        HONEST.time_ns,
        HONEST.subnet,
        HONEST.ranges,
    )


def test_the_honest_certificate_is_believed() -> None:
    assert same(HONEST)


def test_every_altered_byte_of_a_certificate_is_refused() -> None:
    """Byte by byte. The tag in front means nothing: without it the same is said."""
    believed = []
    for at in range(3, len(CERTIFICATE)):
        raw = bytearray(CERTIFICATE)
        raw[at] ^= 0x01 if at % 2 else 0x80
        if told(bytes(raw)) is not None:
            believed.append(at)
    assert believed == []


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_certificates_altered_anyhow_never_say_something_else(data: st.DataObject) -> None:
    raw = bytearray(CERTIFICATE)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    found = told(bytes(raw))
    assert found is None or same(found)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_no_certificate(raw: bytes) -> None:
    assert told(raw) is None
    assert told(cbor2.dumps({"tree": raw, "signature": bytes(48)})) is None


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=100), st.text(max_size=20), st.binary(max_size=32))
def test_request_ids_are_those_of_another_implementation(
    arg: bytes, method: str, nonce: bytes
) -> None:
    content = call_content(INSIDE, method, arg, nonce=nonce)
    request = sign(Ed25519Signer(), content, now=NOW, expiry_s=240)
    envelope = cbor2.loads(request.body[3:])
    assert fake.hash_map(dict(envelope["content"])) == request.request_id


def test_every_altered_byte_of_an_envelope_changes_its_id_or_its_signature() -> None:
    content = call_content(INSIDE, "take", b"argument", nonce=bytes(16))
    request = sign(Ed25519Signer(), content, now=NOW, expiry_s=240)
    genuine = cbor2.loads(request.body[3:])
    for at in range(3, len(request.body)):
        raw = bytearray(request.body)
        raw[at] ^= 0x01
        try:
            found = dict(cbor2.loads(bytes(raw[3:])))
            request_id = hash_of_map(found["content"])
        except (cbor2.CBORError, BackupError, KeyError, TypeError, AttributeError, ValueError):
            continue
        unchanged = request_id == request.request_id and found.items() == genuine.items()
        assert not unchanged, at


def test_the_specifications_request_id() -> None:
    content = {
        "request_type": "call",
        "sender": b"\x04",
        "ingress_expiry": 1_685_570_400_000_000_000,
        "canister_id": bytes.fromhex("00000000000004d2"),
        "method_name": "hello",
        "arg": b"DIDL\x00\xfd*",
    }
    expected = "1d1091364d6bb8a6c16b203ee75467d59ead468f523eb058880ae8ec80e2b101"
    assert hash_of_map(content).hex() == expected


# Principals


@given(st.binary(max_size=29))
def test_principals_round_trip(raw: bytes) -> None:
    text = Principal(raw).to_text()
    assert Principal.from_text(text).raw == raw
    assert Principal.from_text(text.upper()).raw == raw


@given(st.text(max_size=80) | st.text("abcdefghijklmnopqrstuvwxyz234567-", max_size=70))
def test_other_texts_are_no_principals(text: str) -> None:
    with contextlib.suppress(PrincipalError):
        assert Principal.from_text(text).to_text() == text.strip().lower()


@given(st.binary(min_size=1, max_size=29), st.data())
def test_a_slip_in_a_principal_is_noticed(raw: bytes, data: st.DataObject) -> None:
    text = Principal(raw).to_text()
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567-"))
    slipped = text[:at] + letter + text[at + 1 :]
    if slipped != text:
        with pytest.raises(PrincipalError):
            Principal.from_text(slipped)


# Candid

PRIMITIVES = [
    (c.BOOL, st.booleans()),
    (c.NAT, st.integers(0, 2**200)),
    (c.INT, st.integers(-(2**200), 2**200)),
    (c.NAT8, st.integers(0, 2**8 - 1)),
    (c.NAT16, st.integers(0, 2**16 - 1)),
    (c.NAT32, st.integers(0, 2**32 - 1)),
    (c.NAT64, st.integers(0, 2**64 - 1)),
    (c.INT8, st.integers(-(2**7), 2**7 - 1)),
    (c.INT16, st.integers(-(2**15), 2**15 - 1)),
    (c.INT32, st.integers(-(2**31), 2**31 - 1)),
    (c.INT64, st.integers(-(2**63), 2**63 - 1)),
    (c.FLOAT64, st.floats(allow_nan=False)),
    (c.FLOAT32_BITS, st.integers(0, 2**32 - 1)),
    (c.FLOAT64_BITS, st.integers(0, 2**64 - 1)),
    (c.TEXT, st.text(max_size=10)),
    (c.PRINCIPAL, st.binary(max_size=29).map(Principal)),
    (c.BLOB, st.binary(max_size=20)),
    (c.NULL, st.none()),
    (c.RESERVED, st.none()),
]


@st.composite
def typed_values(draw: st.DrawFn, depth: int = 3) -> tuple[c.Type, c.Value]:
    kind = draw(
        st.sampled_from(["primitive", "opt", "vec", "record", "variant"][: 5 if depth else 1])
    )
    if kind == "primitive":
        type_, values = draw(st.sampled_from(PRIMITIVES))
        return type_, draw(values)
    if kind == "opt":
        type_, value = draw(typed_values(depth=depth - 1))
        nullable = isinstance(type_, c.Opt) or type_ in (c.NULL, c.RESERVED)
        return c.Opt(type_), None if nullable or draw(st.booleans()) else value
    if kind == "vec":
        type_, value = draw(typed_values(depth=depth - 1))
        if type_ == c.NAT8:
            return c.BLOB, bytes([value])
        return c.Vec(type_), [value] * draw(st.integers(0, 3))
    names = draw(st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1, max_size=4))
    parts = {name: draw(typed_values(depth=depth - 1)) for name in names}
    types = {name: type_ for name, (type_, _) in parts.items()}
    if kind == "record":
        return c.record(types), {name: value for name, (_, value) in parts.items()}
    return c.variant(types), (names[0], parts[names[0]][1])


@settings(max_examples=100, deadline=None)
@given(st.lists(typed_values(), max_size=3))
def test_candid_round_trips(arguments: list[tuple[c.Type, c.Value]]) -> None:
    types = [type_ for type_, _ in arguments]
    values = [value for _, value in arguments]
    encoded = c.encode(types, values)
    assert c.decode(encoded, types) == values
    c.decode(encoded, None)  # with the sender's own types: no error either
    c.decode(encoded, [c.RESERVED] * len(types))  # and skipped
    assert c.decode(encoded, [*types, c.Opt(c.TEXT)]) == [*values, None]


@settings(max_examples=80, deadline=None)
@given(typed_values(), typed_values())
def test_candid_of_another_type_is_an_error_or_a_value_but_no_crash(
    sent: tuple[c.Type, c.Value], wanted: tuple[c.Type, c.Value]
) -> None:
    encoded = c.encode([sent[0]], [sent[1]])
    with contextlib.suppress(c.CandidError):
        c.decode(encoded, [wanted[0]])
    c.decode(encoded, [c.Opt(wanted[0])])  # inside opt, another type is None


STATUS_REPLY = c.encode(
    [mt.METADATA],
    [
        {
            "source": ("taken_from_canister", None),
            "taken_at_timestamp": 5,
            "wasm_module_size": 1,
            "globals": [("i32", -1), ("v128", 2**100)],
            "wasm_memory_size": 2,
            "stable_memory_size": 3,
            "wasm_chunk_store": [{"hash": bytes(32)}],
            "canister_version": 4,
            "certified_data": b"cd",
            "global_timer": ("active", 9),
            "on_low_wasm_memory_hook_status": ("ready", None),
        }
    ],
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_candid_is_an_error_or_a_value_but_no_crash(data: st.DataObject) -> None:
    raw = bytearray(STATUS_REPLY)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(4, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    for types in ([mt.METADATA], [mt.STATUS], None):
        with contextlib.suppress(c.CandidError):
            c.decode(bytes(raw), types)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_garbage_after_the_magic_is_an_error_or_a_value_but_no_crash(raw: bytes) -> None:
    for types in ([mt.STATUS], [c.Opt(mt.STATUS)], None):
        with contextlib.suppress(c.CandidError):
            c.decode(b"DIDL" + raw, types)
