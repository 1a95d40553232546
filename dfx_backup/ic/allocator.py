"""glibc gives freed buffers back to the kernel: with slices of 2 MB dearer than hashing them.

Buffers that are kept are kept by each arena for itself, and with dozens of threads there would be
many: so there is only one. It suffices, since Python allocates in one thread at a time.

What is kept is split by small things that live longer, and grows for hours. So long transfers give
it back now and then.
"""

import ctypes
import functools
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_TRIM_BYTES = 256 * 1024 * 1024
_MMAP_BYTES = 128 * 1024 * 1024
_ARENAS = 1


@functools.cache
def keep_buffers() -> bool:
    """Make the C library keep buffers for the next slice; once per process.

    Returns:
        Whether it did: only glibc can be told so, and elsewhere nothing is changed.
    """
    libc = _glibc()
    if libc is None:
        return False
    mallopt = libc.mallopt
    mallopt.argtypes = (ctypes.c_int, ctypes.c_int)
    mallopt.restype = ctypes.c_int
    wanted = {
        _M_TRIM_THRESHOLD: _TRIM_BYTES,
        _M_MMAP_THRESHOLD: _MMAP_BYTES,
        _M_ARENA_MAX: _ARENAS,
    }
    return all(mallopt(name, value) for name, value in wanted.items())


def give_back() -> None:
    """Give all buffers that are kept and free back to the kernel; takes some milliseconds."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(ctypes.c_size_t(0))


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version, libc.mallopt, libc.malloc_trim  # noqa: B018 # asks for them
    except (OSError, AttributeError):
        return None
    return libc
