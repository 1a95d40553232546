"""Blobs: large sparse byte ranges that hold heaps, stable memories and snapshots.

A blob is a file: anonymous (memfd) or in the state directory. Holes read as zeros and cost
nothing. Writing to a committed blob inside a transaction keeps the old bytes of the touched
4 KiB pages, so that `BlobStore.rollback` can put them back.
"""

import ctypes
import errno
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping

Bytes = bytes | bytearray | memoryview
HOST_PAGE = 4096
_COPY_STEP = 1 << 24
_PUNCH_HOLE = 0x03  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE


class Blob:
    """A resizable sparse byte range backed by a file descriptor.

    Not thread-safe: the replica's lock guards it.

    Attributes:
        name: file name in the state directory, "" for anonymous ones.
        fd: open for reading and writing.
        size: bytes.
    """

    __slots__ = ("_clean_size", "_committed", "_store", "_touched", "_undo", "fd", "name", "size")

    def __init__(self, store: "BlobStore", fd: int, name: str, *, committed: bool) -> None:
        self.fd = fd
        self.name = name
        self.size = os.fstat(fd).st_size
        self._store = store
        self._committed = committed
        self._clean_size = self.size
        self._touched: set[int] = set()
        self._undo: list[tuple[int, bytes | int]] = []

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self._store.forget(self.name)

    def read(self, offset: int, size: int) -> bytes:
        """Bytes `offset` to `offset + size`.

        Raises:
            ValueError: the range is not inside the blob.
        """
        self._check(offset, size)
        data = os.pread(self.fd, size, offset)
        while len(data) < size:  # a single pread returns at most 2 GiB
            data += os.pread(self.fd, size - len(data), offset + len(data))
        return data

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fill `target` with the bytes from `offset` on, without a copy in between."""
        self._check(offset, len(target))
        done = 0
        while done < len(target):
            done += os.preadv(self.fd, [target[done:]], offset + done)

    def write(self, offset: int, data: Bytes) -> None:
        """Put `data` at `offset`.

        Raises:
            ValueError: the range is not inside the blob.
        """
        view = memoryview(data).cast("B")
        self._check(offset, len(view))
        if self._committed:
            self._remember(offset, offset + len(view))
        self.put(offset, view)

    def put(self, offset: int, data: memoryview) -> None:
        """Like `write`, but final: no check and no way back. For the store only."""
        done = 0
        while done < len(data):
            done += os.pwrite(self.fd, data[done:], offset + done)

    def resize(self, size: int) -> None:
        """Grow with zeros, or cut.

        Raises:
            ValueError: cutting into what is committed, which could not be undone.
        """
        if self._committed and size < self._clean_size:
            raise ValueError("a committed blob only grows")
        if self._committed and not self._undo and self.size == self._clean_size:
            self._store.touch(self)
        os.ftruncate(self.fd, size)
        self.size = size

    def clone(self) -> "Blob":
        """A new, independent blob with the same content; holes stay holes."""
        copy = self._store.new(self.size)
        for start, end in self.data_ranges():
            _copy_range(self.fd, copy.fd, start, end)
        return copy

    def data_ranges(self, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
        """Ranges `[a, b)` between `start` and `end` that may hold other bytes than zeros."""
        position = start
        stop = self.size if end is None else min(end, self.size)
        while position < stop:
            try:
                first = os.lseek(self.fd, position, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole from here on
                    return
                raise
            if first >= stop:
                return
            position = min(os.lseek(self.fd, first, os.SEEK_HOLE), stop)
            yield first, position

    def commit(self) -> None:
        """Forget how to undo: the store calls this at the end of a transaction."""
        self._committed = True
        self._clean_size = self.size
        self._touched.clear()
        self._undo.clear()

    def rollback(self) -> None:
        """Put back what the last commit had."""
        if self.size != self._clean_size:
            os.ftruncate(self.fd, self._clean_size)
            self.size = self._clean_size
        for offset, old in self._undo:
            restore(self, offset, old)
        self._touched.clear()
        self._undo.clear()

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size:
            raise ValueError(f"bytes {offset} to {offset + size} of a blob of {self.size}")

    def _remember(self, start: int, end: int) -> None:
        """Keep the old content of the pages of `[start, end)` that are not kept already."""
        last = min(end, self._clean_size)
        page = start // HOST_PAGE
        touched = self._touched
        while page * HOST_PAGE < last:
            if page in touched:
                page += 1
                continue
            first = page
            while page * HOST_PAGE < last and page not in touched:
                touched.add(page)
                page += 1
            self._keep(first * HOST_PAGE, min(page * HOST_PAGE, self._clean_size))

    def _keep(self, start: int, end: int) -> None:
        if not self._undo and self.size == self._clean_size:
            self._store.touch(self)
        position = start
        for first, last in (*self.data_ranges(start, end), (end, end)):
            if position < first:  # a hole is kept as its length
                self._note(position, first - position)
            while first < last:
                step = min(last - first, _COPY_STEP)
                self._note(first, os.pread(self.fd, step, first))
                first += step  # noqa: PLW2901 - walks through the range
            position = last

    def _note(self, offset: int, old: bytes | int) -> None:
        self._store.note(self, offset, old)
        self._undo.append((offset, old))


def restore(blob: Blob, offset: int, old: bytes | int) -> None:
    """Put old content back: bytes, or a hole of that many bytes."""
    if isinstance(old, bytes):
        blob.put(offset, memoryview(old))
    elif not _punch(blob.fd, offset, old):
        for start in range(offset, offset + old, _COPY_STEP):
            blob.put(start, memoryview(bytes(min(_COPY_STEP, offset + old - start))))


Writes = list[tuple[Blob, int, memoryview]]
"""Content for blobs: (blob, offset, bytes), inside the blob's size."""


