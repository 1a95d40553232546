"""Snapshot objects: the only thing that makes stored blobs a backup.

restic's doc/design.rst, "Snapshots". A repository's snapshot object is what the rest of this
program calls a backup, or a note about one (a verification, a pin).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dfx_backup.errors import DamageError
from dfx_backup.repository.layout import id_bytes
from dfx_backup.repository.machine import rfc3339, seconds_of

_KNOWN = {"time", "tree", "paths", "hostname", "username", "tags", "program_version", "parent"}
_KNOWN |= {"original"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFields:
    """What a snapshot object holds.

    Attributes:
        time: seconds since the epoch.
        tree: blob id of its directory, 32 bytes.
        hostname: where its content is from.
        paths: what its content is.
        tags: words for people and programs.
        username: who made it.
        program_version: what made it.
        parent: hexadecimal id of the snapshot object before it, or None.
        original: hexadecimal id that it had before its tags were changed, or None.
        extra: whatever else stands in it, as it is there.
    """

    time: float
    tree: bytes
    hostname: str
    paths: tuple[str, ...]
    tags: tuple[str, ...] = ()
    username: str = ""
    program_version: str = ""
    parent: str | None = None
    original: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotObject(SnapshotFields):
    """A snapshot object of a repository.

    Attributes:
        snapshot_id: hexadecimal id; another one when a tag changes.
    """

    snapshot_id: str


def encode_snapshot(fields: SnapshotFields) -> bytes:
    """The JSON text, fields in restic's order."""
    document: dict[str, Any] = {"time": rfc3339(fields.time)}
    if fields.parent is not None:
        document["parent"] = fields.parent
    document |= {"tree": fields.tree.hex(), "paths": list(fields.paths)}
    document["hostname"] = fields.hostname
    if fields.username:
        document["username"] = fields.username
    if fields.tags:
        document["tags"] = list(fields.tags)
    if fields.original is not None:
        document["original"] = fields.original
    if fields.program_version:
        document["program_version"] = fields.program_version
    document |= fields.extra
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def decode_snapshot(text: bytes, snapshot_id: str) -> SnapshotObject:
    """A snapshot object from its JSON text.

    Raises:
        DamageError: it is none.
    """
    try:
        document = json.loads(text)
        return SnapshotObject(
            snapshot_id=snapshot_id,
            time=seconds_of(document["time"]),
            tree=id_bytes(document["tree"]),
            hostname=_text(document, "hostname"),
            paths=_texts(document, "paths"),
            tags=_texts(document, "tags"),
            username=_text(document, "username"),
            program_version=_text(document, "program_version"),
            parent=_text(document, "parent") or None,
            original=_text(document, "original") or None,
            extra={key: value for key, value in document.items() if key not in _KNOWN},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamageError(
            f"snapshots/{snapshot_id} can't be understood: it is no snapshot object"
        ) from error


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(name)
    return value


def _texts(document: dict[str, Any], name: str) -> tuple[str, ...]:
    values = document.get(name) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(name)
    return tuple(values)
