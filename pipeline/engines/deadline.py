"""A time limit on a blocking call, and a guard that keeps stdout clean."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from pipeline.errors import EngineError


class _Expired(BaseException):
    """Not an Exception: libraries that were interrupted would take it for a failure of theirs."""


@contextlib.contextmanager
def deadline(seconds: float, what: str, hint: str) -> Iterator[None]:
    """Raise in the block once ``seconds`` have passed.

    It uses SIGALRM and not a helper thread: Linux kills Ray's processes when the *thread* that
    started them ends (PR_SET_PDEATHSIG), so Ray has to be started in the main thread. Off the
    main thread there is no limit.

    Raises:
        EngineError: ``what`` took longer than ``seconds``.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(_signal: int, _frame: FrameType | None) -> None:
        raise _Expired

    before = signal.signal(signal.SIGALRM, expire)
    started = time.monotonic()
    left, every = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _Expired as expired:
        raise EngineError(f"{what} took longer than {seconds:g} s", hint=hint) from expired
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:  # somebody else's alarm was running (pytest-timeout): give it back its rest
            rest = max(0.01, left - (time.monotonic() - started))
            signal.setitimer(signal.ITIMER_REAL, rest, every)


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Children started in the block inherit stderr as their stdout.

    JVMs and Ray's processes write notes to stdout for as long as they live; this program's stdout
    carries one JSON object and nothing else.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
