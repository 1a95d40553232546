"""Where an export of a stream went, as text and as the fields of `data`."""

from typing import TYPE_CHECKING

from dfx_backup.cli import text
from dfx_backup.cli.output import Json

if TYPE_CHECKING:
    from dfx_backup.operations.stable_places import ExportPlace
    from dfx_backup.operations.stable_repository import StoredStream


def place_facts(place: "ExportPlace") -> tuple[tuple[str, str], ...]:
    """Where an export goes."""
    return (("Repository" if place.file is None else "File", str(place)),)


def place_fields(place: "ExportPlace") -> dict[str, Json]:
    """The same."""
    return {
        "file": None if place.file is None else str(place.file),
        "repository": place.repository,
    }


def stored_facts(stored: "StoredStream | None") -> tuple[tuple[str, str], ...]:
    """The backup that an export has become; nothing of files."""
    details = None if stored is None else stored.record.backup
    if details is None:
        return ()
    new = f"{text.size(details.new_bytes)}, {text.size(details.stored_bytes)} stored"
    return (("Backup", details.backup_id), ("New", new))


def stored_fields(stored: "StoredStream | None") -> dict[str, Json]:
    """The same."""
    details = None if stored is None else stored.record.backup
    if stored is None or details is None:
        return {"backup_id": None, "restic_id": None}
    return {
        "backup_id": details.backup_id,
        "restic_id": stored.restic_id,
        "consistency": details.consistency.value,
        "level": details.level,
        "raw_bytes": details.raw_bytes,
        "new_bytes": details.new_bytes,
        "stored_bytes": details.stored_bytes,
    }
