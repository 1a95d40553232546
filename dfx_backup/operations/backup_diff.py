"""`diff`: which files and which page ranges differ between two backups."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from dfx_backup.operations.backup_export import files_of
from dfx_backup.operations.backups import Backup
from dfx_backup.repository.contents import ContentTable
from dfx_backup.repository.layout import ID_BYTES
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.trees import Node
from dfx_backup.transfer.backup_json import BACKUP_NAME
from dfx_backup.transfer.stable_details import SIDECAR_NAME

MAP_CELLS = 64
"""Cells of the coarse map."""


class Change(enum.StrEnum):
    """What became of a file."""

    SAME = "same"
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRange:
    """Pages that differ.

    Attributes:
        first: number of the first page.
        count: how many.
    """

    first: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDiff:
    """A file in two backups; sizes are bytes.

    Attributes:
        name: its name.
        change: what became of it.
        old_size: in the first backup, or None when it is not there.
        new_size: in the second backup, or None when it is not there.
        pages: pages of the larger of the two.
        changed_pages: those of them that differ.
        ranges: where, rising.
        map: for each of up to 64 parts of equal length the share of its pages that differ.
    """

    name: str
    change: Change
    old_size: int | None
    new_size: int | None
    pages: int
    changed_pages: int
    ranges: tuple[PageRange, ...]
    map: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupDiff:
    """Two backups compared.

    Attributes:
        old: the first.
        new: the second.
        page_bytes: bytes of a page here: the size of the repository's pieces.
        files: every file but backup.json and a stream's sidecar, by name.
        warnings: full sentences.
    """

    old: Backup
    new: Backup
    page_bytes: int
    files: tuple[FileDiff, ...]
    warnings: tuple[str, ...]


def diff_backups(repository: Repository, old: Backup, new: Backup) -> BackupDiff:
    """Compare two backups by the ids of their pages; no page is read.

    To be called inside `reading`.

    Raises:
        DamageError: one of them can't be read.
        StoreError: the repository can't be read.
    """
    for each in (old, new):
        if each.problem is not None:
            raise each.problem
    before = dict(files_of(repository, repository.tree(old.snapshot.tree)))
    after = dict(files_of(repository, repository.tree(new.snapshot.tree)))
    names = sorted({*before, *after} - {BACKUP_NAME, SIDECAR_NAME})
    warnings = []
    if (old.canister_id, old.network_id) != (new.canister_id, new.network_id):
        warnings.append("These are backups of two canisters.")
    if (old.kind, old.stream) != (new.kind, new.stream):
        warnings.append("These are not backups of the same: a whole canister, or another stream.")
    return BackupDiff(
        old=old,
        new=new,
        page_bytes=repository.config.blob_size,
        files=tuple(_compare(name, before.get(name), after.get(name)) for name in names),
        warnings=tuple(warnings),
    )


def _compare(name: str, old: Node | None, new: Node | None) -> FileDiff:
    ids = [ContentTable(0, b"") if each is None else each.content for each in (old, new)]
    tables = [each or ContentTable(0, b"") for each in ids]
    pages = max(map(len, tables))
    ranges = tuple(_ranges(*tables))
    changed = sum(each.count for each in ranges)
    change = Change.CHANGED if changed else Change.SAME
    if old is None or new is None:
        change = Change.ADDED if old is None else Change.REMOVED
    return FileDiff(
        name=name,
        change=change,
        old_size=None if old is None else old.size,
        new_size=None if new is None else new.size,
        pages=pages,
        changed_pages=changed,
        ranges=ranges,
        map=_map(ranges, pages),
    )


def _ranges(old: ContentTable, new: ContentTable) -> Iterator[PageRange]:
    """Runs of places at which the ids differ; equal groups are passed over at once."""
    begin: int | None = None
    place = 0
    for one, other in zip_longest(old.groups(), new.groups(), fillvalue=b""):
        count = max(len(one), len(other)) // ID_BYTES
        if one is other or one == other:
            if begin is not None:
                yield PageRange(first=begin, count=place - begin)
                begin = None
            place += count
            continue
        for at in range(0, count * ID_BYTES, ID_BYTES):
            differs = one[at : at + ID_BYTES] != other[at : at + ID_BYTES]
            if differs and begin is None:
                begin = place
            elif not differs and begin is not None:
                yield PageRange(first=begin, count=place - begin)
                begin = None
            place += 1
    if begin is not None:
        yield PageRange(first=begin, count=place - begin)


def _map(ranges: tuple[PageRange, ...], pages: int) -> tuple[float, ...]:
    cells = min(MAP_CELLS, pages)
    if not cells:
        return ()
    bounds = [pages * cell // cells for cell in range(cells + 1)]
    changed = [0] * cells
    cell = 0
    for each in ranges:
        first, end = each.first, each.first + each.count
        while bounds[cell + 1] <= first:
            cell += 1
        at = cell
        while at < cells and bounds[at] < end:
            changed[at] += min(end, bounds[at + 1]) - max(first, bounds[at])
            at += 1
    return tuple(count / (bounds[cell + 1] - bounds[cell]) for cell, count in enumerate(changed))
