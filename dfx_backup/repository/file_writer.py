"""One file of a backup, written in parts that come in any order from several threads."""

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass

from dfx_backup.repository.contents import ContentTable, weight
from dfx_backup.repository.entries import Entries
from dfx_backup.repository.layout import BlobKind
from dfx_backup.repository.ordered_hash import NoHash, OrderedHash
from dfx_backup.repository.pack_writer import PackWriter
from dfx_backup.repository.repository import Repository

IMPORT_PAGES = 30
"""Blobs of a part when a whole file is read: small enough to stay in the processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """A file that was written.

    Attributes:
        name: its name, with its directory when it lies in one.
        size: its bytes.
        sha256: hexadecimal hash of all of it, zeros included; None when it was not asked for.
        content_sha256: hexadecimal hash of the SHA-256s of its blobs, one after the other.
    """

    name: str
    size: int
    sha256: str | None
    content_sha256: str


class FileWriter:
    """Cuts a file into blobs of a fixed size and stores those that are not stored yet.

    Every part is written or skipped, exactly once. Parts should come more or less in their order:
    one that is far ahead waits for those before it. Made by `Writer.file`.

    Attributes:
        name: its name, with its directory when it lies in one.
        size: its bytes.
        content: ids of its blobs; complete after `finish`.
        finished: whether `finish` has found nothing wrong.
    """

    def __init__(
        self,
        repository: Repository,
        packs: PackWriter,
        jobs: Executor,
        *,
        name: str,
        size: int,
        whole_hash: bool,
    ) -> None:
        self.name = name
        self.size = size
        self.finished = False
        self._packs = packs
        self._repository = repository
        self._jobs = jobs
        self._blob_size = repository.config.blob_size
        self._zero = bytes(self._blob_size)
        count = -(-size // self._blob_size)
        self._tail = self._zero[: size % self._blob_size]
        self._zero_ids = [hashlib.sha256(each).digest() for each in (self._zero, self._tail)]
        self.content = ContentTable(count, self._zero_ids[0])
        if self._tail:
            self.content[count - 1] = self._zero_ids[1]
        self._entries = Entries(name)
        self._hash = OrderedHash(size) if whole_hash else NoHash()
        self._changed = threading.Condition()
        self._running = 0
        self._failure: BaseException | None = None

    def write(self, offset: int, data: bytes | bytearray) -> None:
        """Store a part; waits while too much is on its way.

        Args:
            offset: where it lies; a multiple of the blob size.
            data: its bytes, a multiple of the blob size unless it ends the file. The caller leaves
                them unchanged from then on.

        Raises:
            ValueError: it lies outside the file, not at blobs, or came before.
            StoreError: an upload failed.
        """
        end = offset + len(data)
        if offset < 0 or end > self.size:
            raise ValueError(f"{len(data)} bytes at {offset} of a file of {self.size}")
        if offset % self._blob_size or (end % self._blob_size and end != self.size):
            raise ValueError(f"{len(data)} bytes at {offset} are no whole blobs")
        self._raise_failure()
        self._hash.reserve(offset, len(data))
        # What we waited for may have failed.
        self._raise_failure()
        self._submit(lambda: self._store(offset, data))

    def skip(self, offset: int, length: int) -> None:
        """Say that a part is all zeros, so that nobody waits for it.

        Raises:
            ValueError: it lies outside the file, or came before.
        """
        self._raise_failure()
        self._hash.skip(offset, length)
        self._entries.cover(offset, offset + length)
        self._submit(self._hash.drain)

    def copy(self, handle: int) -> None:
        """Write the whole file from an open one of the same size; its holes are not read.

        Raises:
            OSError: it can't be read, or has become shorter.
            StoreError: an upload failed.
        """
        # Threads would take more of the processor than they win: most pages are stored already,
        # and what is new is compressed while packs before it are hashed and written by others.
        step = IMPORT_PAGES * self._blob_size
        buffer = bytearray(step)
        position = 0
        for first, end in _extents(handle, self.size, self._blob_size):
            if first > position:
                self._skip_here(position, first - position)
            for offset in range(first, end, step):
                self._raise_failure()
                length = min(step, end - offset)
                with memoryview(buffer) as view:
                    _read_into(handle, view[:length], offset)
                    self._hash.reserve(offset, length)
                    self._enter(offset, buffer, length)
                    # In order, so it is hashed at once and the buffer is free again.
                    self._hash.offer(offset, view[:length])
            position = end
        if position < self.size:
            self._skip_here(position, self.size - position)

    def finish(self) -> FileRecord:
        """Wait until all parts are stored or on their way; what the file is.

        Raises:
            DamageError: a part did not come, or came twice, or a page was lost here.
            StoreError: an upload failed.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._running or self._failure is not None)
        self._raise_failure()
        self._entries.check_cover(self.size)
        self._entries.check(self.content, self._zero_ids)
        self._store_zeros()
        digest = self._hash.finish(self._read_again)
        self.finished = True
        return FileRecord(
            name=self.name, size=self.size, sha256=digest, content_sha256=self.content.sha256()
        )

    def abort(self) -> None:
        """Let everybody go who waits here."""
        self._hash.abort()

    def _submit(self, work: Callable[[], None]) -> None:
        with self._changed:
            self._running += 1
        try:
            future = self._jobs.submit(work)
        except BaseException:
            with self._changed:
                self._running -= 1
            raise
        future.add_done_callback(self._done)

    def _done(self, future: Future[None]) -> None:
        failure: BaseException | None
        if future.cancelled():
            failure = RuntimeError("the work was cancelled")
        else:
            failure = future.exception()
        with self._changed:
            self._running -= 1
            self._failure = self._failure or failure
            self._changed.notify_all()
        if failure is not None:
            self._hash.abort()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _skip_here(self, offset: int, length: int) -> None:
        """Skip, and hash the zeros in this thread."""
        self._hash.skip(offset, length)
        self._hash.drain()
        self._entries.cover(offset, offset + length)

    def _store(self, offset: int, data: bytes | bytearray) -> None:
        self._enter(offset, data, len(data))
        self._hash.offer(offset, data)

    def _enter(self, offset: int, data: bytes | bytearray, length: int) -> None:
        """Note the ids of the blobs in the first bytes of `data`, and store those that are new."""
        size, zero, packs, content = self._blob_size, self._zero, self._packs, self.content
        sha256 = hashlib.sha256
        view = memoryview(data)
        place, total = offset // size, 0
        for start in range(0, length, size):
            end = min(start + size, length)
            # Comparing is ten times as fast as hashing, and most pages differ in the first bytes.
            if not data.startswith(zero if end - start == size else self._tail, start):
                page = view[start:end]
                blob_id = sha256(page).digest()
                content[place] = blob_id
                total += weight(place, blob_id)
                if packs.claim(BlobKind.DATA, blob_id):
                    packs.add_blob(BlobKind.DATA, blob_id, page)
            place += 1
        self._entries.add(total)
        self._entries.cover(offset, offset + length)

    def _store_zeros(self) -> None:
        """Store the blobs of zeros, when the file has any."""
        for zeros in (self._zero, self._tail):
            if zeros and self.content.has(hashlib.sha256(zeros).digest()):
                self._packs.store_blob(BlobKind.DATA, zeros)

    def _read_again(self, offset: int, length: int) -> Iterator[bytes]:
        self._packs.write_packs()
        first = offset // self._blob_size
        for place in range(first, first + -(-length // self._blob_size)):
            yield self._repository.load_blob(BlobKind.DATA, self.content[place])


def _extents(handle: int, size: int, unit: int) -> Iterator[tuple[int, int]]:
    """Ranges that are no holes, rising, widened to whole blobs."""
    position = 0
    while position < size:
        try:
            found = os.lseek(handle, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # nothing but a hole from here on
                raise
            return
        if found >= size:
            return
        first = max(position, found // unit * unit)
        hole = os.lseek(handle, found, os.SEEK_HOLE)
        end = min(size, -(-hole // unit) * unit)
        yield first, end
        position = end


def _read_into(handle: int, view: memoryview, offset: int) -> None:
    done = 0
    while done < len(view):
        count = os.preadv(handle, [view[done:]], offset + done)
        if not count:
            raise OSError(errno.EIO, "the file has become shorter while it was read")
        done += count
