"""Trees: the names in a directory, and for each file the ids of its blobs, as JSON.

restic's doc/design.rst, "Trees and Data". The tree of a large file is itself large (67 bytes a
blob), so it is made and read as a stream: the ids never stand in memory as text.
"""

import json
import re
from binascii import unhexlify
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dfx_backup.errors import DamageError
from dfx_backup.repository.contents import ContentBuilder, ContentTable
from dfx_backup.repository.layout import ID_BYTES, id_bytes
from dfx_backup.repository.machine import rfc3339, seconds_of

FILE_MODE = 0o600
DIRECTORY_MODE = (1 << 31) | 0o700
"""Modes are those of Go's io/fs.FileMode: its bit 31 says directory."""

_KNOWN = {"name", "type", "mode", "mtime", "size", "content", "subtree"}
_ARRAY = re.compile(rb'"content"\s*:\s*\[')
"""Unescaped quotes delimit strings, so this can only be a key with a list after it."""
_CARRY = 64
"""Bytes of text that may be the beginning of such a key."""
_NOT_HEX = b'", \t\r\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A name in a directory.

    Attributes:
        name: the name, without a path.
        type: restic's word: "file", "dir", "symlink" and so on.
        mode: Go's io/fs.FileMode.
        mtime: seconds since the epoch.
        size: bytes of a file.
        content: blobs of a file, or None for what is no file.
        subtree: blob id of a directory's tree, 32 bytes, or None for what is no directory.
        extra: whatever else stands in the tree, as it is there.
    """

    name: str
    type: str
    mode: int
    mtime: float
    size: int = 0
    content: ContentTable | None = None
    subtree: bytes | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who owns the files of a tree, in words and numbers of the machine that wrote it."""

    user: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A directory.

    Attributes:
        nodes: its names, rising.
    """

    nodes: tuple[Node, ...]

    def find(self, name: str) -> Node | None:
        """The node with a name, or None."""
        return next((node for node in self.nodes if node.name == name), None)


def encode_tree(nodes: Iterable[Node], owner: Owner) -> Iterator[bytes]:
    """The JSON text of a tree in pieces, fields in restic's order; nodes must come sorted."""
    yield b'{"nodes":['
    separator = b""
    for node in nodes:
        yield separator
        yield from _encode_node(node, owner)
        separator = b","
    # restic ends a tree with a newline, and so do we.
    yield b"]}\n"


def _encode_node(node: Node, owner: Owner) -> Iterator[bytes]:
    moment = rfc3339(node.mtime)
    head: dict[str, Any] = {"name": node.name, "type": node.type, "mode": node.mode}
    head |= {"mtime": moment, "atime": moment, "ctime": moment}
    head |= {"uid": owner.uid, "gid": owner.gid}
    if owner.user:
        head["user"] = owner.user
    if node.size:
        head["size"] = node.size
    text = json.dumps(head, ensure_ascii=False, separators=(",", ":"))
    yield text[:-1].encode() + b',"content":'
    if node.content is None:
        yield b"null"
    else:
        yield from _encode_content(node.content)
    if node.subtree is not None:
        yield f',"subtree":"{node.subtree.hex()}"'.encode()
    yield b"}"


def _encode_content(content: ContentTable) -> Iterator[bytes]:
    lead = '["'
    for group in content.groups():
        yield (lead + group.hex(",", ID_BYTES).replace(",", '","')).encode()
        lead = '","'
    yield b'"]' if len(content) else b"[]"


class TreeDecoder:
    """Reads the JSON text of a tree, fed in pieces of any size.

    Args:
        what: name of the tree, for messages.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._text: list[bytes] = []
        self._contents: list[ContentTable] = []
        self._carry = b""
        self._builder: ContentBuilder | None = None

    def feed(self, piece: bytes) -> None:
        """Take more text.

        Raises:
            DamageError: it can't be a tree.
        """
        data = self._carry + piece
        while data:
            data = self._take_text(data) if self._builder is None else self._take_ids(data)

    def finish(self) -> Tree:
        """The tree.

        Raises:
            DamageError: it is none.
        """
        text = b"".join([*self._text, self._carry])
        try:
            nodes = tuple(self._node(each) for each in json.loads(text)["nodes"] or ())
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise self._damaged() from error
        return Tree(nodes=nodes)

    def _take_text(self, data: bytes) -> bytes:
        """Keep text up to the next list of ids; what is left."""
        found = _ARRAY.search(data)
        if found is None:
            self._text.append(data[:-_CARRY])
            self._carry = data[-_CARRY:]
            return b""
        self._carry = b""
        # The list's number takes the place of its ids.
        self._text += [data[: found.end()], b"%d" % len(self._contents)]
        self._builder = ContentBuilder()
        return data[found.end() :]

    def _take_ids(self, data: bytes) -> bytes:
        """Take ids up to the end of their list; what is left."""
        assert self._builder is not None
        end = data.find(b"]")
        digits = (data if end < 0 else data[:end]).translate(None, _NOT_HEX)
        whole = len(digits) - len(digits) % (2 * ID_BYTES)
        try:
            self._builder.feed(unhexlify(digits[:whole]))
        except ValueError as error:
            raise self._damaged() from error
        if end < 0:
            self._carry = digits[whole:]
            return b""
        if whole < len(digits):
            raise self._damaged()
        self._carry = b""
        self._contents.append(self._builder.finish())
        self._builder = None
        return data[end:]

    def _node(self, node: dict[str, Any]) -> Node:
        content, subtree = node.get("content"), node.get("subtree")
        mode, size = node.get("mode", 0), node.get("size", 0)
        name, kind = node["name"], node["type"]
        if not isinstance(name, str) or not isinstance(kind, str):
            raise TypeError("a name that is none")
        if not isinstance(mode, int) or not isinstance(size, int) or min(mode, size) < 0:
            raise TypeError("a number that is none")
        return Node(
            name=name,
            type=kind,
            mode=mode,
            mtime=seconds_of(node["mtime"]),
            size=size,
            content=self._content(content, kind),
            subtree=None if subtree is None else id_bytes(subtree),
            extra={key: value for key, value in node.items() if key not in _KNOWN},
        )

    def _content(self, content: list[int] | None, kind: str) -> ContentTable | None:
        if content is None:
            # restic writes null for an empty file too.
            return ContentTable(0, b"") if kind == "file" else None
        (number,) = content
        return self._contents[number]

    def _damaged(self) -> DamageError:
        return DamageError(f"{self._what} can't be understood: it is no tree")
