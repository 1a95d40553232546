"""Who sent a request: envelopes, request ids, signatures, delegations, expiry.

Source: interface specification, "Authentication". `open_envelope` takes the body of an HTTP request
and gives a `Request` that may be believed, or refuses it with the reason.
"""

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from dfx_backup.replica import principal
from dfx_backup.replica.certificate import SELF_DESCRIBED, hash_of_map

__all__ = ["MAX_EXPIRY_NS", "Kind", "Request", "RequestError", "open_envelope", "request_id_of"]

Kind = Literal["call", "query", "read_state"]

MAX_EXPIRY_NS: Final = (5 * 60 + 30) * 10**9
"""How far in the future an ingress expiry may lie: five minutes, and half a minute of drift."""

MAX_DELEGATIONS: Final = 20
MAX_TARGETS: Final = 1000
MAX_NONCE: Final = 32
MAX_PATHS: Final = 1000
MAX_LABELS: Final = 127

_REQUEST_DOMAIN: Final = b"\x0aic-request"
_DELEGATION_DOMAIN: Final = b"\x1aic-request-auth-delegation"

_ED25519_PREFIX: Final = bytes.fromhex("302a300506032b6570032100")
_SECP256K1_PREFIX: Final = bytes.fromhex("3056301006072a8648ce3d020106052b8104000a03420004")
_P256_PREFIX: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")

_COMMON_FIELDS: Final = frozenset({"request_type", "sender", "ingress_expiry", "nonce"})
_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "call": _COMMON_FIELDS | {"canister_id", "method_name", "arg"},
    "query": _COMMON_FIELDS | {"canister_id", "method_name", "arg"},
    "read_state": _COMMON_FIELDS | {"paths"},
}
_ENVELOPE_FIELDS: Final = frozenset({"content", "sender_pubkey", "sender_sig", "sender_delegation"})
_DELEGATION_FIELDS: Final = frozenset({"pubkey", "expiration", "targets", "permissions"})

_CBOR_ERRORS: Final = (
    cbor2.CBORDecodeError,
    ValueError,
    TypeError,
    OverflowError,
    RecursionError,
)


