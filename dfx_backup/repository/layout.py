"""Names of a repository's objects (restic's doc/design.rst, "Repository Layout")."""

import re
from collections.abc import Iterator
from enum import StrEnum

from dfx_backup.repository.store import ObjectInfo, ObjectStore

CONFIG_NAME = "config"
ID_BYTES = 32
"""An object's or blob's id is a SHA-256."""

_HEX_ID = re.compile(r"[0-9a-f]{64}")


class ObjectKind(StrEnum):
    """The folders of a repository."""

    KEY = "keys"
    DATA = "data"
    INDEX = "index"
    SNAPSHOT = "snapshots"
    LOCK = "locks"


class BlobKind(StrEnum):
    """What a blob holds, in the words of index objects."""

    DATA = "data"
    TREE = "tree"


def is_id(text: str) -> bool:
    """Whether a text is a hexadecimal id."""
    return _HEX_ID.fullmatch(text) is not None


def id_bytes(text: object) -> bytes:
    """The 32 bytes of a hexadecimal id.

    Raises:
        ValueError: that is none.
    """
    if not isinstance(text, str) or not is_id(text):
        raise ValueError("an id that is none")
    return bytes.fromhex(text)


def object_name(kind: ObjectKind, object_id: str) -> str:
    """The name of the object with that hexadecimal id."""
    if kind is ObjectKind.DATA:
        return f"{kind}/{object_id[:2]}/{object_id}"
    return f"{kind}/{object_id}"


def object_id(kind: ObjectKind, name: str) -> str | None:
    """The hexadecimal id in a name, or None when the name is not one of that kind."""
    found = name.rpartition("/")[2]
    return found if is_id(found) and object_name(kind, found) == name else None


def list_objects(store: ObjectStore, kind: ObjectKind) -> Iterator[tuple[str, ObjectInfo]]:
    """Hexadecimal id and info of each object of a kind; whatever else lies there is left out."""
    for info in store.list(f"{kind}/"):
        found = object_id(kind, info.name)
        if found is not None:
            yield found, info
