"""Backups as text and as fields of `data`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dfx_backup.cli import fields, text
from dfx_backup.cli.output import Json, Report
from dfx_backup.transfer.backup_details import BackupDetails, settings_to_json
from dfx_backup.transfer.terms import FileRecord

if TYPE_CHECKING:
    from dfx_backup.operations.backup_diff import BackupDiff, FileDiff
    from dfx_backup.operations.backup_export import ExportResult
    from dfx_backup.operations.backup_import import ImportResult
    from dfx_backup.operations.backups import Backup
    from dfx_backup.operations.listing import BackupList

_MOST_RANGES = 1000
"""Ranges of a file that JSON lists; the rest are counted."""
_SHOWN_RANGES = 5
_OF_WHOLE_CANISTERS = ("Outage", "Balance", "Module", "Controllers")
_SHADES = " .:+#"
"""From nothing changed to everything."""


def backup_fields(backup: "Backup") -> dict[str, Json]:
    """A backup as lists tell it."""
    details = backup.details
    return {
        "backup_id": backup.backup_id,
        "set_id": backup.set_id,
        "set_lacks": list(backup.set_lacks),
        "kind": backup.kind,
        "stream": backup.stream,
        "restic_id": backup.snapshot.snapshot_id,
        "canister_id": backup.canister_id,
        "canister_name": backup.canister_name,
        "network": backup.network_name,
        "network_id": backup.network_id,
        "taken_at": text.rfc3339(round(backup.time * 1e6) * 1000),
        "tags": list(backup.tags),
        "pinned": backup.pinned,
        "level": backup.level,
        "readable": details is not None,
        "consistency": None if details is None else details.consistency.value,
        "raw_bytes": None if details is None else details.raw_bytes,
        "new_bytes": None if details is None else details.new_bytes,
        "stored_bytes": None if details is None else details.stored_bytes,
        "outage_seconds": None if details is None else details.outage_s,
    }


def listed(result: "BackupList") -> Report:
    """`list`."""
    rows = [_row(each) for each in result.backups]
    head: tuple[str, ...]
    head = ("BACKUP", "TAKEN", "CANISTER", "SIZE", "NEW", "STORED", "LEVEL", "PROMISE", "TAGS")
    if any(each.set_id for each in result.backups):
        sets = [(each.set_id or "")[:8] for each in result.backups]
        rows = [(*row[:-1], set_, row[-1]) for row, set_ in zip(rows, sets, strict=True)]
        head = (*head[:-1], "SET", head[-1])
    count = len(rows)
    many = "backup" if count == 1 else "backups"
    last = f"{count or 'No'} {many} in {result.location}."
    if result.strangers:
        last += f" Snapshots of other programs there: {result.strangers}."
    return Report(
        data={
            "repository": result.location,
            "backups": [backup_fields(each) for each in result.backups],
            "strangers": result.strangers,
        },
        lines=(*(text.table(head, rows) if rows else ()), text.clean(last)),
        warnings=_partial_sets(result.backups),
        errors=result.errors,
    )


def shown(backup: "Backup") -> Report:
    """`show`."""
    assert backup.record is not None  # one that can't be read is an error
    details, identity = backup.details, backup.record.identity
    assert details is not None  # the same
    data = {
        **backup_fields(backup),
        "snapshot_id": identity.snapshot_id or None,
        "subnet_id": details.subnet_id,
        "canister_version": details.canister_version,
        "module_hash": details.module_hash,
        "ours_only": details.ours_only,
        "driver": details.driver,
        "tool": identity.tool,
        "cycles_balance": fields.count(details.cycles),
        "cycles_estimate": fields.count(details.cycles_estimate),
        "certificate_time": None
        if details.certificate_time is None
        else text.rfc3339(int(details.certificate_time) * 10**9),
        "settings": None if details.settings is None else settings_to_json(details.settings),
        "candid": dict(details.candid),
        "stable": None if details.stable is None else details.stable.to_json(),
        "files": _files_fields(backup.record.files),
        "notes": [
            {"kind": note.kind.value, "level": note.level, "made_at": _moment(note.time)}
            for note in backup.notes
        ],
    }
    lines = (*text.facts(_facts(backup, details)), "", *_file_table(backup.record.files))
    return Report(data=data, lines=lines)


def imported(result: "ImportResult", repository: str) -> Report:
    """`import`."""
    record, details = result.record, result.record.backup
    assert details is not None  # it was made by us
    identity = record.identity
    place = text.place(details.canister_name, identity.canister_id, details.network_name)
    lines = text.facts(
        (
            ("Backup", details.backup_id),
            ("Canister", place),
            ("Taken", text.moment(details.taken_at_ns)),
            ("Folder", f"made by {result.kind.value}"),
            ("Size", text.size(details.raw_bytes)),
            ("New", f"{text.size(details.new_bytes)}, {text.size(details.stored_bytes)} stored"),
            ("Promise", details.consistency.value),
        )
    )
    data: dict[str, Json] = {
        "repository": repository,
        "backup_id": details.backup_id,
        "restic_id": result.restic_id,
        "canister_id": identity.canister_id,
        "canister_name": details.canister_name,
        "network": details.network_name,
        "network_id": identity.network_id,
        "taken_at": text.rfc3339(details.taken_at_ns),
        "made_by": result.kind.value,
        "consistency": details.consistency.value,
        "level": details.level,
        "ours_only": details.ours_only,
        "raw_bytes": details.raw_bytes,
        "new_bytes": details.new_bytes,
        "stored_bytes": details.stored_bytes,
        "files": _files_fields(record.files),
    }
    return Report(data=data, lines=lines, warnings=result.warnings)


def exported(result: "ExportResult") -> Report:
    """`export`."""
    backup = result.backup
    lines = text.facts(
        (
            ("Backup", backup.backup_id),
            ("Canister", _place(backup)),
            ("Folder", str(result.folder)),
            ("Size", f"{text.size(result.total_bytes)} in {len(result.files)} files"),
        )
    )
    data: dict[str, Json] = {
        "backup_id": backup.backup_id,
        "canister_id": backup.canister_id,
        "canister_name": backup.canister_name,
        "network": backup.network_name,
        "network_id": backup.network_id,
        "folder": str(result.folder),
        "total_bytes": result.total_bytes,
        "files": _files_fields(result.files),
    }
    only = backup.details is not None and backup.details.ours_only
    warning = "Other programs can't upload it exactly: it holds floats that metadata.json can't."
    return Report(data=data, lines=lines, warnings=(warning,) if only else ())


def pinned(backup: "Backup", *, pin: bool, changed: bool) -> Report:
    """`pin` and `unpin`."""
    told = "is kept for ever" if pin else "is not kept for ever"
    line = f"{backup} {told}{'' if changed else ', as before'}."
    data = {**backup_fields(backup), "pinned": pin, "changed": changed}
    return Report(data=data, lines=(text.clean(line),))


def compared(result: "BackupDiff") -> Report:
    """`diff`."""
    from dfx_backup.operations.backup_diff import Change

    rows = [
        (
            each.name,
            each.change.value,
            "" if each.old_size is None else text.size(each.old_size),
            "" if each.new_size is None else text.size(each.new_size),
            f"{each.changed_pages} of {each.pages}",
            _ranges_text(each),
        )
        for each in result.files
    ]
    head = ("FILE", "IS", "OLD", "NEW", "PIECES", "WHERE")
    maps = [
        line
        for each in result.files
        if each.change is Change.CHANGED and each.pages > 1
        for line in (f"{each.name}  |{_map_text(each)}|",)
    ]
    size = text.size(result.page_bytes)
    lines = (
        f"From {result.old} to {result.new}, in pieces of {size}:",
        "",
        *text.table(head, rows),
        *(("", *maps) if maps else ()),
    )
    data: dict[str, Json] = {
        "old": backup_fields(result.old),
        "new": backup_fields(result.new),
        "page_bytes": result.page_bytes,
        "files": [_diff_fields(each) for each in result.files],
    }
    return Report(data=data, lines=tuple(map(text.clean, lines)), warnings=result.warnings)


def _partial_sets(backups: "Sequence[Backup]") -> tuple[str, ...]:
    """One sentence for each set that can't be restored whole."""
    lacking = {each.set_id: each.set_lacks for each in backups if each.set_id and each.set_lacks}
    return tuple(
        f"Set {set_id[:8]} lacks the backups of {', '.join(lacks)}: it can't be restored whole."
        for set_id, lacks in lacking.items()
    )


