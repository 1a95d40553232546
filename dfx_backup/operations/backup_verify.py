"""`verify`: is the repository whole, is the data what was written, and is the canister still so?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dfx_backup.errors import DamageError, RefusedError, UsageError
from dfx_backup.operations.backup_export import files_of, hashes_for, same_pages
from dfx_backup.operations.backup_names import find_backups
from dfx_backup.operations.backup_notes import NoteKind, write_notes
from dfx_backup.operations.backups import Backup, Backups
from dfx_backup.operations.setting_changes import setting_changes
from dfx_backup.operations.target import Target
from dfx_backup.progress import Progress
from dfx_backup.repository.check import check
from dfx_backup.repository.findings import CheckReport, Finding, Hit, Sort
from dfx_backup.repository.reader import Reader
from dfx_backup.repository.reading import reading
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.store import StoreError
from dfx_backup.repository.subset import EVERYTHING, PackSubset
from dfx_backup.repository.trees import Node
from dfx_backup.transfer.backup_json import BACKUP_NAME
from dfx_backup.transfer.terms import FileRecord

_HIT_HINT = (
    "What is not hit can be restored. Make new backups in another repository until this one is"
    " mended: what it has already, damaged or not, is not stored in it again."
)
_INDEX_HINT = (
    "Packs are there that no index lists: `restic rebuild-index` makes a new index from all packs."
)

if TYPE_CHECKING:
    from dfx_backup.ic.canister_settings import CanisterSettings

LEVEL_READ_BACK = 2
"""All data of a backup was read back."""
_STEP_BYTES = 16 << 20
"""Bytes of a file that are read at once when they must come in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """What is verified.

    Attributes:
        names: these backups; none means all.
        network: counts only those from this network, when a name means several.
        read_data: read all data of them.
        subset: read these packs of the repository.
        tool: name and version of this program.
    """

    names: tuple[str, ...] = ()
    network: str | None = None
    read_data: bool = False
    subset: PackSubset | None = None
    tool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found.

    Attributes:
        backups: those that were asked for, oldest first.
        findings: what is wrong with the repository; of named backups only what hits them.
        report: what was gone through.
        raised: ids of backups whose level rose to 2.
    """

    backups: tuple[Backup, ...]
    findings: tuple[Finding, ...]
    report: CheckReport
    raised: tuple[str, ...]

    @property
    def damaged(self) -> tuple[Backup, ...]:
        """The backups that can't be restored whole."""
        hit = {hit.snapshot_id for each in self._damage for hit in each.hits}
        return tuple(each for each in self.backups if each.snapshot.snapshot_id in hit)

    @property
    def error(self) -> DamageError | None:
        """The error that the command ends with, or None when all is well."""
        damage = self._damage
        if not damage:
            return None
        more = f", and {len(damage) - 1} more" if len(damage) > 1 else ""
        hit = self.damaged
        told = ", ".join(each.backup_id[:8] for each in hit) or "no backup"
        verb = "is" if len(hit) < 2 else "are"
        hints = (_INDEX_HINT if self._lacks_index else None, _HIT_HINT if hit else None)
        return DamageError(
            f"{damage[0].message}{more}; {told} {verb} hit",
            hint=" ".join(filter(None, hints)) or None,
        )

    @property
    def _lacks_index(self) -> bool:
        """Whether there are packs that an index object may have listed which is not there now."""
        lost = {Sort.INDEX, Sort.BLOB, Sort.TREE}
        unlisted = any(each.sort is Sort.UNINDEXED for each in self.report.findings)
        return unlisted and any(each.sort in lost for each in self._damage)

    @property
    def _damage(self) -> tuple[Finding, ...]:
        return tuple(each for each in self.findings if not each.harmless)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveDifference:
    """Something that is no more as it was when the backup was taken.

    Attributes:
        what: `module_hash`, or the name of a setting.
        then: as the backup has it.
        now: as the canister has it.
    """

    what: str
    then: str | None
    now: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveComparison:
    """A backup beside its canister.

    Attributes:
        backup: the backup.
        differences: what differs.
        unknown: full sentences on what could not be compared.
    """

    backup: Backup
    differences: tuple[LiveDifference, ...]
    unknown: tuple[str, ...]


def verify_backups(
    repository: Repository, options: VerifyOptions, *, progress: Progress
) -> Verification:
    """Check the repository, and read data when asked; a backup that was read whole rises.

    Raises:
        UsageError: a name means none, or a subset is asked for of named backups.
        LockedError: somebody works on the repository alone.
        StoreError: the repository can't be read.
    """
    if options.names and options.subset is not None:
        raise UsageError("--read-data-subset is of the whole repository: name no backups")
    if options.read_data and options.subset is not None:
        raise UsageError("--read-data and --read-data-subset exclude another")
    with reading(repository, progress):
        return _verify(repository, options, progress)


def _verify(repository: Repository, options: VerifyOptions, progress: Progress) -> Verification:
    chosen = _choose(repository, options)
    everything = options.read_data and not options.names
    report = check(
        repository,
        read_data=EVERYTHING if everything else options.subset,
        progress=progress,
        locked=True,
    )
    findings = _of(report, chosen) if options.names else report.findings
    findings = (*findings, *_manifests(chosen, findings))
    if options.read_data and options.names:
        findings = (*findings, *_read(repository, chosen, findings, progress))
    sound = _sound(chosen, findings) if options.read_data else ()
    raised = tuple(each.backup_id for each in sound if each.level < LEVEL_READ_BACK)
    try:
        write_notes(
            repository,
            NoteKind.VERIFICATION,
            raised,
            progress=progress,
            tool=options.tool,
            level=LEVEL_READ_BACK,
        )
    except StoreError as error:  # what was read is known nevertheless
        progress.warn(f"The level that was reached could not be noted: {error.message}.")
        raised = ()
    return Verification(backups=chosen, findings=findings, report=report, raised=raised)