class BlobStore:
    """Makes blobs and undoes writes to them; this one keeps them in memory.

    Attributes:
        is_durable: whether documents given to `commit` are kept.
    """

    is_durable = False

    def __init__(self) -> None:
        self._dirty: list[Blob] = []
        self._fresh: list[Blob] = []

    def new(self, size: int = 0) -> Blob:
        """A blob of zeros. Its first commit is the end of the current transaction."""
        fd, name = self._create()
        os.ftruncate(fd, size)
        blob = Blob(self, fd, name, committed=False)
        self._fresh.append(blob)
        return blob

    def from_bytes(self, data: Bytes) -> Blob:
        """A blob with this content."""
        view = memoryview(data).cast("B")
        blob = self.new(len(view))
        blob.put(0, view)
        return blob

    def rollback(self, blob: Blob | None = None) -> None:
        """Undo this transaction's writes to `blob`, or to all blobs."""
        for each in [blob] if blob else self._dirty:
            each.rollback()
        self._dirty = [each for each in self._dirty if blob and each is not blob]

    def commit(self, writes: Writes, _documents: Mapping[str, bytes | None]) -> None:
        """Apply `writes` and end the transaction: everything written so far stays.

        A durable store also keeps the documents, and does all of it or nothing.
        """
        for blob, offset, data in writes:
            blob.put(offset, data)
        self._settle()

    def keep(self, objects: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep immutable content (SHA-256, bytes), before the documents that name it."""

    def _settle(self) -> None:
        for blob in (*self._dirty, *self._fresh):
            blob.commit()
        self._dirty.clear()
        self._fresh.clear()

    def touch(self, blob: Blob) -> None:
        """A committed blob is about to change for the first time in this transaction."""
        self._dirty.append(blob)

    def note(self, blob: Blob, offset: int, old: bytes | int) -> None:
        """Old content is about to be overwritten; a durable store writes it down first."""

    def forget(self, name: str) -> None:
        """A blob is gone; a durable store removes its file in time."""

    def _create(self) -> tuple[int, str]:
        if sys.platform == "linux":
            return os.memfd_create("blob", os.MFD_CLOEXEC), ""
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno()), ""


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    if sys.platform == "linux":
        os.lseek(target, start, os.SEEK_SET)
        while start < end:
            start += os.sendfile(target, source, start, end - start)
    while start < end:
        step = min(_COPY_STEP, end - start)
        start += os.pwrite(target, os.pread(source, step, start), start)


def _punch(fd: int, offset: int, size: int) -> bool:
    if sys.platform != "linux":
        return False
    call = ctypes.CDLL(None, use_errno=True).fallocate64
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return bool(call(fd, _PUNCH_HOLE, offset, size) == 0)