def _row(backup: "Backup") -> tuple[str, ...]:
    details = backup.details
    level = str(backup.level) + (" pinned" if backup.pinned else "")
    return (
        backup.backup_id[:8],
        text.moment(int(backup.time) * 10**9),
        f"{backup.subject} on {backup.network_name}",
        text.size(None if details is None else details.raw_bytes),
        text.size(None if details is None else details.new_bytes),
        text.size(None if details is None else details.stored_bytes),
        level,
        "DAMAGED" if details is None else details.consistency.value,
        ",".join(backup.tags),
    )


def _facts(backup: "Backup", details: BackupDetails) -> Sequence[tuple[str, str]]:
    pin = ", pinned" if backup.pinned else ""
    outage = "unknown" if details.outage_s is None else text.seconds(details.outage_s)
    controllers = details.settings.controllers if details.settings else None
    found = [
        ("Backup", backup.backup_id),
        ("Canister", _place(backup)),
        ("Taken", text.moment(details.taken_at_ns)),
        ("Promise", details.consistency.value),
        ("Level", f"{backup.level}{pin}"),
        ("Size", text.size(details.raw_bytes)),
        ("New", f"{text.size(details.new_bytes)}, {text.size(details.stored_bytes)} stored"),
        ("Outage", outage),
        ("Cycles", fields.about_cycles(details.cycles_estimate)),
        ("Balance", "unknown" if details.cycles is None else text.cycles(details.cycles)),
        ("Module", details.module_hash or "unknown"),
        ("Version", fields.or_unknown(details.canister_version)),
        ("Controllers", ", ".join(controllers or ()) or "unknown"),
        ("Made by", " through ".join(filter(None, (_tool(backup), details.driver)))),
        ("restic", backup.snapshot.snapshot_id[:8]),
    ]
    if details.stable is not None:
        stable = details.stable
        found[2:2] = [
            ("Stream", f"{stable.stream}, {text.size(stable.size)}"),
            ("Read from", f"{stable.kit}, protocol {stable.protocol}"),
            ("Certified", stable.certified.value),
            ("One moment", stable.moment.value),
        ]
        found = [each for each in found if each[0] not in _OF_WHOLE_CANISTERS]
    if backup.set_id:
        lacks = f"; it lacks {', '.join(backup.set_lacks)}" if backup.set_lacks else ""
        found.append(("Set", f"{backup.set_id}{lacks}"))
    if backup.tags:
        found.append(("Tags", ", ".join(backup.tags)))
    if details.ours_only:
        found.append(("Note", "only dfx-backup can upload it exactly"))
    return found


