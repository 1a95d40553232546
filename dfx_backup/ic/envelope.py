"""Requests: their content, their id, their signature (interface spec, "Authentication")."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dfx_backup.ic import cbor
from dfx_backup.ic.candid_writer import unsigned_leb
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.signer import Identity
from dfx_backup.model import SentCall

__all__ = ["CALL_EXPIRY_S", "Hashable", "Identity", "SignedRequest", "hash_of_map", "sign"]

CALL_EXPIRY_S = 240.0
"""Seconds for which a call can execute; the replica allows 300, and 30 for clocks that differ."""

_REQUEST_DOMAIN = b"\x0aic-request"
_NS = 1_000_000_000

Hashable = bytes | str | int | Sequence["Hashable"] | Mapping[str, "Hashable"]
"""What a representation-independent hash is defined for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """A request that is ready to leave, and can leave again: its id never changes.

    Attributes:
        request_id: the representation-independent hash of the content, 32 bytes.
        parts: the envelope in CBOR, in pieces: a large argument is not copied.
        expiry_ns: nanoseconds since the epoch after which the replica refuses it.
    """

    request_id: bytes
    parts: tuple[bytes, ...]
    expiry_ns: int

    @property
    def body(self) -> bytes:
        """The envelope in one piece."""
        return b"".join(self.parts)

    @property
    def expires_at(self) -> float:
        """Seconds since the epoch after which the replica refuses it."""
        return self.expiry_ns / _NS

    def sent(self) -> SentCall:
        """What a journal keeps of it."""
        return SentCall(request_id=self.request_id.hex(), expires_at=self.expires_at)


def hash_of_map(content: Mapping[str, Hashable]) -> bytes:
    """The representation-independent hash (interface spec, "Request ids"), 32 bytes."""
    pairs = [_digest(key.encode()) + _hash(value) for key, value in content.items()]
    return _digest(b"".join(sorted(pairs)))


def sign(
    identity: Identity, content: Mapping[str, Hashable], *, now: float, expiry_s: float
) -> SignedRequest:
    """Complete a request with sender and expiry, and sign it.

    Args:
        identity: who sends.
        content: the request's own fields, `request_type` first of all.
        now: seconds since the epoch.
        expiry_s: seconds from now for which the replica may take it.
    """
    expiry_ns = int((now + expiry_s) * _NS)
    full: dict[str, Hashable] = {
        **content,
        "sender": identity.principal.raw,
        "ingress_expiry": expiry_ns,
    }
    request_id = hash_of_map(full)
    envelope: dict[str, object] = {"content": full}
    signature = identity.sign(_REQUEST_DOMAIN + request_id)
    if signature is not None and identity.public_key_der is not None:
        envelope["sender_pubkey"] = identity.public_key_der
        envelope["sender_sig"] = signature
    parts = cbor.dump_parts(envelope, large=full.get("arg"))
    return SignedRequest(request_id=request_id, parts=parts, expiry_ns=expiry_ns)


def call_content(
    canister: Principal, method: str, arg: bytes, *, nonce: bytes
) -> dict[str, Hashable]:
    """Content of an update call. The nonce makes two equal calls two calls."""
    return {
        "request_type": "call",
        "canister_id": canister.raw,
        "method_name": method,
        "arg": arg,
        "nonce": nonce,
    }


def query_content(canister: Principal, method: str, arg: bytes) -> dict[str, Hashable]:
    """Content of a query."""
    return {
        "request_type": "query",
        "canister_id": canister.raw,
        "method_name": method,
        "arg": arg,
    }


def read_state_content(paths: Sequence[Sequence[bytes]]) -> dict[str, Hashable]:
    """Content of a request for parts of the certified state."""
    return {"request_type": "read_state", "paths": [list(path) for path in paths]}


def _hash(value: Hashable) -> bytes:
    if isinstance(value, bytes):
        return _digest(value)
    if isinstance(value, str):
        return _digest(value.encode())
    if isinstance(value, int):
        return _digest(unsigned_leb(value))
    if isinstance(value, Mapping):
        return hash_of_map(value)
    return _digest(b"".join(_hash(item) for item in value))


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
