"""The C library's allocator, told to give large blocks back when they are freed.

glibc raises the size from which a block is mapped by itself with every such block that is freed, up to 32
MiB; smaller ones are cut from heaps, which stay as large as they have ever been. A run allocates activations
of a few such sizes for hours: with the limit held at 8 MiB its memory stops growing sooner and lower, at about
the same speed; lower limits cost time, as every block is then fresh memory from the system.
"""

from __future__ import annotations

import functools
import os
import sys

__all__ = ["LIMIT", "settle"]

#: Bytes from which a block is mapped by itself.
LIMIT = 8 << 20
_M_MMAP_THRESHOLD = -3  # malloc.h


@functools.cache
def settle() -> bool:
    """Hold the limit for this process; True where that was done.

    Nothing is changed where the user has set it (``MALLOC_MMAP_THRESHOLD_``, ``GLIBC_TUNABLES``), nor with any
    other C library.
    """
    if not sys.platform.startswith("linux"):
        return False
    if os.environ.get("MALLOC_MMAP_THRESHOLD_") or "mmap_threshold" in os.environ.get(
        "GLIBC_TUNABLES", ""
    ):
        return False
    import ctypes

    try:
        return bool(ctypes.CDLL("libc.so.6").mallopt(_M_MMAP_THRESHOLD, LIMIT))
    except (OSError, AttributeError):
        return False