def _tool(backup: "Backup") -> str:
    return "" if backup.record is None else backup.record.identity.tool


def _place(backup: "Backup") -> str:
    return text.place(backup.canister_name, backup.canister_id, backup.network_name)


def _moment(seconds: float) -> str:
    return text.moment(int(seconds) * 10**9)


def _files_fields(files: Sequence[FileRecord]) -> list[Json]:
    return [
        {
            "name": each.name,
            "size": each.size,
            "sha256": each.sha256,
            "pages": fields.pages(each.pages),
        }
        for each in files
    ]


def _file_table(files: Sequence[FileRecord]) -> tuple[str, ...]:
    rows = [(each.name, text.size(each.size), _hash_text(each)) for each in files]
    return text.table(("FILE", "SIZE", "SHA-256"), rows)


def _hash_text(file: FileRecord) -> str:
    """The beginning of a file's hash; that of its pages is told apart."""
    if file.sha256 is not None or file.pages is None:
        return (file.sha256 or "")[:16]
    return f"{file.pages.sha256[:16]} (of its pages)"


def _diff_fields(diff: "FileDiff") -> dict[str, Json]:
    return {
        "name": diff.name,
        "change": diff.change.value,
        "old_size": diff.old_size,
        "new_size": diff.new_size,
        "pages": diff.pages,
        "changed_pages": diff.changed_pages,
        "ranges": [
            {"first": each.first, "count": each.count} for each in diff.ranges[:_MOST_RANGES]
        ],
        "ranges_left_out": max(0, len(diff.ranges) - _MOST_RANGES),
        "map": [round(share, 4) for share in diff.map],
    }


def _ranges_text(diff: "FileDiff") -> str:
    shown = [
        str(each.first) if each.count == 1 else f"{each.first}-{each.first + each.count - 1}"
        for each in diff.ranges[:_SHOWN_RANGES]
    ]
    left = len(diff.ranges) - len(shown)
    return ", ".join(shown) + (f" and {left} more" if left else "")


def _map_text(diff: "FileDiff") -> str:
    last = len(_SHADES) - 1
    return "".join(
        _SHADES[0 if not share else min(last, 1 + int(share * (last - 1)))] for share in diff.map
    )
