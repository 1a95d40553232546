"""restic's locks: objects that tell who works on a repository, shared or alone.

restic's doc/design.rst, "Locks". A lock is written, then the locks are listed again 200 ms later:
of two that want to be alone at the same time at least one sees the other. Nothing here relies on a
store that can refuse to overwrite.
"""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self

from dfx_backup.errors import BackupError, DamageError, LockedError
from dfx_backup.progress import Progress
from dfx_backup.repository.layout import ObjectKind, list_objects, object_name
from dfx_backup.repository.machine import Machine, rfc3339, seconds_of
from dfx_backup.repository.store import Buffer, MissingObjectError, ObjectStore, StoreError

REFRESH_S = 300.0
STALE_S = 1800.0
"""A lock that was not refreshed for so long belongs to nobody any more: restic's rule."""
FENCE_S = 1350.0
"""We trust our own lock only while it is younger: well before others may take it for stale."""
SETTLE_S = 0.2
_POLL_S = 1.0


class SealedObjects(Protocol):
    """What locks need of a repository."""

    @property
    def store(self) -> ObjectStore:
        """Where the objects lie."""

    @property
    def machine(self) -> Machine:
        """Who works on it."""

    @property
    def left_locks(self) -> set[str]:
        """Ids of locks of our own that we no longer hold and could not remove."""

    def load_sealed(self, kind: ObjectKind, object_id: str) -> bytes:
        """The JSON text of an object."""

    def seal_object(self, text: bytes) -> tuple[str, list[Buffer]]:
        """The id and the content of an object that is still to be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockInfo:
    """A lock object.

    Attributes:
        lock_id: hexadecimal id.
        time: when it was written, by the clock of its machine, in seconds since the epoch.
        modified: when it was written, by the store's clock.
        exclusive: whether its owner wants to be alone.
        hostname: machine of its owner.
        username: user of its owner.
        pid: process of its owner.
    """

    lock_id: str
    time: float
    modified: float
    exclusive: bool
    hostname: str
    username: str
    pid: int

    def owner(self) -> str:
        """Its owner, in words."""
        sort = "exclusive" if self.exclusive else "shared"
        since = rfc3339(int(self.time))
        return f"process {self.pid} of {self.username}@{self.hostname}, {sort}, since {since}"


def read_locks(objects: SealedObjects) -> Iterator[LockInfo]:
    """Every lock; one that can't be read counts as an exclusive one of somebody unknown."""
    for lock_id, info in list_objects(objects.store, ObjectKind.LOCK):
        try:
            text = objects.load_sealed(ObjectKind.LOCK, lock_id)
        except MissingObjectError:
            continue  # released while we looked
        except DamageError:
            yield _unreadable(lock_id, info.modified)
            continue
        yield _parse(lock_id, info.modified, text)


def is_stale(lock: LockInfo, machine: Machine) -> bool:
    """Whether a lock's owner is dead or has forgotten it, by restic's rules.

    A lock must look old by its owner's clock and by the store's: one of them may be wrong.
    """
    if machine.clock() - max(lock.time, lock.modified) > STALE_S:
        return True
    here = lock.hostname == machine.hostname and lock.pid > 0
    return here and lock.pid != machine.pid and not machine.alive(lock.pid)


def remove_locks(objects: SealedObjects, progress: Progress, *, every: bool = False) -> int:
    """Remove stale locks and say so; how many.

    Args:
        objects: the repository.
        progress: hears of each.
        every: remove those too whose owners may live: only when a person wants it.
    """
    count = 0
    for lock in read_locks(objects):
        ours = lock.lock_id in objects.left_locks
        if every or ours or is_stale(lock, objects.machine):
            objects.store.delete(object_name(ObjectKind.LOCK, lock.lock_id))
            objects.left_locks.discard(lock.lock_id)
            progress.warn(f"A lock that was left behind was removed: {lock.owner()}.")
            count += 1
    return count


