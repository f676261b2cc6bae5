"""Ends the engines' processes when the run that started them is gone, however it went.

Most of Ray and the JVMs end by themselves when their parent is killed, but two of Ray's agents
hang on for minutes (they try to report to a server that is gone), and nobody deletes the scratch
folder. So each run starts this file as a process of its own, which waits at a pipe: the kernel
closes the other end when the run ends, also on SIGKILL.

It is run as a script (``python -I -S janitor.py FOLDER``) and imports the standard library only,
so that it starts in 20 ms and takes little memory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

# After SIGKILL of the run, the JVMs stop by themselves within about 3 s.
_GRACE_SECONDS = 4.0
_ENGINES = ("python", "java", "raylet", "gcs_server", "spark")


def wait_and_clean(folder: str) -> None:
    """Wait until standard input ends; then end the processes of ``folder`` and delete it."""
    run = os.getppid()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    while os.read(0, 4096):
        pass
    # After a normal close the run lives on, and Ray's library in it still has its log open.
    end_processes(folder, _GRACE_SECONDS, spare=run)
    shutil.rmtree(folder, ignore_errors=True)


def end_processes(folder: str, grace_seconds: float = 0.0, spare: int = 0) -> list[int]:
    """Kill the engine processes that have files under ``folder`` open, but not ``spare``.

    Every process of Ray, RayDP and Spark writes a log or a socket there. Other programs (somebody
    reading a log) and other users' processes are left alone.

    Returns:
        the ids of the killed processes.
    """
    until = time.monotonic() + grace_seconds
    while (found := processes_in(folder, spare)) and time.monotonic() < until:
        time.sleep(0.1)
    ended: list[int] = []
    while found:
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        ended += found
        time.sleep(0.05)
        # A parent that dies may have started one more; and a killed one takes a moment to go.
        found = [pid for pid in processes_in(folder, spare) if ended.count(pid) < 100]
    return sorted(set(ended))


def processes_in(folder: str, spare: int = 0) -> list[int]:
    """The ids of this user's engine processes that have a file under ``folder`` open."""
    numbers = {int(name) for name in os.listdir("/proc") if name.isdigit()}
    return [pid for pid in sorted(numbers - {os.getpid(), spare}) if _works_in(pid, folder)]


def _works_in(pid: int, folder: str) -> bool:
    # A process that ends in between, or is not ours, raises OSError somewhere here.
    with contextlib.suppress(OSError):
        base = f"/proc/{pid}"
        if os.stat(base).st_uid != os.getuid():
            return False
        if not os.path.basename(os.readlink(f"{base}/exe")).startswith(_ENGINES):
            return False
        return any(_is_under(f"{base}/fd/{fd}", folder) for fd in os.listdir(f"{base}/fd"))
    return False


def _is_under(link: str, folder: str) -> bool:
    with contextlib.suppress(OSError):
        return os.readlink(link).startswith(folder + os.sep)
    return False


if __name__ == "__main__":
    wait_and_clean(str(Path(sys.argv[1])))
