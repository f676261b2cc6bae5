"""A limit on the seconds of one fit, within its process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Raise TimeoutError in this thread after some seconds; None sets no limit.

    A fit that does not come back from compiled code is beyond its reach; the driver cancels the
    task of such a one.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield  # only the main thread takes signals; Ray runs tasks there
        return

    def expire(*_: Any) -> None:
        raise TimeoutError(f"no result within fit_timeout_seconds = {seconds:g}")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
