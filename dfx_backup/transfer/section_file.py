"""Files of a folder while slices arrive: written by offset, sparse, hashed on the way."""

import contextlib
import hashlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from dfx_backup.ic.snapshot_parts import Section
from dfx_backup.transfer.slices import is_zero, pieces, read_exactly
from dfx_backup.transfer.terms import SLICE_BYTES


class SectionFile:
    """The file of one section. Threads may write different slices at the same time.

    Args:
        path: the file; made with mode 0600 when it is not there.
        size: bytes that it gets.

    Raises:
        OSError: the file can't be made.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self.handle = os.open(path, flags, 0o600)
        self._clean = os.fstat(self.handle).st_size == 0
        os.ftruncate(self.handle, size)

    def put(self, offset: int, data: bytes) -> int:
        """Write a slice; zero pages become holes.

        Returns:
            How many of its bytes are in zero pages.
        """
        view = memoryview(data)
        zeros = 0
        begin = 0
        for start, end in pieces(offset, len(data)):
            if not is_zero(data, start, end):
                continue
            self._write(view[begin:start], offset + begin)
            if not self._clean:
                self._clear(offset + start, end - start)
            zeros += end - start
            begin = end
        self._write(view[begin:], offset + begin)
        return zeros

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the file.

        Raises:
            OSError: it ends before.
        """
        return read_exactly(self.handle, size, offset)

    def sync(self) -> None:
        """Force everything to the disk."""
        os.fdatasync(self.handle)

    def close(self) -> None:
        """Close the file."""
        os.close(self.handle)

    def _write(self, view: memoryview, offset: int) -> None:
        done = 0
        while done < len(view):
            done += os.pwrite(self.handle, view[done:], offset + done)

    def _clear(self, offset: int, size: int) -> None:
        """Zeros over what an earlier run may have left."""
        if not is_zero(self.read(offset, size), 0, size):
            self._write(memoryview(bytes(size)), offset)


class TrailingHashes:
    """SHA-256 of files that are still being written, always as far as they have no gap.

    A thread reads behind the writers, so that in the end little is left to hash.

    Args:
        files: hashed in this order.
    """

    def __init__(self, files: Mapping[Section, SectionFile]) -> None:
        self._files = files
        self._done = {
            section: bytearray(-(-file.size // SLICE_BYTES)) for section, file in files.items()
        }
        self._changed = threading.Condition()
        self._stopped = False
        self._found: dict[Section, str] = {}
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="hashes", daemon=True)
        self._thread.start()

    def finished(self, section: Section, offset: int) -> None:
        """The slice at this offset is in its file."""
        with self._changed:
            self._done[section][offset // SLICE_BYTES] = 1
            self._changed.notify()

    def result(self) -> Mapping[Section, str]:
        """Wait for the hashes, hexadecimal; every slice must have been finished.

        Raises:
            OSError: a file could not be read.
        """
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self._found

    def stop(self) -> None:
        """Give up; returns when no file is read any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            with contextlib.suppress(_Stopped):
                for section, file in self._files.items():
                    self._found[section] = self._hash(section, file)
        except OSError as error:
            self._failure = error

    def _hash(self, section: Section, file: SectionFile) -> str:
        hashes = hashlib.sha256()
        done = self._done[section]
        for index in range(len(done)):
            with self._changed:
                self._changed.wait_for(lambda at=index: done[at] or self._stopped)  # type: ignore[misc] # bound now
                if self._stopped:
                    raise _Stopped
            offset = index * SLICE_BYTES
            hashes.update(file.read(offset, min(SLICE_BYTES, file.size - offset)))
        return hashes.hexdigest()


class _Stopped(Exception):  # noqa: N818 # nothing is wrong
    """The hashes are not wanted any more."""
