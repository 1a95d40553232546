"""A client that is as small as it can be: envelopes, and checks of everything the replica signs.

It is written from the interface specification alone and shares no code with what it checks.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pyblst import BlstP1Element, BlstP2Element, final_verify, miller_loop

ANONYMOUS = b"\x04"
TAG = bytes.fromhex("d9d9f7")
G2 = BlstP2Element.uncompress(
    bytes.fromhex(
        "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d"
        "042b7e024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd480"
        "56c8c121bdb8"
    )
)
DST = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"


class BadProof(Exception):  # noqa: N818 - it is no error of ours
    pass


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def leb(number: int) -> bytes:
    out = []
    while True:
        number, low = number >> 7, number & 127
        out.append(low | (128 if number else 0))
        if not number:
            return bytes(out)


def unleb(data: bytes) -> int:
    return sum((byte & 127) << (7 * i) for i, byte in enumerate(data))


def hash_value(value: Any) -> bytes:
    if isinstance(value, bytes):
        return sha(value)
    if isinstance(value, str):
        return sha(value.encode())
    if isinstance(value, int):
        return sha(leb(value))
    if isinstance(value, Mapping):
        pairs = sorted(sha(key.encode()) + hash_value(item) for key, item in value.items())
        return sha(*pairs)
    return sha(*map(hash_value, value))


# Identities


@dataclass(frozen=True)
class Signer:
    der: bytes
    sign: Callable[[bytes], bytes]

    @property
    def principal(self) -> bytes:
        return hashlib.sha224(self.der).digest() + b"\x02"


def _der_of(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def ed25519_signer(seed: int = 1) -> Signer:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(sha(b"ed", bytes([seed])))
    return Signer(_der_of(key), key.sign)


def ecdsa_signer(curve: ec.EllipticCurve, seed: int = 1) -> Signer:
    key = ec.derive_private_key(int.from_bytes(sha(bytes([seed])), "big") >> 8, curve)

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return Signer(_der_of(key), sign)


def delegate(giver: Signer, taker: Signer, expiration: int, **more: Any) -> dict[str, Any]:
    delegation = {"pubkey": taker.der, "expiration": expiration, **more}
    payload = b"\x1aic-request-auth-delegation" + hash_value(delegation)
    return {"delegation": delegation, "signature": giver.sign(payload)}


# Envelopes


def expiry(seconds: float = 240) -> int:
    return time.time_ns() + int(seconds * 1e9)


def envelope(
    content: dict[str, Any],
    signer: Signer | None = None,
    *,
    chain: tuple[dict[str, Any], ...] = (),
    root: Signer | None = None,
) -> bytes:
    """CBOR of a signed request; `root` is the first key when `signer` holds a delegation."""
    body: dict[str, Any] = {"content": content}
    if signer is not None:
        body["sender_pubkey"] = (root or signer).der
        body["sender_sig"] = signer.sign(b"\x0aic-request" + hash_value(content))
    if chain:
        body["sender_delegation"] = list(chain)
    return TAG + cbor2.dumps(body)


def call(
    canister_id: bytes,
    method: str,
    arg: bytes = b"",
    *,
    sender: bytes = ANONYMOUS,
    kind: str = "call",
    **more: Any,
) -> dict[str, Any]:
    return {
        "request_type": kind,
        "sender": sender,
        "ingress_expiry": expiry(),
        "canister_id": canister_id,
        "method_name": method,
        "arg": arg,
        **more,
    }


def read(*paths: list[bytes], sender: bytes = ANONYMOUS, **more: Any) -> dict[str, Any]:
    return {
        "request_type": "read_state",
        "sender": sender,
        "ingress_expiry": expiry(),
        "paths": [list(path) for path in paths],
        **more,
    }


# Proofs

ABSENT = "absent"
UNKNOWN = "unknown"


def root_hash(tree: list[Any]) -> bytes:
    match tree:
        case [0]:
            return sha(b"\x11ic-hashtree-empty")
        case [1, left, right]:
            return sha(b"\x10ic-hashtree-fork", root_hash(left), root_hash(right))
        case [2, label, below]:
            return sha(b"\x13ic-hashtree-labeled", label, root_hash(below))
        case [3, value]:
            return sha(b"\x10ic-hashtree-leaf", value)
        case [4, digest] if len(digest) == 32:
            return digest
    raise BadProof(f"no tree: {tree!r}")


def _flat(tree: list[Any]) -> list[list[Any]]:
    return _flat(tree[1]) + _flat(tree[2]) if tree[0] == 1 else [tree]


def children(tree: list[Any]) -> dict[bytes, list[Any]]:
    found = [node for node in _flat(tree) if node[0] == 2]
    labels = [node[1] for node in found]
    assert labels == sorted(set(labels)), "labels must be sorted and different"
    return {node[1]: node[2] for node in found}


def lookup(tree: list[Any], *path: bytes) -> Any:
    """The value at a path, or a subtree, or ABSENT, or UNKNOWN."""
    for label in path:
        nodes = _flat(tree)
        if nodes[0][0] == 3:
            return ABSENT
        below = [node for node in nodes if node[0] == 2 and node[1] == label]
        if not below:
            return _missing(nodes, label)
        tree = below[0][2]
    return tree[1] if tree[0] == 3 else UNKNOWN if tree[0] == 4 else tree


def _missing(nodes: list[list[Any]], label: bytes) -> str:
    """A pruned node may hide the label unless labels on both sides of it exclude that."""
    for index, node in enumerate(nodes):
        if node[0] != 4:
            continue
        before = [other[1] for other in nodes[:index] if other[0] == 2]
        after = [other[1] for other in nodes[index + 1 :] if other[0] == 2]
        if not ((before and label < before[-1]) or (after and label > after[0])):
            return UNKNOWN
    return ABSENT


def check_bls(der: bytes, message: bytes, signature: bytes) -> None:
    if len(der) != 133 or der[:37].hex() != (
        "308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100"
    ):
        raise BadProof("no BLS key")
    try:
        point = BlstP1Element.uncompress(signature)
        key = BlstP2Element.uncompress(der[37:])
    except ValueError as error:
        raise BadProof(str(error)) from error
    left = miller_loop(point, G2)
    right = miller_loop(BlstP1Element.hash_to_group(message, DST), key)
    if not final_verify(left, right):
        raise BadProof("BLS signature")


def check_certificate(
    data: bytes,
    root_key: bytes,
    *,
    canister_id: bytes | None = None,
    subnet_id: bytes | None = None,
    form: str | None = None,
) -> list[Any]:
    """Check a certificate and give its tree.

    `form` is where a delegation must hold its ranges: "flat", "sharded", or None for no delegation.
    """
    fields = _strict(data)
    if not set(fields) <= {"tree", "signature", "delegation"}:
        raise BadProof("unknown field")
    key = root_key
    if (form is None) != ("delegation" not in fields):
        raise BadProof("delegation")
    if form is not None:
        key = _check_delegation(fields["delegation"], root_key, canister_id, subnet_id, form)
    tree = fields["tree"]
    check_bls(key, b"\x0dic-state-root" + root_hash(tree), fields["signature"])
    return tree


def _strict(data: bytes) -> dict[str, Any]:
    try:
        fields = cbor2.loads(data.removeprefix(TAG))
        if isinstance(fields, dict) and isinstance(fields["tree"], list):
            return fields
    except (cbor2.CBORDecodeError, KeyError, ValueError, TypeError) as error:
        raise BadProof(str(error)) from error
    raise BadProof("not a certificate")


def _check_delegation(
    delegation: Any, root_key: bytes, canister_id: bytes | None, subnet_id: bytes | None, form: str
) -> bytes:
    if not isinstance(delegation, dict) or set(delegation) != {"subnet_id", "certificate"}:
        raise BadProof("delegation")
    subnet = delegation["subnet_id"]
    tree = check_certificate(delegation["certificate"], root_key)
    if subnet_id is not None and subnet != subnet_id:
        raise BadProof("another subnet")
    if canister_id is not None:
        ranges: list[Any] = []
        if form == "flat":
            leaves = [lookup(tree, b"subnet", subnet, b"canister_ranges")]
        else:
            below = lookup(tree, b"canister_ranges", subnet)
            if not isinstance(below, list):
                raise BadProof("no ranges")
            shards = children(below)
            leaves = [shard[1] for shard in shards.values()]
            assert all(cbor2.loads(leaf)[0][0] == start for start, (_, leaf) in shards.items())
        for leaf in leaves:
            if not isinstance(leaf, bytes) or not leaf.startswith(TAG):
                raise BadProof("no ranges")
            ranges += cbor2.loads(leaf)
        if not any(low <= canister_id <= high for low, high in ranges):
            raise BadProof("canister is not in the ranges")
    key = lookup(tree, b"subnet", subnet, b"public_key")
    if not isinstance(key, bytes):
        raise BadProof("no subnet key")
    return key


def check_query(answer: dict[str, Any], content: dict[str, Any], node_key: bytes) -> None:
    (signed,) = answer["signatures"]
    parts = {key: value for key, value in answer.items() if key != "signatures"}
    parts["timestamp"] = signed["timestamp"]
    parts["request_id"] = hash_value(content)
    assert node_key.startswith(bytes.fromhex("302a300506032b6570032100"))
    public = ed25519.Ed25519PublicKey.from_public_bytes(node_key[12:])
    public.verify(signed["signature"], b"\x0bic-response" + hash_value(parts))
