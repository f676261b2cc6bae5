"""Run the ``pipeline`` command as its users do: a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PIPELINE = [sys.executable, "-m", "pipeline"]


@dataclass(frozen=True)
class Project:
    """A copy of the shipped configuration and sample, with a store of its own."""

    root: Path
    store: Path

    def command(self, *arguments: str) -> list[str]:
        verb, *rest = arguments
        common = ["-c", "conf/flights.yaml", "--env", "sample", "--set", f"store={self.store}"]
        return [*PIPELINE, verb, *common, *rest]

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments), cwd=self.root, capture_output=True, text=True, timeout=500
        )
        if check and done.returncode:
            raise AssertionError(f"exit code {done.returncode}\n{done.stderr[-4000:]}")
        return done

    def json(self, *arguments: str) -> dict[str, Any]:
        """Stdout of a ``--json`` command, which must be one object and nothing else."""
        parsed: dict[str, Any] = json.loads(self.run(*arguments, "--json").stdout)
        return parsed

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def artifact(self, record: dict[str, Any], stage: str) -> Path:
        """The folder of a stage's artifact in a run's record."""
        (found,) = [s["fingerprint"] for s in record["stages"] if s["stage"] == stage]
        return self.store / "artifacts" / stage / found

    def events(self, run_id: str) -> list[dict[str, Any]]:
        lines = (self.store / "runs" / run_id / "events.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


def actions(record: dict[str, Any]) -> dict[str, str]:
    return {stage["stage"]: stage["action"] for stage in record["stages"]}


def manifest(folder: Path) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return parsed


def hashes(folder: Path, pattern: str = "**/*") -> dict[str, str]:
    """SHA-256 of every file below a folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob(pattern))
        if path.is_file()
    }


def marks(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and modification time of every file: equal only if nothing was written."""
    return {
        path.as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


def children_of(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            child = int(status.parent.name)
            found += [child, *children_of(child)]
    return found


def alive(pids: list[int]) -> list[int]:
    """Those that still run; a zombie does not."""
    running = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if state != "Z":
            running.append(pid)
    return running


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, **more}
