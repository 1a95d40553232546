"""glibc gives freed buffers back to the kernel, which costs more than using them.

A replica that serves slices frees megabytes with every answer.
"""

import ctypes
import sys
from typing import Final

__all__ = ["keep_buffers"]

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_WANTED: Final = {
    _M_TRIM_THRESHOLD: 256 * 1024 * 1024,
    _M_MMAP_THRESHOLD: 64 * 1024 * 1024,
    _M_ARENA_MAX: 1,  # what is kept is kept by each arena for itself
}


def keep_buffers() -> bool:
    """Make the C library of this process keep buffers for the next answer.

    Returns:
        Whether it does: only glibc can be told so.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 # asks for it
        mallopt = libc.mallopt
    except (OSError, AttributeError):
        return False
    mallopt.argtypes = (ctypes.c_int, ctypes.c_int)
    mallopt.restype = ctypes.c_int
    return all(mallopt(name, value) for name, value in _WANTED.items())
