"""A limit on the seconds of one fit, within its process."""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

GRACE_SECONDS = 5.0
"""From the error to the end of the worker, of a fit that does not come back for the error."""

_SLACK_SECONDS = 1.0
"""By so much the grace may be shorter: the watchdog is set once a second then, not once a fit."""


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
    if expendable:
        _WATCHDOG.set(seconds + GRACE_SECONDS)
    try:
        yield
    finally:
        if expendable:
            _WATCHDOG.let_go()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def many_deadlines() -> Iterator[None]:
    """Around deadlines in quick succession: they share a watchdog, which is a thread to start.

    Nothing that takes longer than a fit may take may happen between them.
    """
    _WATCHDOG.shared = True
    try:
        yield
    finally:
        _WATCHDOG.shared = False
        _WATCHDOG.let_go()


class _Watchdog:
    """Ends this process at a time, whatever it does then; used by the main thread alone."""

    def __init__(self) -> None:
        self.shared = False
        self._strikes: float | None = None

    def set(self, seconds: float) -> None:
        """Strike in so many seconds, or up to a second earlier."""
        strikes = time.monotonic() + seconds
        near = self._strikes is not None and 0 <= strikes - self._strikes <= _SLACK_SECONDS
        if not near and sys.__stderr__ is not None:
            # Its thread needs no interpreter lock, which compiled code may hold for ever.
            faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__)
            self._strikes = strikes

    def let_go(self) -> None:
        """Strike no more, unless what follows shares it."""
        if self._strikes is not None and not self.shared:
            faulthandler.cancel_dump_traceback_later()
            self._strikes = None


_WATCHDOG = _Watchdog()
