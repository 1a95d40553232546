"""`forget`, `pin` and `unpin`: which backups stay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dfx_backup.errors import RefusedError, UsageError
from dfx_backup.operations.backup_names import backups_of, find_backup, find_backups
from dfx_backup.operations.backup_notes import Note, NoteKind, write_notes
from dfx_backup.operations.backups import Backup, Backups, group
from dfx_backup.progress import Progress
from dfx_backup.repository.forget import forget
from dfx_backup.repository.locks import RepositoryLock
from dfx_backup.repository.prune import PruneReport, prune
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.retention import Policy, apply_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetOptions:
    """What `forget` was asked for.

    Attributes:
        names: these backups go; none leaves it to the policy.
        policy: what to keep.
        canister: look at this canister's backups alone.
        network: and at those from this network.
        allow_empty_group: the last backup of a canister may go.
    """

    names: tuple[str, ...] = ()
    policy: Policy
    canister: str | None = None
    network: str | None = None
    allow_empty_group: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetPlan:
    """What would be forgotten.

    Attributes:
        remove: backups that go, oldest first.
        keep: backups that stay, oldest first.
        reasons: why each of them stays, by backup id.
        orphans: notes on backups that are gone; they go too.
        warnings: full sentences.
    """

    remove: tuple[Backup, ...]
    keep: tuple[Backup, ...]
    reasons: Mapping[str, tuple[str, ...]]
    orphans: tuple[Note, ...]
    warnings: tuple[str, ...]

    @property
    def will_be_lost(self) -> tuple[str, ...]:
        """One sentence for each backup that goes."""
        return tuple(
            f"{each} of {_moment(each)} on {each.network_name} ({each.backup_id})."
            for each in self.remove
        )


def plan_forget(repository: Repository, options: ForgetOptions) -> ForgetPlan:
    """What would be forgotten; nothing is changed. To be called under a lock.

    Raises:
        UsageError: neither backups nor a policy are named, or a name means none.
        RefusedError: a backup that is named is pinned, or is the last of its canister.
        DamageError: an index object is damaged.
        StoreError: the repository can't be read.
    """
    if options.names and options.policy:
        raise UsageError("either backups are named, or rules that keep some: not both")
    if not options.names and not options.policy:
        raise UsageError(
            "nothing says what to keep",
            hint="Give `--keep-daily 7` or the like, or a [retention] section in dfx-backup.toml.",
        )
    backups = Backups.read(repository)
    found: Sequence[Backup] = backups.all
    if options.canister is not None:
        found = backups_of(backups, options.canister, network=options.network)
    found = [
        each for each in found if options.network in (None, each.network_name, each.network_id)
    ]
    if options.names:
        remove, reasons = _named(backups, options)
    else:
        remove, reasons = _by_policy(found, options, repository.machine.clock())
    return ForgetPlan(
        remove=tuple(each for each in found if each.backup_id in remove),
        keep=tuple(each for each in found if each.backup_id not in remove),
        reasons=reasons,
        orphans=() if backups.damaged else backups.orphans,
        warnings=tuple(
            f"{each} can't be read, and stays: {each.problem.message}"
            for each in found
            if each.problem is not None and each.backup_id not in remove
        ),
    )


def forget_backups(
    repository: Repository,
    plan: ForgetPlan,
    options: ForgetOptions,
    *,
    progress: Progress,
    max_unused: float | None = None,
) -> tuple[ForgetPlan, PruneReport | None]:
    """Do what the plan says, alone, as far as it still is the plan then.

    Args:
        repository: an open one.
        plan: what was shown.
        options: what it was made from; the decision is made anew under the lock.
        progress: hears of the steps.
        max_unused: prune too, under the same lock, and leave this fraction unused; None does not.

    Returns:
        What was forgotten (what somebody pinned meanwhile, or came to be the last, stays), and what
        the prune did.

    Raises:
        LockedError: somebody else works on the repository.
        DamageError: the repository is too damaged to be pruned; the backups are forgotten.
        StoreError: the store failed; run it again.
    """
    if not plan.remove and not plan.orphans and max_unused is None:
        return plan, None
    with repository.lock(exclusive=True, progress=progress) as lock:
        repository.reload_index()
        done = _forget_alone(repository, plan, options, progress, lock)
        if max_unused is None:
            return done, None
        return done, prune(repository, progress=progress, max_unused=max_unused, lock=lock)


def _forget_alone(
    repository: Repository,
    plan: ForgetPlan,
    options: ForgetOptions,
    progress: Progress,
    lock: RepositoryLock,
) -> ForgetPlan:
    if not plan.remove and not plan.orphans:
        return plan
    now = plan_forget(repository, options)
    wanted = {each.backup_id for each in plan.remove}
    remove = tuple(each for each in now.remove if each.backup_id in wanted)
    keep = (*now.keep, *(each for each in now.remove if each.backup_id not in wanted))
    progress.step(f"forgetting {len(remove)} backups")
    ids = [each for backup in remove for each in reversed(backup.snapshot_ids)]
    forget(repository, [*ids, *(each.snapshot_id for each in now.orphans)], lock=lock)
    return ForgetPlan(
        remove=remove,
        keep=keep,
        reasons=now.reasons,
        orphans=now.orphans,
        warnings=now.warnings,
    )


def pin_backup(
    repository: Repository,
    name: str,
    *,
    progress: Progress,
    tool: str,
    network: str | None = None,
) -> tuple[Backup, bool]:
    """Keep a backup for ever; whether that is new.

    Raises:
        UsageError: the name means none, or several.
        LockedError: somebody works on the repository alone.
        StoreError: the repository can't be written.
    """
    with repository.lock(exclusive=False, progress=progress):
        repository.reload_index()
        backup = find_backup(Backups.read(repository), name, network=network)
        if backup.pinned:
            return backup, False
        write_notes(repository, NoteKind.PIN, [backup.backup_id], progress=progress, tool=tool)
    return backup, True


def unpin_backup(
    repository: Repository, name: str, *, progress: Progress, network: str | None = None
) -> tuple[Backup, bool]:
    """Keep a backup no longer for ever; whether it was pinned.

    Raises:
        UsageError: the name means none, or several.
        LockedError: somebody else works on the repository.
        StoreError: the repository can't be written.
    """
    with repository.lock(exclusive=True, progress=progress) as lock:
        repository.reload_index()
        backup = find_backup(Backups.read(repository), name, network=network)
        pins = [note.snapshot_id for note in backup.notes if note.kind is NoteKind.PIN]
        if pins:
            forget(repository, pins, lock=lock)
    return backup, bool(pins)


def _named(
    backups: Backups, options: ForgetOptions
) -> tuple[set[str], Mapping[str, tuple[str, ...]]]:
    chosen = find_backups(backups, options.names, network=options.network)
    for each in chosen:
        if each.pinned:
            raise RefusedError(f"{each} is pinned", hint=f"`unpin {each.backup_id[:8]}` first.")
    remove = {each.backup_id for each in chosen}
    left = {group(each) for each in backups.all if each.backup_id not in remove}
    for each in chosen:
        if group(each) not in left and not options.allow_empty_group:
            what = "canister" if each.stream is None else "stream"
            raise RefusedError(
                f"{each} is the last backup of its {what}",
                hint="Add `--allow-empty-group` when that is what you mean.",
            )
    return remove, {}


def _by_policy(
    found: Sequence[Backup], options: ForgetOptions, now: float
) -> tuple[set[str], Mapping[str, tuple[str, ...]]]:
    """What can't be read stays: nobody knows whose it is."""
    readable = [each.facts() for each in found if each.problem is None]
    decision = apply_policy(
        readable,
        options.policy,
        now=datetime.fromtimestamp(now, tz=UTC),
        allow_empty_group=options.allow_empty_group,
    )
    return {each.id for each in decision.remove}, decision.reasons


def _moment(backup: Backup) -> str:
    return datetime.fromtimestamp(int(backup.time), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
