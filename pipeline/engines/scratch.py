"""The folder that the engines of one run use for sockets, logs, spills and shuffles."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.engines import janitor
from pipeline.errors import EngineError

_PREFIX = "pipe-"
_LOCK = ".lock"
_CLEANING_SECONDS = 15.0


@dataclass(slots=True)
class Scratch:
    """A folder that is this process's own, with a janitor that outlives the process."""

    path: Path
    _lock: int
    _janitor: subprocess.Popen[bytes]

    def remove(self) -> None:
        """End every engine process that still works in the folder, and delete it."""
        # This process locks a file in the folder itself; the janitor must not take it for one.
        os.close(self._lock)
        assert self._janitor.stdin is not None
        self._janitor.stdin.close()
        self._janitor.wait(timeout=_CLEANING_SECONDS)


def new_scratch(parent: Path = Path("/tmp")) -> Scratch:
    """A fresh folder with a short path, after clearing what killed runs left.

    Ray puts Unix sockets about 60 characters below it, and Linux allows 107 in all; hence ``/tmp``
    and a short name, whatever TMPDIR says.

    Raises:
        EngineError: ``parent`` cannot be written.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        return _new_scratch(parent)
    except OSError as problem:
        raise EngineError(
            f"no folder for temporary files can be made in {parent}: {problem.strerror}",
            hint="make room there, or allow writing",
        ) from problem


def _new_scratch(parent: Path) -> Scratch:
    sweep(parent)
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    lock = os.open(path / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return Scratch(path, lock, _start_janitor(path))


def sweep(parent: Path) -> list[Path]:
    """Delete the scratch folders under ``parent`` whose process is gone; return them.

    The lock dies with its process (SIGKILL included), so a free lock means that nobody is left.
    """
    gone = [folder for folder in parent.glob(f"{_PREFIX}*") if _abandoned(folder)]
    for folder in gone:
        janitor.end_processes(str(folder))
        shutil.rmtree(folder, ignore_errors=True)
    return gone


def _start_janitor(path: Path) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C in the terminal reaches the run, not its janitor.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(janitor.__file__)), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )


def _abandoned(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return False
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(lock)
        return True
    return False
