"""The bytes of a stream's copy, wherever it is kept."""

import errno
import os
import stat
from pathlib import Path
from typing import Protocol, Self

from dfx_backup.errors import ProjectError
from dfx_backup.transfer.slices import read_exactly


class StreamData(Protocol):
    """A copy that is open. Threads share it; `str` names it for messages."""

    @property
    def size(self) -> int:
        """Bytes that are there."""

    def read(self, offset: int, length: int, /) -> bytes:
        """Exactly so many bytes.

        Raises:
            ProjectError, DamageError: they can't be read.
        """

    def close(self) -> None:
        """Nobody reads any more."""


class FileData:
    """A file, open for reading; see `open`."""

    def __init__(self, path: Path, handle: int) -> None:
        self._path = path
        self._handle = handle

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a file.

        Raises:
            ProjectError: it can't be.
        """
        try:
            # Without O_NONBLOCK, a pipe of that name would be waited for.
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise unusable(path, error) from error
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise ProjectError(f"{path} can't be used: it is no file")
        return cls(path, handle)

    def __str__(self) -> str:
        return str(self._path)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self._handle).st_size

    def read(self, offset: int, length: int) -> bytes:
        """Exactly so many bytes.

        Raises:
            ProjectError: they can't be read, or the file ends before.
        """
        try:
            return read_exactly(self._handle, length, offset)
        except OSError as error:
            raise unusable(self._path, error) from error

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)


def unusable(path: Path, error: OSError) -> ProjectError:
    """The error for a file that can't be written or read."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    hint = "make room, and run the same again" if error.errno == errno.ENOSPC else None
    return ProjectError(f"{path} can't be used: {reason}", hint=hint)
