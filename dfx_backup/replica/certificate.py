"""Hash trees, witnesses and the certificates and signatures made from them.

Source: interface specification, "Certification". A tree is a nested dict of labels; what a request
may see is cut out of it as a witness whose other parts are hashes only. Encoded trees are lists of
byte pieces, so that a reply of 2 MB is hashed once and copied once, when the body is put together.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from pyblst import BlstP1Element, BlstP2Element

from dfx_backup.replica.leb128 import leb128

__all__ = [
    "SELF_DESCRIBED",
    "BlsKey",
    "Leaf",
    "Pruned",
    "Tree",
    "bytes_head",
    "certificate_pieces",
    "hash_of_map",
    "leb128",
    "state_root_signature",
    "witness",
]

SELF_DESCRIBED: Final = b"\xd9\xd9\xf7"  # CBOR tag 55799
_DST: Final = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
_DER_PREFIX: Final = bytes.fromhex(
    "308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100"
)
_G2_GENERATOR: Final = bytes.fromhex(
    "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
    "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
)
_GROUP_ORDER: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001


def _domain(name: bytes) -> bytes:
    return bytes([len(name)]) + name


_EMPTY_DOMAIN: Final = _domain(b"ic-hashtree-empty")
_FORK_DOMAIN: Final = _domain(b"ic-hashtree-fork")
_LABELED_DOMAIN: Final = _domain(b"ic-hashtree-labeled")
_LEAF_DOMAIN: Final = _domain(b"ic-hashtree-leaf")
_ROOT_DOMAIN: Final = _domain(b"ic-state-root")
_EMPTY_HASH: Final = hashlib.sha256(_EMPTY_DOMAIN).digest()


@dataclass(frozen=True)
class Leaf:
    """A value in the tree; its hash is computed once and kept, for replies are polled often."""

    value: bytes

    @cached_property
    def digest(self) -> bytes:
        """Hash of the leaf node, 32 bytes."""
        state = hashlib.sha256(_LEAF_DOMAIN)
        state.update(self.value)
        return state.digest()


@dataclass(frozen=True, slots=True)
class Pruned:
    """A part of the tree that is never shown, known by its hash only (32 bytes)."""

    digest: bytes


Tree = Mapping[bytes, "Tree"] | Leaf | Pruned


@dataclass(slots=True)
class _Wanted:
    """Prefix tree of the asked paths; `whole` reveals everything below."""

    whole: bool = False
    below: dict[bytes, "_Wanted"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Part:
    """A witness node: its hash, and its encoding when any of it is shown."""

    digest: bytes
    pieces: list[bytes] | None

    def encoded(self) -> list[bytes]:
        return [b"\x82\x04\x58\x20" + self.digest] if self.pieces is None else self.pieces


_EVERYTHING: Final = _Wanted(whole=True)


def witness(tree: Tree, paths: Iterable[tuple[bytes, ...]]) -> tuple[bytes, list[bytes]]:
    """Cut out of a tree what some paths may see, with proof of absence where there is nothing.

    Args:
        tree: the whole tree.
        paths: every value with one of these as a prefix of its path is shown.

    Returns:
        The root hash (32 bytes) and the CBOR of the witness in pieces.
    """
    wanted = _Wanted()
    for path in paths:
        node = wanted
        for label in path:
            node = node.below.setdefault(label, _Wanted())
        node.whole = True
    part = _cut(tree, wanted)
    return part.digest, part.encoded()


def _cut(tree: Tree, wanted: _Wanted | None) -> _Part:
    if isinstance(tree, Pruned):
        return _Part(tree.digest, None)
    if isinstance(tree, Leaf):
        if wanted is None:
            return _Part(tree.digest, None)
        return _Part(tree.digest, [b"\x82\x03", bytes_head(len(tree.value)), tree.value])
    if not tree:
        return _Part(_EMPTY_HASH, None if wanted is None else [b"\x81\x00"])
    labels = sorted(tree)
    shown = _neighbours(labels, wanted)
    parts = []
    for label in labels:
        below = _below(wanted, label)
        sub = _cut(tree[label], below)
        digest = _hash(_LABELED_DOMAIN, label, sub.digest)
        if below is None and label not in shown:
            parts.append(_Part(digest, None))
        else:
            head = b"\x83\x02" + bytes_head(len(label)) + label
            parts.append(_Part(digest, [head, *sub.encoded()]))
    return _fork(parts)


def _below(wanted: _Wanted | None, label: bytes) -> _Wanted | None:
    if wanted is None:
        return None
    return _EVERYTHING if wanted.whole else wanted.below.get(label)


def _neighbours(labels: list[bytes], wanted: _Wanted | None) -> set[bytes]:
    """Labels that must stay visible to prove that an asked label is not there."""
    if wanted is None or wanted.whole:
        return set()
    shown: set[bytes] = set()
    present = set(labels)
    for asked in wanted.below:
        if asked not in present:
            before = [label for label in labels if label < asked]
            after = [label for label in labels if label > asked]
            shown.update(before[-1:])
            shown.update(after[:1])
    return shown


def _fork(parts: list[_Part]) -> _Part:
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    left, right = _fork(parts[:middle]), _fork(parts[middle:])
    digest = _hash(_FORK_DOMAIN, left.digest, right.digest)
    if left.pieces is None and right.pieces is None:
        return _Part(digest, None)
    return _Part(digest, [b"\x83\x01", *left.encoded(), *right.encoded()])


def _hash(*pieces: bytes) -> bytes:
    return hashlib.sha256(b"".join(pieces)).digest()


def bytes_head(length: int, *, major: int = 2) -> bytes:
    """CBOR head of a byte string (or of another major type) of this length."""
    kind = major << 5
    if length < 24:
        return bytes([kind | length])
    for info, size in ((24, 1), (25, 2), (26, 4)):
        if length < 1 << (8 * size):
            return bytes([kind | info]) + length.to_bytes(size, "big")
    return bytes([kind | 27]) + length.to_bytes(8, "big")


def certificate_pieces(
    tree: list[bytes], signature: bytes, delegation: tuple[bytes, bytes] | None
) -> list[bytes]:
    """Encode a certificate as CBOR.

    Args:
        tree: the encoded witness, in pieces.
        signature: 48 bytes.
        delegation: subnet id and encoded certificate of the root, or None for the root itself.
    """
    count = 2 if delegation is None else 3
    pieces = [SELF_DESCRIBED + bytes([0xA0 | count]) + b"\x64tree", *tree]
    pieces.append(b"\x69signature" + bytes_head(len(signature)) + signature)
    if delegation is not None:
        subnet_id, certificate = delegation
        pieces.append(b"\x6adelegation\xa2\x69subnet_id" + bytes_head(len(subnet_id)) + subnet_id)
        pieces.append(b"\x6bcertificate" + bytes_head(len(certificate)))
        pieces.append(certificate)
    return pieces


@dataclass(frozen=True)
class BlsKey:
    """A BLS12-381 secret key (signatures in G1, keys in G2); not constant-time, for tests only."""

    secret: int

    @classmethod
    def from_seed(cls, seed: bytes) -> "BlsKey":
        """Derive a key from at least 32 random bytes."""
        wide = hashlib.sha512(seed).digest()
        return cls(int.from_bytes(wide, "big") % (_GROUP_ORDER - 1) + 1)

    @cached_property
    def public_der(self) -> bytes:
        """The public key, DER, 133 bytes."""
        generator = BlstP2Element.uncompress(_G2_GENERATOR)
        return _DER_PREFIX + generator.scalar_mul(self.secret).compress()

    def sign(self, message: bytes) -> bytes:
        """Sign a message; 48 bytes."""
        return BlstP1Element.hash_to_group(message, _DST).scalar_mul(self.secret).compress()


def state_root_signature(key: BlsKey, root_hash: bytes) -> bytes:
    """Certify the root hash of a state tree; 48 bytes."""
    return key.sign(_ROOT_DOMAIN + root_hash)


def hash_of_map(fields: Mapping[str, object]) -> bytes:
    """Representation-independent hash of structured data (32 bytes).

    Args:
        fields: values are bytes, str, natural numbers, sequences and mappings of these.

    Raises:
        TypeError: a value is of another type.
    """
    pairs = sorted(
        hashlib.sha256(name.encode()).digest() + _hash_of_value(value)
        for name, value in fields.items()
    )
    return hashlib.sha256(b"".join(pairs)).digest()


def _hash_of_value(value: object) -> bytes:
    if isinstance(value, bytes):
        return hashlib.sha256(value).digest()
    if isinstance(value, str):
        return hashlib.sha256(value.encode()).digest()
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return hashlib.sha256(leb128(value)).digest()
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError("the names in a map are text")
        return hash_of_map(value)
    if isinstance(value, (list, tuple)):
        return hashlib.sha256(b"".join(map(_hash_of_value, value))).digest()
    raise TypeError(f"a {type(value).__name__} can't be hashed")
