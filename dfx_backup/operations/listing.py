"""`list` and `show`: what is in the repository."""

from collections.abc import Sequence
from dataclasses import dataclass

from dfx_backup.errors import BackupError, IncompleteError
from dfx_backup.operations.backup_names import backups_of, find_backup
from dfx_backup.operations.backups import Backup, Backups, group, owner
from dfx_backup.repository.repository import Repository
from dfx_backup.transfer.backup_details import KIND_SNAPSHOT


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """Which backups.

    Attributes:
        canister: only those of this canister.
        tags: only those that have all of these tags.
        network: only those from this network.
        kind: only those of this kind; None shows all.
        max_age_s: the newest good backup of each canister must not be older, in seconds; of the
            kind, or else of whole canisters.
    """

    canister: str | None = None
    tags: tuple[str, ...] = ()
    network: str | None = None
    kind: str | None = None
    max_age_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupList:
    """What is there.

    Attributes:
        location: the repository.
        backups: oldest first.
        strangers: snapshot objects of other programs in the same repository.
        errors: what can't be read, and canisters whose newest good backup is too old.
    """

    location: str
    backups: tuple[Backup, ...]
    strangers: int
    errors: tuple[BackupError, ...]


def list_backups(repository: Repository, options: ListOptions) -> BackupList:
    """The backups of the repository. To be called inside `reading`.

    Raises:
        UsageError: the canister's name means none, or several.
        DamageError: an index object is damaged.
        StoreError: the repository can't be read.
    """
    backups = Backups.read(repository)
    found: Sequence[Backup] = backups.all
    if options.canister is not None:
        found = backups_of(backups, options.canister, network=options.network)
    chosen = [
        each
        for each in found
        if set(options.tags) <= set(each.tags)
        and options.network in (None, each.network_name, each.network_id)
        and options.kind in (None, each.kind)
    ]
    errors: list[BackupError] = [*backups.damaged]
    errors += [each.problem for each in chosen if each.problem is not None]
    if options.max_age_s is not None:
        kind = options.kind or KIND_SNAPSHOT
        errors += _too_old(chosen, kind, options.max_age_s, now=repository.machine.clock())
    return BackupList(
        location=repository.store.describe(),
        backups=tuple(chosen),
        strangers=len(backups.strangers),
        errors=tuple(errors),
    )


def show_backup(repository: Repository, name: str, *, network: str | None = None) -> Backup:
    """One backup. To be called inside `reading`.

    Raises:
        UsageError: the name means none, or several.
        RefusedError: `latest` where there are several canisters.
        DamageError: it can't be read.
        StoreError: the repository can't be read.
    """
    backup = find_backup(Backups.read(repository), name, network=network)
    if backup.problem is not None:
        raise backup.problem
    return backup


def _too_old(found: Sequence[Backup], kind: str, limit: float, *, now: float) -> list[BackupError]:
    """One error for each canister (or stream, of that kind) without a good backup that is young."""
    if not found:
        return [IncompleteError("There is no backup at all.")]
    newest: dict[tuple[str, ...], Backup | None] = {}
    names: dict[tuple[str, ...], str] = {}
    for each in found:
        # A canister of which there are only streams has no backup that counts.
        key = group(each) if kind != KIND_SNAPSHOT else owner(each)
        whole = each.canister_name or str(each.canister_id)
        names[key] = whole if kind == KIND_SNAPSHOT else each.subject
        newest.setdefault(key, None)
        if each.is_good and each.kind == kind:
            newest[key] = each
    return [
        IncompleteError(_sentence(names[key], best, now))
        for key, best in newest.items()
        if best is None or now - best.time > limit
    ]


def _sentence(canister: str, best: Backup | None, now: float) -> str:
    if best is None:
        return f"{canister} has no good backup."
    return f"The newest good backup of {canister} is {(now - best.time) / 3600:.1f} hours old."