def compare_live(backup: Backup, target: Target) -> LiveComparison:
    """Compare module hash and settings with those that the canister has now.

    Raises:
        RefusedError: the target is another canister, or on another network.
        NetworkError, ToolError: as asking the canister tells them.
    """
    if (target.canister_id, target.network_id) != (backup.canister_id, backup.network_id):
        raise RefusedError(
            f"{backup} is of {backup.canister_id} on network {backup.network_name}, and"
            f" {target.canister_id} on {target.network.name} is another canister"
        )
    details, unknown = backup.details, []
    assert details is not None  # a damaged backup is not compared
    settings: CanisterSettings | None = None
    if target.direct is None:
        status = (target.reader or target.driver).status(target.canister_id)
        unknown.append("The settings could not be read: the identity's key can't be used directly.")
    else:
        full = target.direct.calls.full_status(target.canister_id)
        status, settings = full.status, full.settings
    found = []
    if details.module_hash is None:
        unknown.append("The backup does not tell its module's hash.")
    elif details.module_hash != status.module_hash:
        found.append(
            LiveDifference(what="module_hash", then=details.module_hash, now=status.module_hash)
        )
    if details.settings is None:
        unknown.append("The backup holds no settings.")
    elif settings is not None:
        found += [
            LiveDifference(what=each.name, then=each.old, now=each.new)
            for each in setting_changes(details.settings, settings)
        ]
    return LiveComparison(backup=backup, differences=tuple(found), unknown=tuple(unknown))


def _choose(repository: Repository, options: VerifyOptions) -> tuple[Backup, ...]:
    """The backups that are meant; with a damaged index only their tags tell of them."""
    try:
        backups = Backups.read(repository)
    except DamageError:  # the check will tell
        backups = Backups.read(repository, manifests=False)
    if not options.names:
        return backups.all
    return find_backups(backups, options.names, network=options.network)


def _of(report: CheckReport, chosen: Sequence[Backup]) -> tuple[Finding, ...]:
    wanted = {each.snapshot.snapshot_id for each in chosen}
    return tuple(
        each for each in report.findings if any(hit.snapshot_id in wanted for hit in each.hits)
    )


def _manifests(chosen: Sequence[Backup], findings: Sequence[Finding]) -> list[Finding]:
    """Manifests that can't be understood although every byte is what was written."""
    hit = {hit.snapshot_id for each in findings for hit in each.hits}
    return [
        Finding(
            sort=Sort.TREE,
            name="backup.json",
            message=each.problem.message,
            hits=(Hit(snapshot_id=each.snapshot.snapshot_id, path="backup.json", blobs=0),),
        )
        for each in chosen
        if each.problem is not None and each.snapshot.snapshot_id not in hit
    ]


def _read(
    repository: Repository,
    chosen: Sequence[Backup],
    known: Sequence[Finding],
    progress: Progress,
) -> list[Finding]:
    """Read all that a restore of these backups would read."""
    hit = {hit.snapshot_id for each in known if not each.harmless for hit in each.hits}
    reader, found = repository.reader(), []
    for backup in chosen:
        if backup.snapshot.snapshot_id not in hit:
            progress.step(f"reading {backup}")
            found += _read_one(repository, reader, backup)
    return found


def _read_one(repository: Repository, reader: Reader, backup: Backup) -> list[Finding]:
    """Read a backup's files, and compare them with what its manifest tells of them."""
    found = []
    told = {} if backup.record is None else {each.name: each for each in backup.record.files}
    for name, node in files_of(repository, repository.tree(backup.snapshot.tree)):
        try:
            record = told.pop(name, None)
            if record is None or same_pages(node, record):
                reader.visit(node, lambda _position, _data: None)
            else:
                _compare(reader, node, record)
        except DamageError as error:
            found.append(_finding(backup, name, error.message))
    return found + [_finding(backup, name, f"{name} is missing") for name in told]


def _compare(reader: Reader, node: Node, record: FileRecord) -> None:
    """Read a file in order.

    Raises:
        DamageError: it is not what the manifest tells.
    """
    hashes = hashes_for(record)
    for offset in range(0, node.size, _STEP_BYTES):
        hashes.update(reader.read_range(node, offset, min(_STEP_BYTES, node.size - offset)))
    if (node.size, hashes.sha256, hashes.pages) != (record.size, record.sha256, record.pages):
        raise DamageError(f"{record.name} does not have the SHA-256 of {BACKUP_NAME}")


def _finding(backup: Backup, name: str, message: str) -> Finding:
    hit = Hit(snapshot_id=backup.snapshot.snapshot_id, path=name, blobs=0)
    return Finding(sort=Sort.PACK, name=name, message=message, hits=(hit,))


def _sound(chosen: Sequence[Backup], findings: Sequence[Finding]) -> tuple[Backup, ...]:
    hit = {hit.snapshot_id for each in findings if not each.harmless for hit in each.hits}
    return tuple(
        each for each in chosen if each.snapshot.snapshot_id not in hit and each.record is not None
    )
