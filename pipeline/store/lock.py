"""One writer per pipeline and store. The lock dies with its process."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from filelock import FileLock, Timeout

from pipeline.errors import LockedError
from pipeline.store.layout import Store, write_text


@contextmanager
def exclusive(store: Store, pipeline: str, purpose: str) -> Iterator[None]:
    """Hold the pipeline's lock in this store.

    The operating system drops the lock when its process ends, however it ends, so that a killed
    run never blocks the next one.

    Raises:
        LockedError: at once, naming the holder.
    """
    store.locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(store.locks / f"{pipeline}.lock")
    holder = store.locks / f"{pipeline}.holder.json"
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise LockedError(
            f"pipeline {pipeline!r} is in use in this store by {_describe(holder.read_text())}"
            if holder.exists()
            else f"pipeline {pipeline!r} is in use in this store by another process",
            hint="Wait until it ends, or stop that process; the lock goes with it.",
        ) from error
    try:
        about = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "purpose": purpose,
            "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        write_text(holder, json.dumps(about))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _describe(text: str) -> str:
    try:
        about = json.loads(text)
        return "{purpose} (process {pid} on {host}, since {since})".format(**about)
    except (ValueError, KeyError):
        return "another process"
