"""SIGTERM ends a command wherever it comes upon it. Real signals, each in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

START = """
import os, signal, time
from pipeline.interrupts import asked, interruptible, kept_handlers, noticed
def tell(): os.kill(os.getpid(), signal.SIGTERM)
"""

SWALLOWED = """
class Swallows:
    def __del__(self): tell(); time.sleep(0.01)
with interruptible():
    try:
        Swallows()
        end = time.monotonic() + 20
        while time.monotonic() < end: time.sleep(0.05)
        print("went on")
    except KeyboardInterrupt:
        print("ended", asked())
"""

TURNED_INTO_ANOTHER = """
with interruptible():
    try:
        try: tell(); time.sleep(5)
        except KeyboardInterrupt: raise ValueError("half a module")
    except ValueError:
        noticed()
        time.sleep(3)  # a clean-up that takes its time
        tell()
        time.sleep(0.1)
        print("ended", asked())
"""

# As abseil's handler does before it hands on to Python's.
A_CLOCK_RUNS = """
with interruptible():
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL); signal.alarm(1)
        tell(); time.sleep(5)
    except KeyboardInterrupt:
        noticed()
        time.sleep(2)
        print("ended", asked())
"""

NATIVE_HANDLER = """
import ctypes
with interruptible():
    try:
        with kept_handlers():
            ctypes.CDLL(None).signal(int(signal.SIGTERM), 0)  # SIG_DFL, behind Python's back
        tell(); time.sleep(5)
    except KeyboardInterrupt:
        print("ended", asked())
"""


@pytest.mark.parametrize("program", [SWALLOWED, TURNED_INTO_ANOTHER, A_CLOCK_RUNS, NATIVE_HANDLER])
def test_an_interruption_is_never_lost(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", START + program], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (0, "ended True\n"), done.stderr


def test_outside_of_a_command_the_handlers_are_as_they_were() -> None:
    from pipeline.interrupts import asked, interruptible

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with interruptible():
        assert signal.getsignal(signal.SIGTERM) is not before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert not asked()
