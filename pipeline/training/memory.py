"""A limit on what a task of training may allocate, so that one fit cannot take the machine."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATUS = Path("/proc/self/statm")


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
