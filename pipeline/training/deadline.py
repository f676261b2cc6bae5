"""A limit on the seconds of one fit, within its process."""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

GRACE_SECONDS = 5.0
"""From the error to the end of the worker, of a fit that does not come back for the error."""


def no_result_within(seconds: float) -> str:
    return f"no result within fit_timeout_seconds = {seconds:g}"


@contextmanager
def deadline(seconds: float | None, *, expendable: bool = False) -> Iterator[None]:
    """Raise TimeoutError in this thread after some seconds; None sets no limit.

    A fit that does not come back from compiled code, or that swallows the error, cannot be reached
    by it. Where the process is ``expendable``, a Ray worker, such a one ends it ``GRACE_SECONDS``
    later, with a traceback in the worker's log; the driver makes the other fits of its task again.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield  # only the main thread takes signals; Ray runs tasks there
        return

    def expire(*_: Any) -> None:
        raise TimeoutError(no_result_within(seconds))

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    watched = expendable and sys.__stderr__ is not None
    if watched:
        # Its thread needs no interpreter lock, which compiled code may hold for ever.
        faulthandler.dump_traceback_later(
            seconds + GRACE_SECONDS, exit=True, file=sys.__stderr__ or sys.stderr
        )
    try:
        yield
    finally:
        if watched:
            faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
