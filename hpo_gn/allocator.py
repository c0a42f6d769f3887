"""The C allocator's settings for training: keep freed memory instead of returning it at every step."""

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Stop glibc from mapping and unmapping large tensors at every training step; it says whether it could.

    Only for a process of one's own: it holds for the process's life, and memory once used stays with it.
    Linux with glibc only, nothing elsewhere.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(
        mallopt(option, value)
        for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 * 2**20))
    )
