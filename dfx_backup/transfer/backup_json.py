"""backup.json beside metadata.json: what the folder is a copy of, and what must be in it.

Version 1 holds what metadata.json can't: canister, snapshot and network, size and hash of each
file, and the bits of every global, NaN included. In a repository it also holds the section
`backup`. Other programs ignore the file; fields that this one does not know are kept.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dfx_backup.errors import ProjectError
from dfx_backup.files import Fields
from dfx_backup.ic.snapshot_metadata import GlobalKind, SnapshotMetadata, WasmGlobal
from dfx_backup.model import CanisterId, NetworkId, SnapshotId
from dfx_backup.transfer.backup_details import (
    BackupDetails,
    details_from_json,
    details_to_json,
)
from dfx_backup.transfer.page_hash import PAGE_SIZES
from dfx_backup.transfer.terms import BackupIdentity, FileRecord, PageHash

BACKUP_NAME = "backup.json"
FORMAT = "dfx-backup snapshot"
VERSION = 1

_KNOWN = {"format", "version", "tool", "created_at", "network_id", "canister_id", "snapshot_id"}
_KNOWN |= {"files", "globals", "backup"}
_HINT = "Without it the folder can still be used as one that dfx made, but nothing proves it whole."


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRecord:
    """What backup.json says.

    Attributes:
        identity: of what the folder is a copy.
        files: everything else in the folder that belongs to the snapshot.
        globals: exact to the bit; None stands for one of an unknown type.
        backup: what a backup in a repository knows beside that; None in a plain folder.
        extra: fields of newer versions; kept and written back.
    """

    identity: BackupIdentity
    files: tuple[FileRecord, ...]
    globals: tuple[WasmGlobal | None, ...]
    backup: BackupDetails | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def completed(self, metadata: SnapshotMetadata) -> SnapshotMetadata | None:
        """Metadata out of metadata.json with the bits that it lacks; None when they disagree."""
        if len(metadata.globals) != len(self.globals):
            return None
        pairs = zip(metadata.globals, self.globals, strict=True)
        if any(told is not None and told != exact for told, exact in pairs):
            return None
        return replace(metadata, globals=self.globals)


def to_json(record: BackupRecord) -> bytes:
    """The file's content."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "tool": record.identity.tool,
        "created_at": record.identity.created_at,
        "network_id": record.identity.network_id,
        "canister_id": record.identity.canister_id,
        "snapshot_id": record.identity.snapshot_id,
        "files": [_file_to_json(each) for each in record.files],
        "globals": globals_to_json(record.globals),
    }
    if record.backup is not None:
        content["backup"] = details_to_json(record.backup)
    content |= record.extra
    return (json.dumps(content, indent=2) + "\n").encode()


def _file_to_json(file: FileRecord) -> dict[str, Any]:
    told: dict[str, Any] = {"name": file.name, "size": file.size, "sha256": file.sha256}
    if file.pages is not None:
        told["pages"] = {"bytes": file.pages.page_bytes, "sha256": file.pages.sha256}
    return told


def globals_to_json(found: tuple[WasmGlobal | None, ...]) -> list[object]:
    """Globals as objects with a type and a value, floats as their IEEE 754 bits."""
    return [
        None if each is None else {"type": each.kind.value, "value": str(each.value)}
        for each in found
    ]


def from_json(data: bytes, path: Path) -> BackupRecord:
    """Read a file's content.

    Args:
        data: the content.
        path: the file, for messages.

    Raises:
        DamageError: it is not what was written.
        ProjectError: a newer program wrote it.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    fields = Fields(path, content, hint=_HINT)
    if fields.text("format") != FORMAT:
        raise fields.damaged(f"its format is not `{FORMAT}`")
    version = fields.whole("version")
    if version != VERSION:
        raise ProjectError(
            f"{path} has format {version}, and this program knows {VERSION}",
            hint="Use the newer version of dfx-backup.",
        )
    return BackupRecord(
        identity=BackupIdentity(
            canister_id=CanisterId(fields.text("canister_id")),
            snapshot_id=SnapshotId(fields.text("snapshot_id")),
            network_id=NetworkId(fields.text("network_id")),
            tool=fields.text("tool"),
            created_at=fields.number("created_at"),
        ),
        files=tuple(_file(each) for each in fields.objects("files")),
        globals=globals_from_json(content, fields),
        backup=_details(content, fields),
        extra={name: value for name, value in content.items() if name not in _KNOWN},
    )


def _details(content: Mapping[str, Any], fields: Fields) -> BackupDetails | None:
    told = content.get("backup")
    return None if told is None else details_from_json(told, fields.child("backup"))


def globals_from_json(
    content: Mapping[str, object], fields: Fields
) -> tuple[WasmGlobal | None, ...]:
    """The opposite of `globals_to_json`, out of the field `globals`.

    Raises:
        DamageError: they are not what was written.
    """
    listed = content.get("globals")
    if not isinstance(listed, list):
        raise fields.damaged("'globals' is no list")
    return tuple(_global(each, fields) for each in listed)


def _file(fields: Fields) -> FileRecord:
    size, sha256, pages = fields.whole("size"), fields.optional_text("sha256"), None
    told = fields.optional_child("pages")
    if told is not None:
        pages = PageHash(page_bytes=told.whole("bytes"), sha256=told.text("sha256"))
        if pages.page_bytes not in PAGE_SIZES or not _is_sha256(pages.sha256):
            raise fields.damaged("the hash of a file's pages is none")
    if size < 0 or not (pages if sha256 is None else _is_sha256(sha256)):
        raise fields.damaged("a file's size or SHA-256 is none")
    return FileRecord(name=fields.text("name"), size=size, sha256=sha256, pages=pages)


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and not set(text) - set("0123456789abcdef")


def _global(found: object, fields: Fields) -> WasmGlobal | None:
    if found is None:
        return None
    try:
        if not isinstance(found, dict):
            raise TypeError  # noqa: TRY301 # one complaint for everything that is wrong
        kind, value = GlobalKind(found["type"]), int(found["value"])
    except (KeyError, TypeError, ValueError):
        raise fields.damaged("a global can't be understood") from None
    low, high = _BOUNDS[kind]
    if not low <= value < high:
        raise fields.damaged(f"a global of type {kind.value} is out of range")
    return WasmGlobal(kind=kind, value=value)


_BOUNDS = {
    GlobalKind.I32: (-(1 << 31), 1 << 31),
    GlobalKind.I64: (-(1 << 63), 1 << 63),
    GlobalKind.F32: (0, 1 << 32),
    GlobalKind.F64: (0, 1 << 64),
    GlobalKind.V128: (0, 1 << 128),
}
