"""Hash trees: the certified state as it is shown to us (interface spec, "Certificate").

A tree comes from outside, so its depth and size are bounded, and whatever is no tree gives a
`CertificateError`.
"""

import enum
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from dfx_backup.errors import CertificateError

MAX_DEPTH = 128
MAX_NODES = 200_000

_EMPTY, _FORK, _LABELED, _LEAF, _PRUNED = range(5)
_HASH_BYTES = 32
_EMPTY_DIGEST = hashlib.sha256(b"\x11ic-hashtree-empty").digest()
_FORK_DOMAIN = b"\x10ic-hashtree-fork"
_LABELED_DOMAIN = b"\x13ic-hashtree-labeled"
_LEAF_DOMAIN = b"\x10ic-hashtree-leaf"

Node: TypeAlias = tuple["int | bytes | Node", ...]
"""A checked node: its kind, and then its parts."""


class Presence(enum.Enum):
    """What a tree can say about a path."""

    FOUND = "found"
    ABSENT = "absent"
    """Proven not to be there."""
    UNKNOWN = "unknown"
    """Cut off: the tree does not tell."""
    ERROR = "error"
    """There is something else than a value."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """The answer to a lookup.

    Attributes:
        presence: what the tree says.
        value: the value, when it was found.
    """

    presence: Presence
    value: bytes = b""


@dataclass(frozen=True, slots=True)
class HashTree:
    """A tree whose form has been checked; whether it is true, the root's digest tells.

    Attributes:
        root: its root node.
        digest: the root hash, 32 bytes.
    """

    root: Node
    digest: bytes

    @classmethod
    def parse(cls, decoded: object) -> "HashTree":
        """Check a decoded CBOR value and compute its root hash.

        Raises:
            CertificateError: it is no hash tree, or too deep or too large.
        """
        root, digest = _Parser().node(decoded, 0)
        return cls(root, digest)

    def lookup(self, path: Sequence[bytes]) -> Lookup:
        """Look a value up (interface spec, "Lookup")."""
        found = self._find(path)
        if isinstance(found, Presence):
            return Lookup(found)
        kind = found[0]
        if kind == _LEAF:
            return Lookup(Presence.FOUND, _bytes(found[1]))
        if kind == _EMPTY:
            return Lookup(Presence.ABSENT)
        return Lookup(Presence.UNKNOWN if kind == _PRUNED else Presence.ERROR)

    def value(self, path: Sequence[bytes]) -> bytes | None:
        """The value at a path, or None when the tree does not show one."""
        found = self.lookup(path)
        return found.value if found.presence is Presence.FOUND else None

    def labels(self, path: Sequence[bytes]) -> tuple[bytes, ...]:
        """The labels that the tree shows under a path, in order; there may be more, cut off."""
        found = self._find(path)
        if isinstance(found, Presence):
            return ()
        return tuple(_bytes(node[1]) for node in _flatten(found) if node[0] == _LABELED)

    def _find(self, path: Sequence[bytes]) -> Node | Presence:
        node = self.root
        for label in path:
            found = _find_label(label, node)
            if isinstance(found, Presence):
                return found
            node = found
        return node


class _Parser:
    """Turns decoded CBOR into checked nodes, and hashes them on the way."""

    __slots__ = ("_nodes",)

    def __init__(self) -> None:
        self._nodes = 0

    def node(self, raw: object, depth: int) -> tuple[Node, bytes]:
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > MAX_NODES:
            raise CertificateError("the certificate's tree is too deep or too large")
        if not isinstance(raw, list | tuple) or not raw:
            raise CertificateError("the certificate's tree is malformed")
        kind = raw[0]
        if kind == _FORK and len(raw) == 3:
            left, left_hash = self.node(raw[1], depth + 1)
            right, right_hash = self.node(raw[2], depth + 1)
            return (_FORK, left, right), _digest(_FORK_DOMAIN + left_hash + right_hash)
        if kind == _LABELED and len(raw) == 3 and isinstance(raw[1], bytes):
            inner, inner_hash = self.node(raw[2], depth + 1)
            return (_LABELED, raw[1], inner), _digest(_LABELED_DOMAIN + raw[1] + inner_hash)
        if kind == _LEAF and len(raw) == 2 and isinstance(raw[1], bytes):
            leaf = hashlib.sha256(_LEAF_DOMAIN)
            leaf.update(raw[1])
            return (_LEAF, raw[1]), leaf.digest()
        return self._end(kind, raw)

    @staticmethod
    def _end(kind: object, raw: Sequence[object]) -> tuple[Node, bytes]:
        if kind == _PRUNED and len(raw) == 2:
            digest = raw[1]
            if isinstance(digest, bytes) and len(digest) == _HASH_BYTES:
                return (_PRUNED, digest), digest
        if kind == _EMPTY and len(raw) == 1:
            return (_EMPTY,), _EMPTY_DIGEST
        raise CertificateError("the certificate's tree is malformed")


def _flatten(node: Node) -> Iterator[Node]:
    """The nodes under forks, from left to right; empty ones are left out."""
    stack = [node]
    while stack:
        top = stack.pop()
        if top[0] == _FORK:
            stack += [_node(top[2]), _node(top[1])]
        elif top[0] != _EMPTY:
            yield top


def _find_label(label: bytes, node: Node) -> Node | Presence:
    """The subtree under a label; labels rise from left to right, so gaps prove absence."""
    before: bytes | None = b""  # the label right before here, or None when something is cut off
    for at in _flatten(node):
        if at[0] == _LEAF:
            return Presence.ERROR
        if at[0] == _PRUNED:
            before = None
            continue
        here = _bytes(at[1])
        if here == label:
            return _node(at[2])
        if label < here:
            return Presence.UNKNOWN if before is None else Presence.ABSENT
        before = here
    return Presence.UNKNOWN if before is None else Presence.ABSENT


def _node(part: "int | bytes | Node") -> Node:
    assert isinstance(part, tuple)
    return part


def _bytes(part: "int | bytes | Node") -> bytes:
    assert isinstance(part, bytes)
    return part


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
