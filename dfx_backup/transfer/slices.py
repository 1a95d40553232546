"""Where slices begin and end, and which parts of a file are zero and need not move.

A file's holes are found through the file system (SEEK_DATA, SEEK_HOLE), zeros that are written out
by comparing pages. Runs of four or more zero pages separate data runs, at whatever page they begin.
"""

import errno
import os
from collections.abc import Iterator

from dfx_backup.ic.snapshot_parts import Section, Slice
from dfx_backup.transfer.page_hash import FileHash
from dfx_backup.transfer.terms import PAGE_BYTES, SLICE_BYTES

ZERO_RUN_PAGES = 4
"""A shorter run of zero pages is sent with what is around it: a slice more would cost more time."""

_ZERO_PAGE = bytes(PAGE_BYTES)
_BLOCK_BYTES = 64 * PAGE_BYTES


def read_slices(section: Section, size: int, *, step: int = SLICE_BYTES) -> Iterator[Slice]:
    """Slices that cover a section of so many bytes, each of `step` bytes but the last."""
    for offset in range(0, size, step):
        yield Slice(section=section, offset=offset, size=min(step, size - offset))


def is_zero(data: bytes, start: int, end: int) -> bool:
    """Whether `data[start:end]` is all zero; at most a page, without copying it."""
    size = end - start
    return data.startswith(_ZERO_PAGE if size == PAGE_BYTES else _ZERO_PAGE[:size], start)


def pieces(offset: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut the range of a slice at the pages of its file; positions are those in the slice."""
    start = 0
    while start < size:
        end = min(size, start + PAGE_BYTES - (offset + start) % PAGE_BYTES)
        yield start, end
        start = end


def data_runs(
    handle: int, size: int, *, start: int = 0, hashes: FileHash | None = None
) -> Iterator[tuple[int, int]]:
    """The ranges of a file that have to be sent.

    Args:
        handle: the open file.
        size: bytes of the range of it that is looked at; beyond it nothing is read.
        start: where this range begins in the file.
        hashes: given every byte of the range, holes included.

    Yields:
        Begin and end, counted from `start`, rising, pages whole except at the end.
    """
    begin = end = -1
    gap = ZERO_RUN_PAGES * PAGE_BYTES
    for page, last in _data_pages(handle, size, start, hashes):
        if begin < 0:
            begin = page
        elif page - end >= gap:
            yield begin, end
            begin = page
        end = last
    if begin >= 0:
        yield begin, end


def _data_pages(
    handle: int, size: int, start: int, hashes: FileHash | None
) -> Iterator[tuple[int, int]]:
    """Begin and end of every page that is not zero."""
    position = 0
    for first, end in _extents(handle, size, start):
        if hashes is not None:
            hashes.zeros(first - position)
        position = first
        while position < end:
            block = read_exactly(handle, min(_BLOCK_BYTES, end - position), start + position)
            if hashes is not None:
                hashes.update(block)
            for at in range(0, len(block), PAGE_BYTES):
                last = min(at + PAGE_BYTES, len(block))
                if not is_zero(block, at, last):
                    yield position + at, position + last
            position += len(block)
    if hashes is not None:
        hashes.zeros(size - position)


def _extents(handle: int, size: int, start: int) -> Iterator[tuple[int, int]]:
    """Ranges that are no holes, rising, widened to whole pages, counted from `start`."""
    position = 0
    while position < size:
        try:
            found = os.lseek(handle, start + position, os.SEEK_DATA) - start
        except OSError as error:
            if error.errno != errno.ENXIO:  # nothing but a hole from here on
                raise
            return
        if found >= size:
            return
        first = max(position, found // PAGE_BYTES * PAGE_BYTES)
        hole = os.lseek(handle, start + found, os.SEEK_HOLE) - start
        end = min(size, whole_pages(hole))
        yield first, end
        position = end


def whole_pages(size: int) -> int:
    """So many bytes, rounded up to whole Wasm pages."""
    return -(-size // PAGE_BYTES) * PAGE_BYTES


def read_exactly(handle: int, size: int, offset: int) -> bytes:
    """Bytes of a file.

    Raises:
        OSError: the file ends before.
    """
    data = os.pread(handle, size, offset)
    while len(data) < size:
        more = os.pread(handle, size - len(data), offset + len(data))
        if not more:
            raise OSError(errno.EIO, "it ends too early")
        data += more
    return data
