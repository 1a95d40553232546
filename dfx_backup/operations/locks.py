"""One local lock for each canister on each network: two runs never hold the same canister.

The lock is the kernel's (flock), so it goes away with its process, kill -9 included. The file's
content only tells who holds it; the file itself stays.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dfx_backup.errors import LockedError, ProjectError
from dfx_backup.operations.processes import this_process
from dfx_backup.operations.state_files import private_folder, unusable
from dfx_backup.operations.target import Runtime, Target

_POLL_S = 0.5
_SHORT_LOOKS = 3
_SHORT_LOOK_S = 0.02
"""Somebody who only asks whether the lock is held (`is_held`) has it for an instant."""


@contextmanager
def canister_lock(run: Runtime, target: Target, *, purpose: str) -> Iterator[None]:
    """Hold the canister's lock.

    Args:
        run: the surroundings; `lock_wait_s` says how long to wait for another run.
        target: the canister.
        purpose: what the lock is for, told to runs that find it taken.

    Raises:
        LockedError: another run holds it.
        ProjectError: the lock's file can't be used.
    """
    path = lock_path(run.state, target.key)
    private_folder(path.parent)
    handle = _open(path)
    try:
        _acquire(run, target, handle, path)
        _tell(handle, path, run, purpose)
        yield
    finally:
        os.close(handle)


def lock_path(state: Path, key: str) -> Path:
    """The file whose lock stands for the canister `key` (see `target.target_key`)."""
    return state / "locks" / f"{key}.lock"


def is_held(path: Path) -> bool | None:
    """Whether some process holds the lock; None when there is no such file to ask."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Shared, so that two who only ask do not see each other.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(handle)
    return False


def refuse_held(run: Runtime, target: Target) -> None:
    """Refuse a canister that another run on this machine holds just now; this one may hold it.

    Raises:
        LockedError: another run holds it.
    """
    path = lock_path(run.state, target.key)
    if is_held(path) and _told(path).get("pid") != this_process().pid:
        raise _locked(target, path)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unusable(path, error) from error


def _acquire(run: Runtime, target: Target, handle: int, path: Path) -> None:
    deadline = run.clock.monotonic() + run.lock_wait_s
    looks, told = 0, False
    while not _try(handle, path):
        looks += 1
        if looks < _SHORT_LOOKS:
            run.clock.sleep(_SHORT_LOOK_S)
            continue
        if run.clock.monotonic() >= deadline:
            raise _locked(target, path)
        if not told:
            run.progress.step(f"waiting for another run on canister {target}")
            told = True
        run.clock.sleep(_POLL_S)


def _try(handle: int, path: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise ProjectError(
            f"{path} can't be locked: {error.strerror}",
            hint="keep the state directory on a file system with locks; XDG_STATE_HOME moves it",
        ) from error
    return True


def _tell(handle: int, path: Path, run: Runtime, purpose: str) -> None:
    holder = {"pid": this_process().pid, "since": run.clock.now(), "purpose": purpose}
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(holder).encode(), 0)
    except OSError as error:
        raise unusable(path, error) from error


def _locked(target: Target, path: Path) -> LockedError:
    return LockedError(
        f"another run holds canister {target}: {_holder(path)}",
        hint="wait for it to end; the lock goes away with its process",
    )


def _holder(path: Path) -> str:
    """Who holds the lock, in words; the content is only a courtesy and may be anything."""
    try:
        told = _told(path)
        since = datetime.fromtimestamp(told["since"], tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"process {int(told['pid'])} ({told['purpose']}), since {since}"
    except (ValueError, TypeError, KeyError, OverflowError):
        return "a process that has not told its name yet"


def _told(path: Path) -> dict[str, Any]:
    """What the holder of a lock wrote into its file; nothing when that can't be read."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
