"""Findings about the repository: there, opened, unlocked, verified. Nothing is written."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from dfx_backup.errors import NoRepositoryError, WrongKeyError
from dfx_backup.operations.backup_notes import BACKUP_TAG, NoteKind, read_note
from dfx_backup.operations.doctor_findings import (
    Finding,
    Topic,
    catch,
    doubt,
    failed,
    fine,
    within,
)
from dfx_backup.operations.repository_access import Access
from dfx_backup.repository.keys import Password
from dfx_backup.repository.locks import LockInfo, is_stale, read_locks
from dfx_backup.repository.repository import Repository, is_repository

OPEN_S = 30.0
"""Seconds in which a repository is opened, or its backups are listed; S3 may be slow."""
VERIFY_DAYS = 30
"""A repository that nobody verified for longer may be damaged without anybody knowing."""

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryPart:
    """The repository as the user names it.

    Attributes:
        access: the way to it; raises when nothing names one, or what is named can't be read.
        source: where its password comes from, in words.
    """

    access: Callable[[], Access]
    source: str


def look(part: RepositoryPart) -> list[Finding]:
    """Look at the repository that is meant; without one there is a single finding."""
    access, trouble = catch(part.access)
    if access is None:
        assert trouble is not None
        if isinstance(trouble, NoRepositoryError):
            return [doubt(Topic.REPOSITORY, trouble.message, trouble.hint)]
        return [failed(Topic.REPOSITORY, trouble)]
    where = f"repository {access.location}"
    there, trouble = catch(
        lambda: within(lambda: is_repository(access.store()), where, seconds=OPEN_S)
    )
    if trouble is None and not there:
        trouble = NoRepositoryError(
            f"there is no repository in {access.location}",
            hint=f"`init --repo {access.location}` makes one",
        )
    if trouble is not None:
        return [failed(Topic.REPOSITORY, trouble)]
    password, trouble = catch(lambda: access.password(where, new=False))
    if password is None:
        assert trouble is not None
        return [
            fine(Topic.REPOSITORY, f"{access.location} is there"),
            failed(Topic.PASSWORD, trouble),
        ]
    return _opened(part, access, password, where)


def _opened(part: RepositoryPart, access: Access, password: str, where: str) -> list[Finding]:
    def open_it() -> Repository:
        return Repository.open(access.store(), Password(password), access.machine)

    repository, trouble = catch(lambda: within(open_it, where, seconds=OPEN_S))
    if repository is None:
        assert trouble is not None
        if isinstance(trouble, WrongKeyError):
            return [
                fine(Topic.REPOSITORY, f"{access.location} is there"),
                failed(Topic.PASSWORD, trouble),
            ]
        return [failed(Topic.REPOSITORY, trouble)]
    password_found = fine(Topic.PASSWORD, f"opens it; it comes from {part.source}")
    seen, trouble = catch(lambda: within(lambda: _seen(repository), where, seconds=OPEN_S))
    if seen is None:
        assert trouble is not None
        return [failed(Topic.REPOSITORY, trouble), password_found]
    told = f"{access.location}: format {repository.config.version}, {_counted(seen.backups)}"
    return [
        fine(Topic.REPOSITORY, told),
        password_found,
        _locks(repository, seen.locks),
        _verified(seen, access.machine.clock()),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What a repository holds.

    Attributes:
        backups: how many.
        verified: when one was last verified, seconds since the epoch, or None.
        locks: on it.
    """

    backups: int
    verified: float | None
    locks: tuple[LockInfo, ...]


def _seen(repository: Repository) -> _Seen:
    """Read what is small: snapshot objects and locks. Taken without a lock of our own."""
    snapshots = repository.snapshots()
    notes = [note for each in snapshots if (note := read_note(each)) is not None]
    times = [note.time for note in notes if note.kind is NoteKind.VERIFICATION]
    return _Seen(
        backups=sum(BACKUP_TAG in each.tags for each in snapshots),
        verified=max(times, default=None),
        locks=tuple(read_locks(repository)),
    )


def _counted(backups: int) -> str:
    return "1 backup" if backups == 1 else f"{backups:,} backups"


def _locks(repository: Repository, locks: tuple[LockInfo, ...]) -> Finding:
    if not locks:
        return fine(Topic.LOCKS, "nobody works on it")
    stale = [lock for lock in locks if is_stale(lock, repository.machine)]
    told = "; ".join(lock.owner() for lock in stale or locks)
    if stale:
        return doubt(
            Topic.LOCKS, f"left behind by {told}", "the next command removes it, as `unlock` does"
        )
    return doubt(Topic.LOCKS, f"held by {told}", "wait for it to end")


def _verified(seen: _Seen, now: float) -> Finding:
    advice = "`verify --read-data` reads everything back; `verify --read-data-subset 5%` a part"
    if not seen.backups:
        return fine(Topic.VERIFIED, "there is no backup yet")
    if seen.verified is None:
        return doubt(Topic.VERIFIED, "no backup was ever read back", advice)
    days = (now - seen.verified) / _DAY_S
    when = datetime.fromtimestamp(seen.verified, tz=UTC).strftime("%Y-%m-%d")
    if days > VERIFY_DAYS:
        return doubt(Topic.VERIFIED, f"{when}, {days:.0f} days ago", advice)
    return fine(Topic.VERIFIED, when)
