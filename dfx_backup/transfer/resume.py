"""What survives a kill: a journal with a header and one line for each finished step.

A line is appended with one system call when its step is finished, so a killed process loses only
what was in flight. After a power cut the lines of a download can be there without the data that
they speak of: whoever resumes one checks the data. The header is on the disk before anything else.
"""

import errno
import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from dfx_backup.errors import LockedError, ProjectError
from dfx_backup.files import Fields, sync_folder

_HINT = "Remove it to begin anew."


class Journal:
    """A journal that this process holds; see `open`.

    Attributes:
        path: the file.
        header: what the transfer is about, or None for a new journal.
        lines: what is finished, as an earlier run wrote it.
    """

    def __init__(
        self, path: Path, handle: int, header: dict[str, Any] | None, lines: list[Any]
    ) -> None:
        self.path = path
        self.header = header
        self.lines: Sequence[Any] = lines
        self._handle = handle

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open and lock a journal, or make an empty one.

        Raises:
            LockedError: another process has it.
            ProjectError: it can't be used.
        """
        try:
            handle = _open_locked(path)
        except BlockingIOError:
            raise LockedError(
                f"another process works with {path}", hint="Wait for it to end."
            ) from None
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            raw = _read_all(handle)
            header, lines, good = _parse(raw)
            os.ftruncate(handle, good)
        except OSError as error:
            os.close(handle)
            raise _unusable(path, error) from error
        return cls(path, handle, header, lines)

    def fields(self) -> Fields:
        """The header, with typed access.

        Raises:
            DamageError: there is none.
        """
        return Fields(self.path, self.header, hint=_HINT)

    def begin(self, header: Mapping[str, object]) -> None:
        """Write the header; afterwards it is on the disk.

        Raises:
            ProjectError: it can't be written.
        """
        self.header = dict(header)
        try:
            os.ftruncate(self._handle, 0)
            _append(self._handle, _line(header))
            self.sync()
            sync_folder(self.path.parent)
        except OSError as error:
            raise _unusable(self.path, error) from error

    def add(self, step: object, *, sync: bool = False) -> None:
        """Append a finished step. Threads may do so at the same time.

        Args:
            step: JSON.
            sync: force it to the disk.

        Raises:
            ProjectError: it can't be written.
        """
        line = _line(step)
        try:
            _append(self._handle, line)
            if sync:
                self.sync()
        except OSError as error:
            raise _unusable(self.path, error) from error

    def sync(self) -> None:
        """Force everything to the disk."""
        os.fdatasync(self._handle)

    def remove(self) -> None:
        """Remove the file while it is still locked; afterwards the disk knows.

        Raises:
            ProjectError: it can't be removed.
        """
        try:
            self.path.unlink(missing_ok=True)
            sync_folder(self.path.parent)
        except OSError as error:
            raise _unusable(self.path, error) from error

    def close(self) -> None:
        """Let others have it."""
        os.close(self._handle)


def look_into(path: Path) -> Sequence[Any]:
    """What a journal says, header first, without holding it; nothing when there is none.

    Raises:
        ProjectError: it can't be read.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise _unusable(path, error) from error
    header, lines, _ = _parse(raw)
    return () if header is None else (header, *lines)


def _open_locked(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        handle = os.open(path, flags, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_nlink:
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # whoever had it has just removed it


def _append(handle: int, line: bytes) -> None:
    if os.write(handle, line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _read_all(handle: int) -> bytes:
    parts = []
    position = 0
    while part := os.pread(handle, 1 << 24, position):
        parts.append(part)
        position += len(part)
    return b"".join(parts)


def _parse(raw: bytes) -> tuple[dict[str, Any] | None, list[Any], int]:
    """Header, lines, and how many bytes of the file are whole lines."""
    found = []
    good = 0
    for line in raw.splitlines(keepends=True):
        try:
            step = json.loads(line) if line.endswith(b"\n") else None
        except (ValueError, RecursionError):
            step = None
        if step is None:
            break
        found.append(step)
        good += len(line)
    if not found or not isinstance(found[0], dict):
        return None, [], 0
    return found[0], found[1:], good


def _line(step: object) -> bytes:
    return (json.dumps(step, separators=(",", ":")) + "\n").encode()


def _unusable(path: Path, error: OSError) -> ProjectError:
    return ProjectError(f"{path} can't be used: {error.strerror or error}")
