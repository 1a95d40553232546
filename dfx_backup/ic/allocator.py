"""glibc gives freed buffers back to the kernel: with slices of 2 MB dearer than hashing them.

Buffers that are kept are kept by each arena for itself, and with dozens of threads there would be
many: so there is only one. It suffices, since Python allocates in one thread at a time.
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
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 # asks whether it is there
        mallopt = libc.mallopt
    except (OSError, AttributeError):
        return False
    mallopt.argtypes = (ctypes.c_int, ctypes.c_int)
    mallopt.restype = ctypes.c_int
    wanted = {
        _M_TRIM_THRESHOLD: _TRIM_BYTES,
        _M_MMAP_THRESHOLD: _MMAP_BYTES,
        _M_ARENA_MAX: _ARENAS,
    }
    return all(mallopt(name, value) for name, value in wanted.items())
