"""Stable memory: the frame says where it is written."""

from dfx_backup.replica.state import PAGE
from dfx_backup.replica.system_api.frame import U64, Frame, Trap

# ruff: noqa: D103 - the functions are specified under their names in the interface specification

MAX_STABLE_PAGES = 500 * (1 << 30) // PAGE
_MAX_PAGES_32 = 1 << 16


def stable64_size(frame: Frame) -> int:
    return frame.stable.size // PAGE


def stable64_grow(frame: Frame, pages: int) -> int:
    blob = frame.stable
    old = blob.size // PAGE
    if old + pages > MAX_STABLE_PAGES:
        return U64
    if pages:
        blob.resize((old + pages) * PAGE)
    return old


def stable64_write(frame: Frame, offset: int, start: int, size: int) -> None:
    _check(frame, offset, size)
    if size:
        frame.stable.write(offset, frame.memory.view(start, size))


def stable64_read(frame: Frame, start: int, offset: int, size: int) -> None:
    _check(frame, offset, size)
    if size:
        frame.stable.read_into(offset, frame.memory.view(start, size))


def stable_size(frame: Frame) -> int:
    return _small(frame)


def stable_grow(frame: Frame, pages: int) -> int:
    if _small(frame) + pages > _MAX_PAGES_32:
        return 0xFFFF_FFFF
    return stable64_grow(frame, pages)


def stable_write(frame: Frame, offset: int, start: int, size: int) -> None:
    _small(frame)
    stable64_write(frame, offset, start, size)


def stable_read(frame: Frame, start: int, offset: int, size: int) -> None:
    _small(frame)
    stable64_read(frame, start, offset, size)


def _small(frame: Frame) -> int:
    pages = frame.stable.size // PAGE
    if pages > _MAX_PAGES_32:
        raise Trap("32 bit stable memory api used on a memory larger than 4GB")
    return pages


def _check(frame: Frame, offset: int, size: int) -> None:
    if offset + size > frame.stable.size:
        raise Trap(f"stable memory out of bounds: {size} bytes at {offset}")
