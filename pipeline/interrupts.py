"""SIGTERM and Ctrl-C end a run in order, whatever code they come upon.

Python raises KeyboardInterrupt wherever the main thread happens to be, and in a program that loads
Ray and Spark that is not enough:

* In a callback (``__del__``, a lock's hook) Python prints the exception and goes on as if nothing
  had been. So it is raised again until somebody has :func:`noticed` it.
* A library that is interrupted while it is imported, or that catches everything, raises something
  else instead. So whatever ends an interrupted command, :func:`asked` tells what the cause was.
* Ray puts abseil's handler before Python's. It prints the stack of a crash and ends the process
  three seconds later by SIGALRM, in the middle of the clean-up (ray issue 64830, in 2.60 too);
  and ``ray.shutdown`` leaves SIGTERM with no handler at all (65749). See :func:`kept_handlers`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

AGAIN_SECONDS = 1.5
"""How long an exception may travel unnoticed; inner clean-ups that take longer are cut short."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _State:
    def __init__(self) -> None:
        self.asked = False
        self.noticed = threading.Event()
        self.bell = -1


_state = _State()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGINT raise KeyboardInterrupt in the block. Off the main thread: nothing."""
    global _state
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, outer = {name: signal.getsignal(name) for name in _SIGNALS}, _state
    _state = state = _State()
    ear, state.bell = os.pipe()
    # Started here and not by the handler, which may find the threads' own locks taken.
    insisting = threading.Thread(target=_insist, args=(ear, state), daemon=True)
    insisting.start()
    for name in _SIGNALS:
        signal.signal(name, _interrupt)
    try:
        yield
    finally:
        state.noticed.set()
        bell, state.bell = state.bell, -1
        os.close(bell)
        insisting.join()  # before the handlers go: what it sent last would end the process
        for name, handler in before.items():
            signal.signal(name, handler)
        _state = outer


def asked() -> bool:
    """Whether somebody has asked this command to end."""
    return _state.asked


def noticed() -> None:
    """The interruption has arrived where it is seen to; from here on SIGTERM is ignored."""
    if _state.asked:
        _state.noticed.set()


@contextlib.contextmanager
def kept_handlers() -> Iterator[None]:
    """Take SIGTERM and SIGINT back from what the block installs natively (Ray's start and stop)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {name: signal.getsignal(name) for name in _SIGNALS}
    try:
        yield
    finally:
        for name, handler in before.items():
            if handler is not None:
                signal.signal(name, handler)  # also where Python thinks that nothing changed


def _interrupt(number: int, _frame: Any) -> None:
    if _state.asked and _state.noticed.is_set() and number == signal.SIGTERM:
        return  # the clean-up is at work
    if number == signal.SIGTERM:
        # If this came by way of abseil's handler, its three seconds are running. A deadline that
        # shares the clock is of no use any more.
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
    _state.asked = True
    with contextlib.suppress(OSError):
        os.write(_state.bell, b"!")
    raise KeyboardInterrupt


def _insist(ear: int, state: _State) -> None:
    with contextlib.suppress(OSError):
        if os.read(ear, 1):
            while not state.noticed.wait(AGAIN_SECONDS):
                os.kill(os.getpid(), signal.SIGTERM)
    os.close(ear)
