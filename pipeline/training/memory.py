"""What a task of training may allocate, and what its process keeps of it for the next fit."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_STATUS = Path("/proc/self/statm")
_KEPT_BYTES = 64 << 20
_OWN_PAGES_BYTES = 32 << 20  # the most that glibc takes
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


@contextmanager
def at_most(limit_bytes: int | None) -> Iterator[None]:
    """Let this process grow by so many bytes in the block; an allocation beyond fails.

    Ray's own limit kills a worker once the whole node is nearly full. This one strikes before,
    for one fit, and says what it was that asked for too much. It counts address space, of which
    the worker has mapped the object store already. Baselines and the last fits of champions have
    no limit: nothing could take their place. Without ``/proc`` (macOS) there is no limit.

    Raises:
        MemoryError: in the block, by what allocates.
    """
    if limit_bytes is None or not _STATUS.exists():
        yield
        return
    before, most = resource.getrlimit(resource.RLIMIT_AS)
    now = int(_STATUS.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limits = [now + limit_bytes, *(n for n in (before, most) if n != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, most))


@cache
def keep_freed_memory() -> None:
    """Let this process keep up to 64 MiB that it has freed, instead of giving it back each time.

    Small fits take and free the same memory over and over (histogram boosting half a megabyte a
    node), and glibc gives it back to the system and asks for it again: of a fit of 1,000 rows a
    quarter of the time went into new pages. With another C library nothing changes.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    mallopt(_M_MMAP_THRESHOLD, _OWN_PAGES_BYTES)
