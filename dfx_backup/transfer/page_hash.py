"""Hashes of files: of the whole, and of their pages, which costs nothing where pages are hashed.

The pages' hash is the SHA-256 of the SHA-256s of all pages, one after the other; the last page may
be short. A repository has the hashes of its blobs anyway.
"""

import functools
import hashlib
import os

from dfx_backup.transfer.terms import PageHash

PAGE_SIZES = (65_536, 262_144)
"""Bytes that the pages of a recorded hash may have: those of a repository's blobs."""

_ZEROS = bytes(1 << 20)
_BLOCK_BYTES = 4 << 20


class FileHash:
    """Hashes a file that comes in order, as a whole, by pages, or both.

    Args:
        whole: whether to hash the whole.
        page_bytes: bytes of a page; None makes no hash of pages.
    """

    def __init__(self, *, whole: bool = True, page_bytes: int | None = None) -> None:
        self._whole = hashlib.sha256() if whole else None
        self._page_bytes = page_bytes
        self._ids = hashlib.sha256()
        self._open = hashlib.sha256()
        self._filled = 0

    @property
    def sha256(self) -> str | None:
        """Of the whole, so far, hexadecimal."""
        return None if self._whole is None else self._whole.hexdigest()

    @property
    def pages(self) -> PageHash | None:
        """Of the pages, so far."""
        if self._page_bytes is None:
            return None
        ids = self._ids.copy()
        if self._filled:
            ids.update(self._open.digest())
        return PageHash(page_bytes=self._page_bytes, sha256=ids.hexdigest())

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Hash more bytes."""
        if self._whole is not None:
            self._whole.update(data)
        if self._page_bytes is not None:
            self._add_pages(memoryview(data), self._page_bytes)

    def zeros(self, count: int) -> None:
        """Hash so many zeros; pages of zeros are hashed once."""
        if self._whole is not None:
            for start in range(0, count, len(_ZEROS)):
                self._whole.update(_ZEROS[: count - start])
        size = self._page_bytes
        if size is None:
            return
        if self._filled:
            head = min(count, size - self._filled)
            self._add_pages(memoryview(bytes(head)), size)
            count -= head
        for _ in range(count // size):
            self._ids.update(_zero_id(size))
        self._add_pages(memoryview(bytes(count % size)), size)

    def _add_pages(self, view: memoryview, size: int) -> None:
        start = 0
        while start < len(view):
            if not self._filled and start + size <= len(view):
                self._ids.update(hashlib.sha256(view[start : start + size]).digest())
                start += size
                continue
            end = min(len(view), start + size - self._filled)
            self._open.update(view[start:end])
            self._filled += end - start
            start = end
            if self._filled == size:
                self._ids.update(self._open.digest())
                self._open, self._filled = hashlib.sha256(), 0


def hash_file(handle: int, hashes: FileHash) -> None:
    """Hash an open file from its begin.

    Raises:
        OSError: it can't be read.
    """
    buffer = bytearray(_BLOCK_BYTES)
    view, position = memoryview(buffer), 0
    while count := os.preadv(handle, [buffer], position):
        hashes.update(view[:count])
        position += count


@functools.cache
def _zero_id(size: int) -> bytes:
    return hashlib.sha256(bytes(size)).digest()
