"""A Wasm linear memory whose uncommitted changes can be dropped at once.

The committed bytes live in a blob. `PrivateHeap` maps that file privately over wasmtime's own
linear memory: the kernel copies a page when the canister first writes to it. Dropping the private
copies is the rollback; writing them to the file is the commit. Which pages are private is read
from /proc/self/pagemap. `CopyingHeap` does the same by comparing and copying, where the kernel
lacks the means.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from functools import cache
from typing import Protocol

from dfx_backup.replica.memory import HOST_PAGE, Blob

_PROT_READ_WRITE = 3
_MAP_PRIVATE = 2
_MAP_FIXED = 16
_MAP_NORESERVE = 0x4000
_MADV_DONTNEED = 4
_SCAN_STEP = 1 << 22
"""Bytes of pagemap read at once; they describe 2 GiB of memory."""
_SCAN_LIMIT = 64 << 20
"""Below this size looking for dirty pages is cheaper than faulting all clean ones in again."""
_COMPARE_STEP = 1 << 16
_MAP_FAILED = ctypes.c_void_p(-1).value

# pagemap entry, highest byte: bit 7 present, 6 swapped out, 5 page of a file or shared memory
_DIRTY = bytes(1 if each & 0xC0 and not each & 0x20 else 0 for each in range(256))

Runs = list[tuple[int, int]]
"""Changed ranges `[start, end)` in bytes."""


class LinearMemory(Protocol):
    """Where a Wasm memory lies now; both may change when it grows."""

    def address(self) -> int:
        """Address of byte 0."""

    def size(self) -> int:
        """Bytes."""


class Heap(Protocol):
    """The memory of an instance over the blob of its canister."""

    def changes(self) -> Runs:
        """Ranges that differ from the blob, which may be too many but never too few."""

    def view(self, start: int, end: int) -> memoryview:
        """The memory itself; don't keep it."""

    def settle(self, runs: Runs) -> None:
        """The blob now holds what `changes` gave and has the memory's size."""

    def rollback(self) -> bool:
        """Drop all changes; False when the memory has grown, so that a new instance is needed."""


def attach(memory: LinearMemory, blob: Blob) -> Heap:
    """Lay the blob's content over a fresh memory that is at least as large.

    The memory must have the blob's size already.
    """
    return PrivateHeap(memory, blob) if has_pagemap() else CopyingHeap(memory, blob)


def seed(memory: LinearMemory, blob: Blob) -> None:
    """Fill a new blob with what instantiation put into the memory; to be called before `attach`."""
    size = memory.size()
    blob.resize(size)
    runs: Iterator[tuple[int, int]] | Runs = [(0, size)]
    if has_pagemap():
        runs = _dirty_runs(memory.address(), size)
    for first, last in runs:
        for start, end in _nonzero(memory, first, last):
            blob.write(start, _view(memory, start, end))


class PrivateHeap:
    """Private mapping of the blob; Linux only."""

    def __init__(self, memory: LinearMemory, blob: Blob) -> None:
        self._memory = memory
        self._blob = blob
        self._base = memory.address()
        self._mapped = 0
        self._map(blob.size)

    def view(self, start: int, end: int) -> memoryview:
        """See `Heap`."""
        return _view(self._memory, start, end)

    def changes(self) -> Runs:
        """See `Heap`."""
        size = self._memory.size()
        if self._memory.address() != self._base:
            return [(0, size)]  # wasmtime moved the memory, and with it all our pages
        runs = list(_dirty_runs(self._base, self._mapped))
        # what has been grown reads as zeros in the blob anyway
        for start, end in _dirty_runs(self._base + self._mapped, size - self._mapped):
            runs += _nonzero(self._memory, self._mapped + start, self._mapped + end)
        return runs

    def settle(self, runs: Runs) -> None:
        """See `Heap`."""
        base = self._memory.address()
        if base != self._base:
            self._base, self._mapped = base, 0
        else:
            for start, end in runs:
                if start < self._mapped:
                    _madvise(base + start, end - start)
        self._map(self._blob.size)

    def rollback(self) -> bool:
        """See `Heap`."""
        if self._memory.size() != self._mapped:
            return False
        if self._mapped > _SCAN_LIMIT:
            _madvise(self._base, self._mapped)
            return True
        for start, end in _dirty_runs(self._base, self._mapped):
            _madvise(self._base + start, end - start)
        return True

    def _map(self, size: int) -> None:
        if size <= self._mapped:
            return
        flags = _MAP_PRIVATE | _MAP_FIXED | _MAP_NORESERVE
        start = self._mapped
        address = _libc().mmap(
            self._base + start, size - start, _PROT_READ_WRITE, flags, self._blob.fd, start
        )
        if address == _MAP_FAILED:
            raise OSError(ctypes.get_errno(), "can't map the heap")
        self._mapped = size


