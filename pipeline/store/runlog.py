"""The record of a run: ``run.json`` for its state, ``events.jsonl`` for its course."""

from __future__ import annotations

import json
import logging
import os
import platform
import secrets
import shutil
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil

from pipeline.errors import ConfigError
from pipeline.store.layout import Store, write_text


def utc_now() -> str:
    """The time in UTC, ISO 8601, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


@dataclass
class RunLog:
    """Writes one run's folder. Times are UTC; durations come from a monotonic clock."""

    store: Store
    pipeline: str
    run_id: str = field(default_factory=lambda: new_run_id())
    stages: list[dict[str, Any]] = field(default_factory=list)
    started_at: str = field(default_factory=utc_now)

    def __post_init__(self) -> None:
        self._start = time.monotonic()
        self._events_lock = threading.Lock()
        self.folder.mkdir(parents=True)
        self._handler = logging.FileHandler(self.folder / "log.txt", encoding="utf-8")
        self._handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)r")
        )
        logging.getLogger("pipeline").addHandler(self._handler)
        self.memory = MemoryPeak()
        self._write("running")

    @property
    def folder(self) -> Path:
        return self.store.runs / self.run_id

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self._start, 3)

    def event(self, event: str, **details: Any) -> None:
        """Append one line; it is on disk when this returns."""
        line = {"at": utc_now(), "elapsed": self.seconds, "event": event, **details}
        text = json.dumps(line, ensure_ascii=False, default=str) + "\n"
        with self._events_lock, (self.folder / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(text)

    def stage(self, record: dict[str, Any]) -> None:
        """Note how a stage ended."""
        self.stages.append(record)
        self._write("running")

    def finish(self, status: str, error: str | None = None) -> dict[str, Any]:
        """Close the record and return it."""
        self.event("run_finished", status=status, error=error)
        self.memory.stop()
        logging.getLogger("pipeline").removeHandler(self._handler)
        self._handler.close()
        return self._write(status, ended_at=utc_now(), error=error)

    def record(self, status: str, **more: Any) -> dict[str, Any]:
        """The run as JSON."""
        return {
            "run_id": self.run_id,
            "pipeline": self.pipeline,
            "pid": os.getpid(),
            "started_at": self.started_at,
            "ended_at": None,
            "status": status,
            "seconds": self.seconds,
            "machine": {
                "cores": len(os.sched_getaffinity(0)),
                "memory_bytes": psutil.virtual_memory().total,
                "platform": f"{platform.system()} {platform.machine()}",
            },
            "peak_memory_bytes": self.memory.peak,
            "stages": self.stages,
            **more,
        }

    def _write(self, status: str, **more: Any) -> dict[str, Any]:
        record = self.record(status, **more)
        write_text(self.folder / "run.json", json.dumps(record, indent=1, ensure_ascii=False))
        return record


class MemoryPeak:
    """The most memory that this process and all below it held together, sampled every second.

    Private memory only: pages of the shared object store would count once a process.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._since = 0
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, name="memory", daemon=True).start()

    def _watch(self) -> None:
        while not self._stopped.wait(1.0):
            now = tree_memory()
            self.peak = max(self.peak, now)
            self._since = max(self._since, now)

    def lap(self) -> int:
        """The peak since the last lap, in bytes."""
        peak, self._since = max(self._since, tree_memory()), 0
        self.peak = max(self.peak, peak)
        return peak

    def stop(self) -> None:
        self._stopped.set()


def tree_memory() -> int:
    """Bytes held by this process and its descendants now."""
    me = psutil.Process()
    total = 0
    for process in (me, *me.children(recursive=True)):
        try:
            memory = process.memory_info()
            total += memory.rss - getattr(memory, "shared", 0)
        except psutil.Error:
            continue  # it ended in between
    return total


def new_run_id() -> str:
    """Sortable by time, and unique."""
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S}Z-{secrets.token_hex(2)}"


def list_runs(store: Store, pipeline: str | None = None) -> list[dict[str, Any]]:
    """All runs of a store, oldest first. A run whose process is gone reads as 'killed'."""
    runs = []
    for path in sorted(store.runs.glob("*/run.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        if run["status"] == "running" and not psutil.pid_exists(run["pid"]):
            run["status"] = "killed"
        if pipeline is None or run["pipeline"] == pipeline:
            runs.append(run)
    return sorted(runs, key=lambda run: (run["started_at"], run["run_id"]))


def find_run(store: Store, name: str, pipeline: str | None = None) -> dict[str, Any]:
    """A run by its id, a unique beginning of it, or ``latest``.

    Raises:
        ConfigError: none or several match.
    """
    runs = list_runs(store, pipeline)
    matches = runs[-1:] if name == "latest" else [r for r in runs if r["run_id"].startswith(name)]
    if len(matches) == 1:
        return matches[0]
    known = ", ".join(run["run_id"] for run in runs[-5:]) or "none"
    raise ConfigError(
        f"no single run is named {name!r} in {store.root}", hint=f"The last runs are: {known}."
    )


def keep_report(folder: Path, report: Path) -> None:
    """Put a run's page where outside readers look for it."""
    shutil.copyfile(report, folder / "report.html")
