"""Nothing is left of a run: no folder and no process, also when it was killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.engines.janitor import end_processes
from pipeline.engines.scratch import new_scratch, sweep

# A run that starts a child which, like Ray's agents, ignores that its parent is gone.
RUN = """
import subprocess, sys, time
from pipeline.engines.scratch import new_scratch
scratch = new_scratch()
work = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
work += "log = open(sys.argv[1], 'w'); time.sleep(120)"
child = subprocess.Popen(
    [sys.executable, "-c", work, str(scratch.path / "agent.log")], start_new_session=True
)
while not (scratch.path / "agent.log").exists():
    time.sleep(0.02)
print(scratch.path, child.pid, flush=True)
time.sleep(120)
"""


def eventually(holds: Callable[[], bool], seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.05)
    return holds()


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_run_leaves_no_process_and_no_folder() -> None:
    run = subprocess.Popen([sys.executable, "-c", RUN], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    folder, pid = run.stdout.readline().split()
    assert runs(int(pid))
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert eventually(lambda: not runs(int(pid)))
    assert eventually(lambda: not Path(folder).exists())


def test_removing_a_scratch_folder_spares_the_process_that_has_it() -> None:
    scratch = new_scratch()
    with open(scratch.path / "own.log", "w"):
        scratch.remove()
    assert not scratch.path.exists()


def test_only_engine_processes_are_ended(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("x")
    reader = subprocess.Popen(
        [shutil.which("tail") or "tail", "-f", str(log)], stdout=subprocess.DEVNULL
    )
    try:
        time.sleep(0.2)
        assert end_processes(str(tmp_path)) == []
        assert runs(reader.pid)
    finally:
        reader.kill()
        reader.wait()


def test_sweeping_takes_abandoned_folders_only(tmp_path: Path) -> None:
    abandoned, unlocked, foreign = (tmp_path / n for n in ("pipe-a", "pipe-b", "other"))
    for folder in (abandoned, unlocked, foreign):
        folder.mkdir()
    (abandoned / ".lock").touch()
    os.symlink(foreign, tmp_path / "pipe-link")
    held = new_scratch()
    try:
        assert sweep(tmp_path) == [abandoned]
        sweep(held.path.parent)
        assert held.path.exists()
        assert foreign.exists()
    finally:
        held.remove()
