"""A start that takes too long ends with an error, and other alarms survive it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline.engines.deadline import deadline, stdout_to_stderr
from pipeline.errors import EngineError


@pytest.mark.timed
def test_a_block_that_takes_too_long_is_ended() -> None:
    started = time.monotonic()
    longer = pytest.raises(EngineError, match=r"starting it took longer than 0\.1 s")
    with longer, deadline(0.1, "starting it", "wait longer"):
        time.sleep(10)
    assert time.monotonic() - started < 5


@pytest.mark.timed
def test_an_alarm_that_was_set_before_still_rings() -> None:
    rang: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: rang.append(number))
    left, _ = signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with deadline(5, "nothing", ""):
            pass
        time.sleep(0.4)
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, left)
    assert rang == [signal.SIGALRM]


def test_children_write_to_stderr_and_stdout_comes_back(capfd: pytest.CaptureFixture[str]) -> None:
    with stdout_to_stderr():
        subprocess.run([sys.executable, "-c", "print('noise')"], check=True)
    os.write(1, b"answer\n")
    written = capfd.readouterr()
    assert (written.out, written.err) == ("answer\n", "noise\n")