class RequestError(Exception):
    """The HTTP request is refused.

    Attributes:
        status: HTTP status, 4xx.
        message: plain text for the body.
    """

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The content of an envelope whose sender is proven.

    Attributes:
        request_id: 32 bytes.
        ingress_expiry: nanoseconds since 1970.
        canister_id: of calls and queries; empty is the management canister.
        paths: of read_state.
        targets: canisters that the delegations allow; None allows all.
    """

    kind: Kind
    request_id: bytes
    sender: bytes
    ingress_expiry: int
    canister_id: bytes = b""
    method: str = ""
    arg: bytes = b""
    paths: tuple[tuple[bytes, ...], ...] = ()
    targets: frozenset[bytes] | None = None


def request_id_of(content: Mapping[str, object]) -> bytes:
    """Request id of a content map, 32 bytes.

    Raises:
        RequestError: the map holds something that has no hash.
    """
    try:
        return hash_of_map(content)
    except TypeError as error:
        raise RequestError(f"Malformed request: {error}") from error


def open_envelope(body: bytes, kind: Kind, now_ns: int) -> Request:
    """Read an envelope and check everything that can be checked without the state.

    Args:
        body: CBOR, with or without the self-describing tag.
        kind: what the endpoint serves.
        now_ns: the replica's clock.

    Raises:
        RequestError: it is malformed, expired, or not signed by its sender.
    """
    envelope = _decode(body)
    _only(envelope, _ENVELOPE_FIELDS, "the envelope")
    content = _map(envelope.get("content"), "content")
    _only(content, _FIELDS[kind], f"the content of a {kind} request")
    if content.get("request_type") != kind:
        raise RequestError(
            f"Malformed request: request_type is {content.get('request_type')!r}, "
            f"this endpoint serves {kind!r}"
        )
    sender = _principal(content.get("sender"), "sender")
    expiry = _nat64(content.get("ingress_expiry"), "ingress_expiry")
    if "nonce" in content and len(_bytes(content["nonce"], "nonce")) > MAX_NONCE:
        raise RequestError(f"Malformed request: the nonce is longer than {MAX_NONCE} bytes")
    paths = _paths(content.get("paths")) if kind == "read_state" else ()
    target = _target(content) if kind != "read_state" else (b"", "", b"")
    request_id = request_id_of(content)
    if kind == "call" or sender != principal.ANONYMOUS:
        _check_expiry(expiry, now_ns)
    targets = _authenticate(envelope, sender, request_id, kind, now_ns)
    if targets is not None and kind != "read_state" and target[0] not in targets:
        raise RequestError(
            "Invalid delegation: canister "
            f"{principal.to_text(target[0])} is not among the targets of the delegation"
        )
    return Request(
        kind=kind,
        request_id=request_id,
        sender=sender,
        ingress_expiry=expiry,
        canister_id=target[0],
        method=target[1],
        arg=target[2],
        paths=paths,
        targets=targets,
    )


def _decode(body: bytes) -> Mapping[str, object]:
    # The tag is taken off by hand: below a tag, cbor2 6 makes hashable copies of everything.
    inner = body[3:] if body.startswith(SELF_DESCRIBED) else body
    stream = io.BytesIO(inner)
    try:
        value = cbor2.CBORDecoder(stream).decode()
    except _CBOR_ERRORS as error:
        raise RequestError(f"Malformed request: the body is not CBOR ({error})") from error
    if stream.tell() != len(inner):
        raise RequestError("Malformed request: bytes follow the CBOR value")
    return _map(value, "the envelope")


def _check_expiry(expiry: int, now_ns: int) -> None:
    if now_ns < expiry <= now_ns + MAX_EXPIRY_NS:
        return
    side = "in the past" if expiry <= now_ns else "too far in the future"
    raise RequestError(
        f"Invalid request expiry: ingress_expiry {expiry} is {side}. Allowed is from {now_ns} "
        f"to {now_ns + MAX_EXPIRY_NS} (nanoseconds since 1970)"
    )


def _authenticate(
    envelope: Mapping[str, object], sender: bytes, request_id: bytes, kind: Kind, now_ns: int
) -> frozenset[bytes] | None:
    """Prove the sender; returns the canisters that the delegations allow, None for all."""
    if sender == principal.ANONYMOUS:
        # Clients in Python send null for both: an absent option, as the replica reads it.
        if any(value is not None for name, value in envelope.items() if name != "content"):
            raise RequestError(
                "Invalid signature: an anonymous request must not carry a key or a signature"
            )
        return None
    if "sender_pubkey" not in envelope or "sender_sig" not in envelope:
        raise RequestError("Invalid signature: sender_pubkey or sender_sig is missing")
    public_key = _bytes(envelope["sender_pubkey"], "sender_pubkey")
    signature = _bytes(envelope["sender_sig"], "sender_sig")
    if principal.self_authenticating(public_key) != sender:
        raise RequestError(
            "Invalid signature: the public key does not belong to the sender "
            f"{principal.to_text(sender)}"
        )
    chain = _list(envelope.get("sender_delegation", []), "sender_delegation")
    key, targets = _follow(chain, public_key, kind, now_ns)
    _verify(key, _REQUEST_DOMAIN + request_id, signature, "Invalid signature")
    return targets


def _follow(
    chain: Sequence[object], key: bytes, kind: Kind, now_ns: int
) -> tuple[bytes, frozenset[bytes] | None]:
    """Check a chain of delegations; returns the last key and the allowed canisters."""
    if len(chain) > MAX_DELEGATIONS:
        raise RequestError(f"Invalid delegation: more than {MAX_DELEGATIONS} in the chain")
    seen = {key}
    targets: frozenset[bytes] | None = None
    for link in chain:
        signed = _map(link, "a delegation")
        _only(signed, frozenset({"delegation", "signature"}), "a signed delegation")
        delegation = _map(signed.get("delegation"), "delegation")
        _only(delegation, _DELEGATION_FIELDS, "a delegation")
        signature = _bytes(signed.get("signature"), "the signature of a delegation")
        payload = _DELEGATION_DOMAIN + request_id_of(delegation)
        _verify(key, payload, signature, "Invalid delegation")
        targets = _narrow(targets, delegation)
        _check_delegation(delegation, kind, now_ns)
        key = _bytes(delegation.get("pubkey"), "the pubkey of a delegation")
        if key in seen:
            raise RequestError("Invalid delegation: the chain contains a cycle")
        seen.add(key)
    return key, targets


def _check_delegation(delegation: Mapping[str, object], kind: Kind, now_ns: int) -> None:
    expiration = _nat64(delegation.get("expiration"), "the expiration of a delegation")
    if expiration <= now_ns:
        raise RequestError(f"Invalid delegation: it expired at {expiration}, now is {now_ns}")
    permissions = delegation.get("permissions", "all")
    if permissions not in {"all", "queries"}:
        raise RequestError(f"Invalid delegation: unknown permissions {permissions!r}")
    if permissions == "queries" and kind == "call":
        raise RequestError("Invalid delegation: it allows queries only, not calls")


def _narrow(
    targets: frozenset[bytes] | None, delegation: Mapping[str, object]
) -> frozenset[bytes] | None:
    if "targets" not in delegation:
        return targets
    listed = _list(delegation["targets"], "the targets of a delegation")
    if len(listed) > MAX_TARGETS:
        raise RequestError(f"Invalid delegation: more than {MAX_TARGETS} targets")
    own = frozenset(_principal(target, "a target of a delegation") for target in listed)
    return own if targets is None else targets & own


def _verify(public_key: bytes, payload: bytes, signature: bytes, failure: str) -> None:
    try:
        verifier = _verifier(public_key)
        if len(signature) != 64:
            raise RequestError(f"{failure}: a signature has 64 bytes, not {len(signature)}")
        verifier(signature, payload)
    except InvalidSignature as error:
        raise RequestError(f"{failure}: it does not match the key") from error
    except ValueError as error:
        raise RequestError(f"{failure}: the public key is no point of its curve") from error


def _verifier(public_key: bytes) -> Callable[[bytes, bytes], None]:
    if public_key.startswith(_ED25519_PREFIX) and len(public_key) == 44:
        return Ed25519PublicKey.from_public_bytes(public_key[12:]).verify
    lengths = {_SECP256K1_PREFIX: 88, _P256_PREFIX: 91}
    for prefix, length in lengths.items():
        if public_key.startswith(prefix) and len(public_key) == length:
            key = cast("EllipticCurvePublicKey", load_der_public_key(public_key))
            return lambda signature, payload: key.verify(_der(signature), payload, ECDSA(SHA256()))
    raise RequestError(
        "Invalid signature: this replica knows keys on Ed25519, secp256k1 and P-256 only "
        f"(DER, uncompressed); got {hashlib.sha256(public_key).hexdigest()[:16]}… of "
        f"{len(public_key)} bytes"
    )


def _der(signature: bytes) -> bytes:
    return encode_dss_signature(
        int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    )


def _target(content: Mapping[str, object]) -> tuple[bytes, str, bytes]:
    canister_id = _principal(content.get("canister_id"), "canister_id")
    method = content.get("method_name")
    if not isinstance(method, str):
        raise RequestError("Malformed request: method_name is missing or not text")
    return canister_id, method, _bytes(content.get("arg"), "arg")


def _paths(value: object) -> tuple[tuple[bytes, ...], ...]:
    paths = _list(value, "paths")
    if len(paths) > MAX_PATHS:
        raise RequestError(f"Malformed request: more than {MAX_PATHS} paths")
    result = []
    for path in paths:
        labels = tuple(_bytes(label, "a label of a path") for label in _list(path, "a path"))
        if len(labels) > MAX_LABELS:
            raise RequestError(f"Malformed request: a path with more than {MAX_LABELS} labels")
        result.append(labels)
    return tuple(result)


def _only(fields: Mapping[str, object], known: frozenset[str], where: str) -> None:
    unknown = sorted(str(name) for name in fields if name not in known)
    if unknown:
        raise RequestError(f"Malformed request: unknown field {unknown[0]!r} in {where}")


def _map(value: Any, name: str) -> Mapping[str, object]:  # noqa: ANN401 - decoded CBOR
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise RequestError(f"Malformed request: {name} is missing or not a map of named fields")
    return cast("Mapping[str, object]", value)


def _list(value: Any, name: str) -> Sequence[object]:  # noqa: ANN401 - decoded CBOR
    if not isinstance(value, (list, tuple)):
        raise RequestError(f"Malformed request: {name} is missing or not an array")
    return value


def _bytes(value: Any, name: str) -> bytes:  # noqa: ANN401 - decoded CBOR
    if not isinstance(value, bytes):
        raise RequestError(f"Malformed request: {name} is missing or not a byte string")
    return value


def _principal(value: Any, name: str) -> bytes:  # noqa: ANN401 - decoded CBOR
    raw = _bytes(value, name)
    if len(raw) > principal.MAX_LENGTH:
        raise RequestError(f"Malformed request: {name} is longer than 29 bytes")
    return raw


def _nat64(value: Any, name: str) -> int:  # noqa: ANN401 - decoded CBOR
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 64:
        raise RequestError(f"Malformed request: {name} is missing or not a 64-bit number")
    return value