class CopyingHeap:
    """Keeps nothing mapped: compares with the blob at a commit, copies back at a rollback."""

    def __init__(self, memory: LinearMemory, blob: Blob) -> None:
        self._memory = memory
        self._blob = blob
        for start, end in blob.data_ranges():
            blob.read_into(start, self.view(start, end))
        self._clear_holes()

    def view(self, start: int, end: int) -> memoryview:
        """See `Heap`."""
        return _view(self._memory, start, end)

    def changes(self) -> Runs:
        """See `Heap`."""
        runs: Runs = []
        size = self._memory.size()
        for start in range(0, size, _COMPARE_STEP):
            end = min(start + _COMPARE_STEP, size)
            now = bytes(self.view(start, end))
            known = max(0, min(end, self._blob.size) - start)
            old = self._blob.read(start, known) if known else b""
            if now != old + bytes(len(now) - len(old)):
                runs.append((start, end))
        return runs

    def settle(self, runs: Runs) -> None:
        """See `Heap`: nothing to do, the memory is what the blob is."""

    def rollback(self) -> bool:
        """See `Heap`."""
        if self._memory.size() != self._blob.size:
            return False
        for start, end in self.changes():
            self._blob.read_into(start, self.view(start, end))
        return True

    def _clear_holes(self) -> None:
        position = 0
        for start, end in (*self._blob.data_ranges(), (self._blob.size, self._blob.size)):
            if position < start:
                ctypes.memset(self._memory.address() + position, 0, start - position)
            position = end


def _nonzero(memory: LinearMemory, first: int, last: int) -> Iterator[tuple[int, int]]:
    for start in range(first, last, _COMPARE_STEP):
        end = min(start + _COMPARE_STEP, last)
        if bytes(_view(memory, start, end)).strip(b"\0"):
            yield start, end


def _view(memory: LinearMemory, start: int, end: int) -> memoryview:
    raw = (ctypes.c_char * (end - start)).from_address(memory.address() + start)
    return memoryview(raw).cast("B")


@cache
def has_pagemap() -> bool:
    """Whether private pages can be told from clean ones here: tried on a page of our own."""
    if sys.platform != "linux" or os.sysconf("SC_PAGE_SIZE") != HOST_PAGE:
        return False
    with contextlib.suppress(OSError, AttributeError, ValueError):
        fd = os.memfd_create("probe", os.MFD_CLOEXEC)
        try:
            return _probe(fd)
        finally:
            os.close(fd)
    return False


def _probe(fd: int) -> bool:
    size = 4 * HOST_PAGE
    os.ftruncate(fd, size)
    libc = _libc()
    base = libc.mmap(None, size, _PROT_READ_WRITE, _MAP_PRIVATE, fd, 0)
    if base == _MAP_FAILED:
        return False
    try:
        ctypes.string_at(base, size)  # all pages present, none of them ours
        ctypes.memset(base + HOST_PAGE, 1, 1)
        is_seen = list(_dirty_runs(base, size)) == [(HOST_PAGE, 2 * HOST_PAGE)]
        _madvise(base, size)
        return is_seen and not list(_dirty_runs(base, size))
    finally:
        libc.munmap(ctypes.c_void_p(base), ctypes.c_size_t(size))


@cache
def _pagemap(_process: int) -> int:
    """One descriptor a process: after a fork the old one still shows the parent's pages."""
    return os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int64,
    )
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return libc


def _madvise(address: int, size: int) -> None:
    if _libc().madvise(address, size, _MADV_DONTNEED) != 0:
        raise OSError(ctypes.get_errno(), "can't drop private pages")


def _dirty_runs(base: int, size: int) -> Iterator[tuple[int, int]]:
    """Ranges, relative to `base`, of pages that are private copies or anonymous."""
    position = base // HOST_PAGE * 8
    end = position + size // HOST_PAGE * 8
    pending: tuple[int, int] | None = None
    done = 0
    pagemap = _pagemap(os.getpid())
    while position < end:
        entries = os.pread(pagemap, min(_SCAN_STEP, end - position), position)
        if not entries:
            raise OSError("pagemap ended early")
        marks = entries[7::8].translate(_DIRTY)
        start = marks.find(1)
        while start >= 0:
            stop = marks.find(0, start)
            stop = len(marks) if stop < 0 else stop
            run = ((done + start) * HOST_PAGE, (done + stop) * HOST_PAGE)
            if pending and pending[1] == run[0]:
                run = (pending[0], run[1])
            elif pending:
                yield pending
            pending = run
            start = marks.find(1, stop)
        done += len(marks)
        position += len(entries)
    if pending:
        yield pending
