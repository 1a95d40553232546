"""What a check finds, named as the backups and files that it hits."""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from dfx_backup.errors import DamageError


class Sort(StrEnum):
    """What is wrong; the words go into JSON."""

    KEY = "key-damaged"
    INDEX = "index-damaged"
    PACK_MISSING = "pack-missing"
    PACK_SIZE = "pack-size"
    PACK = "pack-damaged"
    BLOB = "blob-missing"
    TREE = "tree-damaged"
    SNAPSHOT = "snapshot-damaged"
    UNSTABLE = "read-differed"
    UNINDEXED = "pack-unindexed"


_HARMLESS = {Sort.UNSTABLE, Sort.UNINDEXED}
"""These don't mean that stored data is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A part of a backup that can't be restored.

    Attributes:
        snapshot_id: hexadecimal id of the snapshot object.
        path: the file or folder, or "" for the whole backup.
        blobs: how many pieces of the file; 0 where that is not known.
    """

    snapshot_id: str
    path: str
    blobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        sort: what.
        name: the object or blob.
        message: a sentence about it without a full stop.
        hits: the backups and files that it spoils; none when nobody needs it.
    """

    sort: Sort
    name: str
    message: str
    hits: tuple[Hit, ...]

    @property
    def harmless(self) -> bool:
        """Whether stored data is nevertheless what was written."""
        return self.sort in _HARMLESS


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What a check went through, and what it found.

    Attributes:
        findings: the gravest first.
        backups: snapshot objects that were looked at.
        packs: packs of the store.
        packs_read: packs that were read whole.
        bytes_read: their bytes.
    """

    findings: tuple[Finding, ...]
    backups: int
    packs: int
    packs_read: int
    bytes_read: int

    @property
    def damaged_backups(self) -> tuple[str, ...]:
        """Ids of the snapshot objects that can't be restored whole, rising."""
        hits = (hit for finding in self.findings if not finding.harmless for hit in finding.hits)
        return tuple(sorted({hit.snapshot_id for hit in hits}))

    def error(self) -> DamageError | None:
        """The error that a command ends with, or None when all is well."""
        damage = [finding for finding in self.findings if not finding.harmless]
        if not damage:
            return None
        backups = len(self.damaged_backups)
        more = f", and {len(damage) - 1} more" if len(damage) > 1 else ""
        hit = f"{backups} of {self.backups} backups are hit" if backups else "no backup is hit"
        return DamageError(f"{damage[0].message}{more}; {hit}")


class FindingBook:
    """Gathers findings, and for each the files that it hits."""

    def __init__(self) -> None:
        self._messages: dict[tuple[Sort, str], str] = {}
        self._hits: dict[tuple[Sort, str], Counter[tuple[str, str]]] = {}

    def note(self, sort: Sort, name: str, message: str) -> None:
        """Something is wrong; said twice it counts once."""
        self._messages.setdefault((sort, name), message)

    def has(self, sort: Sort, name: str) -> bool:
        """Whether that was noted."""
        return (sort, name) in self._messages

    def hit(self, sort: Sort, name: str, snapshot_id: str, path: str, blobs: int = 0) -> None:
        """It spoils a file."""
        self._hits.setdefault((sort, name), Counter())[snapshot_id, path] += blobs

    def findings(self) -> tuple[Finding, ...]:
        """All of them: those that hit the most files first."""
        found = [
            Finding(sort=sort, name=name, message=message, hits=self._of((sort, name)))
            for (sort, name), message in self._messages.items()
        ]
        return tuple(sorted(found, key=_rank))

    def _of(self, key: tuple[Sort, str]) -> tuple[Hit, ...]:
        hits = self._hits.get(key, Counter[tuple[str, str]]()).items()
        return tuple(
            Hit(snapshot_id=snapshot_id, path=path, blobs=blobs)
            for (snapshot_id, path), blobs in sorted(hits)
        )


def _rank(finding: Finding) -> tuple[bool, int, str, str]:
    return (finding.harmless, -len(finding.hits), finding.sort, finding.name)
