"""A store in a local directory; what was written survives a power cut."""

import contextlib
import errno
import itertools
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from dfx_backup.errors import DamageError
from dfx_backup.files import sync_folder
from dfx_backup.repository.store import (
    Buffer,
    MissingObjectError,
    ObjectInfo,
    ObjectStore,
    StoreError,
    checked_name,
    checked_prefix,
    pieces_of,
    valid_name,
)

_FILE_MODE = 0o600
_FOLDER_MODE = 0o700
_MOST_PIECES = 512
"""Pieces handed to the kernel at once; Linux takes 1,024 (IOV_MAX)."""
_TEMPORARY = ".tmp"
_LEFTOVER_S = 24 * 3600.0
"""Age from which a temporary file belongs to nobody any more."""


class LocalStore(ObjectStore):
    """Objects as files below a directory, 0600 in directories 0700.

    A file gets its name when all of it is on the disk: temporary file in the same directory, fsync,
    rename, fsync of the directory.

    Args:
        root: the directory; made when the first object is written.
    """

    longest_read = 1 << 20  # what stays in the processor's cache

    def __init__(self, root: Path) -> None:
        self._root = root
        self._numbers = itertools.count()
        self._folders: set[Path] = set()

    def put(self, name: str, data: Buffer | Sequence[Buffer]) -> None:
        """Write a file whole."""
        path = self._path(name)
        temporary = path.parent / f".{path.name}.{os.getpid()}.{next(self._numbers)}{_TEMPORARY}"
        try:
            self._make_folder(path.parent)
            try:
                _write(temporary, pieces_of(data))
                temporary.replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise
            sync_folder(path.parent)
        except OSError as error:
            raise _store_error(f"{path} can't be written", error) from error

    def get(self, name: str) -> bytes:
        """Read a file."""
        path = self._path(name)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise MissingObjectError(name, where=self.describe()) from None
        except OSError as error:
            raise _store_error(f"{path} can't be read", error) from error

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Read a part of a file."""
        path = self._path(name)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = _read(handle, offset, length)
            finally:
                os.close(handle)
        except FileNotFoundError:
            raise MissingObjectError(name, where=self.describe()) from None
        except OSError as error:
            raise _store_error(f"{path} can't be read", error) from error
        if len(data) != length:
            raise DamageError(f"{path} ends too early: {offset + length} bytes are needed")
        return data

    def size(self, name: str) -> int:
        """Bytes of a file."""
        path = self._path(name)
        try:
            return path.stat().st_size
        except FileNotFoundError:
            raise MissingObjectError(name, where=self.describe()) from None
        except OSError as error:
            raise _store_error(f"{path} can't be read", error) from error

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Files whose names begin with `prefix`, temporary ones left out."""
        folder = self._root / checked_prefix(prefix)
        try:
            yield from self._walk(folder, prefix)
        except OSError as error:
            raise _store_error(f"{folder} can't be listed", error) from error

    def delete(self, name: str) -> None:
        """Remove a file."""
        path = self._path(name)
        try:
            path.unlink()
            sync_folder(path.parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _store_error(f"{path} can't be removed", error) from error

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        path = self._path(name)
        try:
            return stat.S_ISREG(path.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise _store_error(f"{path} can't be read", error) from error

    def describe(self) -> str:
        """The directory."""
        return str(self._root)

    def sweep(self, *, now: float | None = None) -> int:
        """Remove temporary files that writers left a day ago or earlier; tells how many.

        Args:
            now: seconds since the epoch by the clock of the file system; None asks this machine.
        """
        oldest = (time.time() if now is None else now) - _LEFTOVER_S
        count = 0
        try:
            for path in self._root.rglob(f".*{_TEMPORARY}"):
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    count += 1
        except OSError as error:
            raise _store_error(f"{self._root} can't be swept", error) from error
        return count

    def _path(self, name: str) -> Path:
        return self._root / checked_name(name)

    def _make_folder(self, folder: Path) -> None:
        if folder in self._folders:
            return
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for each in reversed(missing):
            with contextlib.suppress(FileExistsError):
                each.mkdir(mode=_FOLDER_MODE)
            sync_folder(each.parent)
            self._folders.add(each)

    def _walk(self, folder: Path, prefix: str) -> Iterator[ObjectInfo]:
        try:
            found = os.scandir(folder)
        except (FileNotFoundError, NotADirectoryError):
            return
        with found:
            for entry in found:
                name = prefix + entry.name
                if not valid_name(name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield from self._walk(folder / entry.name, f"{name}/")
                    continue
                try:
                    info = entry.stat()
                except FileNotFoundError:
                    continue  # removed while we listed
                if stat.S_ISREG(info.st_mode):
                    yield ObjectInfo(name=name, size=info.st_size, modified=info.st_mtime)


def _write(path: Path, pieces: "list[Buffer]") -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
    try:
        for first in range(0, len(pieces), _MOST_PIECES):
            _write_all(handle, pieces[first : first + _MOST_PIECES])
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_all(handle: int, pieces: "list[Buffer]") -> None:
    left = sum(len(piece) for piece in pieces)
    while left:
        written = os.writev(handle, pieces)
        left -= written
        if not left:
            return
        if not written:
            raise OSError(errno.EIO, "nothing was written")
        rest: list[Buffer] = []
        for piece in pieces:
            if written >= len(piece):
                written -= len(piece)
            else:
                rest.append(memoryview(piece)[written:])
                written = 0
        pieces = rest


def _read(handle: int, offset: int, length: int) -> bytes:
    data = os.pread(handle, length, offset)
    while len(data) < length:
        more = os.pread(handle, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def _store_error(what: str, error: OSError) -> StoreError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return StoreError(
        f"{what}: {error.strerror or error}",
        hint="make room there and run the command again; what was stored is found"
        if full
        else None,
    )