class RepositoryLock:
    """A lock on a repository, for a `with` block; it refreshes itself in a thread.

    Args:
        objects: the repository.
        exclusive: whether nobody else may work on it.
        progress: hears of stale locks that are removed, and of waiting.
        wait_s: seconds to wait for others.
        refresh_s: seconds between refreshes.
    """

    def __init__(
        self,
        objects: SealedObjects,
        *,
        exclusive: bool,
        progress: Progress,
        wait_s: float = 0.0,
        refresh_s: float = REFRESH_S,
    ) -> None:
        self._objects = objects
        self._machine = objects.machine
        self._exclusive = exclusive
        self._progress = progress
        self._wait_s = wait_s
        self._refresh_s = refresh_s
        self._changing = threading.Lock()
        self._ended = threading.Event()
        self._lost = False
        self._lock_id: str | None = None
        self._written = self._written_monotonic = 0.0
        self._thread = threading.Thread(target=self._keep, name="repository-lock", daemon=True)

    @property
    def lock_id(self) -> str | None:
        """Hexadecimal id of the lock object at the moment."""
        return self._lock_id

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            LockedError: somebody else has one that excludes ours.
        """
        deadline = self._machine.monotonic() + self._wait_s
        told = False
        while True:
            other = self._try()
            if other is None:
                break
            if self._machine.monotonic() >= deadline:
                raise LockedError(
                    f"{self._objects.store.describe()} is locked by {other.owner()}",
                    hint="wait for it to end; `unlock` removes locks of processes that are gone",
                )
            if not told:
                self._progress.step(f"waiting for {other.owner()}")
                told = True
            self._machine.sleep(_POLL_S)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Release it."""
        self._ended.set()
        self._thread.join()
        with self._changing:
            self._release()

    def ensure(self) -> None:
        """The fence before anything that can't be undone.

        Raises:
            LockedError: our lock is gone, or so old that others may soon take it for stale.
        """
        with self._changing:
            if self._age() > FENCE_S:
                self._lost = True
            if not self._lost and not self._listed():
                self._lost = True
            if self._lost:
                raise LockedError(
                    f"our lock on {self._objects.store.describe()} was lost meanwhile",
                    hint="this machine slept or lost the store for too long; run it again",
                )

    def refresh(self) -> None:
        """Write a new lock and remove the old one, unless it is lost already.

        Raises:
            StoreError: the store can't be used; the old lock stays.
        """
        with self._changing:
            if self._lost or self._lock_id is None:
                return
            if self._age() > FENCE_S or not self._listed():
                self._lost = True
                return
            old = self._lock_id
            self._write()
            self._remove(old)

    def _try(self) -> LockInfo | None:
        """Take the lock, or tell who is in the way."""
        remove_locks(self._objects, self._progress)
        other = self._other()
        if other is not None:
            return other
        self._write()
        try:
            self._machine.sleep(SETTLE_S)
            other = self._other()
        except BaseException:
            self._release()
            raise
        if other is not None:
            self._release()
        return other

    def _release(self) -> None:
        if self._lock_id is not None:
            self._remove(self._lock_id)
            self._lock_id = None
        for lock_id in tuple(self._objects.left_locks):
            self._remove(lock_id, again=True)

    def _other(self) -> LockInfo | None:
        for lock in read_locks(self._objects):
            if lock.lock_id != self._lock_id and (lock.exclusive or self._exclusive):
                return lock
        return None

    def _write(self) -> None:
        machine = self._machine
        now, monotonic = machine.clock(), machine.monotonic()
        document = {
            "time": rfc3339(now),
            "exclusive": self._exclusive,
            "hostname": machine.hostname,
            "username": machine.username,
            "pid": machine.pid,
            "uid": machine.uid,
            "gid": machine.gid,
        }
        text = json.dumps(document, separators=(",", ":")).encode()
        lock_id, content = self._objects.seal_object(text)
        try:
            self._objects.store.put(object_name(ObjectKind.LOCK, lock_id), content)
        except BaseException as error:
            # It may have been written although we were told otherwise: its name tells.
            size = sum(len(piece) for piece in content)
            if not isinstance(error, StoreError) or not self._is_there(lock_id, size):
                self._remove(lock_id)
                raise
        self._lock_id = lock_id
        self._written, self._written_monotonic = now, monotonic

    def _is_there(self, lock_id: str, size: int) -> bool:
        try:
            return self._objects.store.size(object_name(ObjectKind.LOCK, lock_id)) == size
        except BackupError:
            return False

    def _remove(self, lock_id: str, *, again: bool = False) -> None:
        """Remove a lock of ours; one that stays must not be in our own way later."""
        left = self._objects.left_locks
        left.add(lock_id)
        try:
            self._objects.store.delete(object_name(ObjectKind.LOCK, lock_id))
        except BackupError as error:
            if not again:
                self._progress.warn(f"Our lock could not be removed: {error.message}.")
            return
        left.discard(lock_id)

    def _age(self) -> float:
        """Seconds since the lock was written; a clock that was set back does not make it young."""
        machine = self._machine
        return max(machine.clock() - self._written, machine.monotonic() - self._written_monotonic)

    def _listed(self) -> bool:
        found = list_objects(self._objects.store, ObjectKind.LOCK)
        return any(lock_id == self._lock_id for lock_id, _ in found)

    def _keep(self) -> None:
        while not self._ended.wait(self._refresh_s):
            try:
                self.refresh()
            except BackupError as error:
                # The fence decides what that means; the next refresh may succeed.
                self._progress.warn(f"Our lock could not be refreshed: {error.message}.")


def _parse(lock_id: str, modified: float, text: bytes) -> LockInfo:
    try:
        document = json.loads(text)
        return LockInfo(
            lock_id=lock_id,
            time=seconds_of(document["time"]),
            modified=modified,
            exclusive=bool(document["exclusive"]),
            hostname=str(document["hostname"]),
            username=str(document["username"]),
            pid=int(document["pid"]),
        )
    except (ValueError, KeyError, TypeError):
        return _unreadable(lock_id, modified)


def _unreadable(lock_id: str, modified: float) -> LockInfo:
    return LockInfo(
        lock_id=lock_id,
        time=modified,
        modified=modified,
        exclusive=True,
        hostname="an unknown machine",
        username="somebody",
        pid=0,
    )
