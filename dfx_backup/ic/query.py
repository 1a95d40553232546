"""Answers to queries, signed by nodes whose keys the network certifies."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from dfx_backup.errors import CertificateError, NetworkError
from dfx_backup.ic import cbor
from dfx_backup.ic.certificate import Certificate, check_time
from dfx_backup.ic.envelope import Hashable, hash_of_map
from dfx_backup.ic.outcome import plain_rejection
from dfx_backup.ic.principal import Principal

NODE_KEYS_AGE_S = 300.0
"""Seconds for which node keys are kept."""

_RESPONSE_DOMAIN = b"\x0bic-response"
_ED25519_DER_PREFIX = bytes.fromhex("302a300506032b6570032100")
_ED25519_DER_BYTES = 44
_MAX_SIGNATURES = 1000
_CACHED_CANISTERS = 256

ReadState = Callable[[Sequence[Sequence[bytes]], Principal], Certificate]


@dataclass(frozen=True, slots=True)
class _Nodes:
    keys: Mapping[bytes, bytes]
    read_at: float


class NodeKeys:
    """The public keys of the nodes that serve a canister, out of the certified state.

    Args:
        read_state: reads and verifies parts of the state.
        monotonic: gives seconds of a clock that never jumps.
    """

    def __init__(
        self, read_state: ReadState, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._read_state = read_state
        self._monotonic = monotonic
        self._known: dict[Principal, _Nodes] = {}
        self._lock = threading.Lock()

    def key(self, canister: Principal, node: bytes) -> bytes:
        """A node's Ed25519 key, 32 bytes.

        A node that is not among the kept keys makes them be read once more.

        Raises:
            CertificateError: the canister's subnet has no such node.
            NetworkError: the keys can't be read.
        """
        with self._lock:
            known = self._known.get(canister)
        if known is not None and self._monotonic() - known.read_at < NODE_KEYS_AGE_S:
            found = known.keys.get(node)
            if found is not None:
                return found
        found = self._read(canister).get(node)
        if found is None:
            raise CertificateError("the answer is signed by a node that its subnet does not have")
        return found

    def _read(self, canister: Principal) -> Mapping[bytes, bytes]:
        certificate = self._read_state([[b"subnet"]], canister)
        keys = _node_keys(certificate)
        with self._lock:
            if len(self._known) >= _CACHED_CANISTERS:
                self._known.clear()
            self._known[canister] = _Nodes(keys, self._monotonic())
        return keys


def _node_keys(certificate: Certificate) -> Mapping[bytes, bytes]:
    base = [b"subnet", certificate.subnet.raw, b"node"]
    keys = {}
    for node in certificate.tree.labels(base):
        der = certificate.tree.value([*base, node, b"public_key"])
        if der is not None and len(der) == _ED25519_DER_BYTES:
            keys[node] = der.removeprefix(_ED25519_DER_PREFIX)
    return keys


def checked_reply(
    found: dict[str, object],
    request_id: bytes,
    key_of: Callable[[bytes], bytes],
    *,
    now: float,
    what: str,
) -> bytes:
    """Verify the answer to a query and take the reply out of it.

    Args:
        found: the answer, decoded.
        request_id: the query's id: the signatures cover it.
        key_of: gives a node's key.
        now: seconds since the epoch.
        what: the query, for messages.

    Raises:
        RejectError: the query was refused, and a node has signed that.
        CertificateError: a signature is missing, wrong, too old, or of an unknown node.
        NetworkError: the answer is malformed.
    """
    told = f"the answer to {what}"
    status = cbor.field(found, "status", str, told)
    response: dict[str, Hashable] = {"status": status, "request_id": request_id}
    reply = b""
    if status == "replied":
        reply = cbor.field(cbor.field(found, "reply", dict, told), "arg", bytes, told)
        response["reply"] = {"arg": reply}
    elif status == "rejected":
        response["reject_code"] = cbor.field(found, "reject_code", int, told)
        response["reject_message"] = cbor.field(found, "reject_message", str, told)
        if found.get("error_code") is not None:
            response["error_code"] = cbor.field(found, "error_code", str, told)
    else:
        raise NetworkError(f"{told} has an unknown status")
    _check_signatures(found.get("signatures"), response, key_of, now)
    if status == "rejected":
        raise plain_rejection(found, what)
    return reply


def _check_signatures(
    signatures: object,
    response: Mapping[str, Hashable],
    key_of: Callable[[bytes], bytes],
    now: float,
) -> None:
    if not isinstance(signatures, list) or not 0 < len(signatures) <= _MAX_SIGNATURES:
        raise CertificateError("the answer to the query is not signed by a node")
    for entry in signatures:
        try:
            timestamp = cbor.field(_map(entry), "timestamp", int, "the node's signature")
            signature = cbor.field(_map(entry), "signature", bytes, "the node's signature")
            node = cbor.field(_map(entry), "identity", bytes, "the node's signature")
        except NetworkError as error:
            raise CertificateError(error.message) from None
        if not 0 <= timestamp < 2**64:
            raise CertificateError("the node's signature has no time that there is")
        check_time(timestamp, now, "the node's signature")
        message = _RESPONSE_DOMAIN + hash_of_map({**response, "timestamp": timestamp})
        try:
            Ed25519PublicKey.from_public_bytes(key_of(node)).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise CertificateError("the answer to the query is not what the node signed") from None


def _map(entry: object) -> dict[str, object]:
    return entry if isinstance(entry, dict) else {}
