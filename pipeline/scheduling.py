"""Run a pipeline on its cron expression: one run at a time, one run for each interval."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from datetime import time as datetime_time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from croniter import croniter
from rich.console import Console

from pipeline.config import PipelineConfig, load_config
from pipeline.config.ingest import SourceConfig
from pipeline.config.schedule import ScheduleConfig
from pipeline.driver import Observer, run
from pipeline.errors import ConfigError, PipelineError, StageFailed
from pipeline.store import Store
from pipeline.store.artifact import open_artifact
from pipeline.store.days import Days
from pipeline.store.layout import write_text

STOP_SECONDS = 10.0
"""A run that is told to stop gets this long before it is killed; it resumes next time."""

_NAP_SECONDS = 5.0
_log = logging.getLogger(__name__)
_console = Console(stderr=True)


def next_time(schedule: ScheduleConfig, after: datetime) -> datetime:
    """The first instant after ``after`` that the expression names, in the schedule's zone."""
    zone = ZoneInfo(schedule.timezone)
    found: datetime = croniter(schedule.cron, after.astimezone(zone)).get_next(datetime)
    return found


def interval_name(instant: datetime) -> str:
    """An interval's name: its wall-clock time.

    The hour that a clock set back repeats is therefore one interval, not two.
    """
    return instant.strftime("%Y-%m-%dT%H-%M")


@dataclass(frozen=True)
class Ledger:
    """Which intervals were run; shared by every scheduler of the pipeline on this store."""

    folder: Path

    def claim(self, interval: str) -> bool:
        """Take an interval; False if it was taken before, by this scheduler or another."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(self._path(interval), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps({"interval": interval, "status": "started"}))
        return True

    def take_failed(self, interval: str) -> bool:
        """Take an interval again whose run failed."""
        record = json.loads(self._path(interval).read_text(encoding="utf-8"))
        if record["status"] != "failed":
            return False
        write_text(self._path(interval), json.dumps({"interval": interval, "status": "started"}))
        return True

    def finish(self, interval: str, exit_code: int, seconds: float) -> None:
        record = {
            "interval": interval,
            "status": "done" if exit_code == 0 else "failed",
            "exit_code": exit_code,
            "seconds": round(seconds, 1),
        }
        write_text(self._path(interval), json.dumps(record))

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(p.read_text()) for p in sorted(self.folder.glob("*.json"))]

    def _path(self, interval: str) -> Path:
        return self.folder / f"{interval}.json"


class Stopped(Exception):
    """SIGTERM or SIGINT came."""


def serve(config_file: Path, *, env: str | None, overrides: Sequence[str]) -> None:
    """Wait for each interval and run the pipeline in a process of its own; until told to stop.

    A run that takes longer than an interval delays the next one; intervals missed meanwhile are
    not made up for, because a later run covers what changed.

    Raises:
        ConfigError: no schedule, or not a cron expression.
    """
    config = load_config(config_file, env=env, overrides=overrides)
    schedule = _checked(config)
    ledger = Ledger(Store(config.store_path).schedule / config.name)
    command = _command(config_file, env, overrides)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        while True:
            due = next_time(schedule, datetime.now(timezone.utc))
            _say(f"next run of {config.name} at {due.isoformat(sep=' ', timespec='minutes')}")
            _wait_until(due)
            _run_interval(command, ledger, interval_name(due))
    except Stopped:
        _say("stopped")


def backfill(
    config_file: Path,
    first: date,
    last: date,
    *,
    env: str | None,
    overrides: Sequence[str],
    observer: Observer,
) -> dict[str, list[dict[str, Any]]]:
    """Do the work of some days again.

    Where sources have partitions by date, one run reads those of these days again, and makes what
    depends on them; late files of closed partitions are taken. Intervals of the schedule that no
    scheduler has run, or that have failed, are done by it too. Without partitions, each of these
    intervals is run.

    Returns:
        ``sources``: of each source with partitions, how many units were read and kept;
        ``intervals``: the ledger's record of every interval of the days, in order.

    Raises:
        ConfigError: neither partitions nor a schedule; days that are none, or are still to come.
        StageFailed: an interval's run failed; the ones after it were not started.
        PipelineError: as the run of the partitions raises.
    """
    config = load_config(config_file, env=env, overrides=overrides)
    if first > last:
        raise ConfigError(f"--from {first} comes after --to {last}")
    if any(s.incremental and s.incremental.by == "partition" for s in _sources(config)):
        return _backfill_partitions(config, Days(first, last), observer)
    command = _command(config_file, env, overrides)
    return {"sources": [], "intervals": _backfill_intervals(config, command, first, last)}


def _sources(config: PipelineConfig) -> Iterable[SourceConfig]:
    return config.ingest.sources.values()


def _backfill_partitions(
    config: PipelineConfig, days: Days, observer: Observer
) -> dict[str, list[dict[str, Any]]]:
    ledger = Ledger(Store(config.store_path).schedule / config.name)
    instants = _instants(_checked(config), days.first, days.last) if config.schedule else []
    wanted = _names(i for i in instants if i <= datetime.now(timezone.utc))
    taken = [name for name in wanted if ledger.claim(name) or ledger.take_failed(name)]
    start, code = time.monotonic(), StageFailed.exit_code
    try:
        record = run(config, again=days, observer=observer)
        code = 0
    except PipelineError as error:
        code = error.exit_code
        raise
    finally:
        for name in taken:
            ledger.finish(name, code, time.monotonic() - start)
    records = [item for item in ledger.records() if item["interval"] in set(wanted)]
    return {"sources": _units(config, record), "intervals": records}


def _units(config: PipelineConfig, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Of each source that is ingested in units, how many a run has read and kept."""
    (ingest,) = [stage for stage in record["stages"] if stage["stage"] == "ingest"]
    artifact = open_artifact(Store(config.store_path), "ingest", ingest["fingerprint"])
    sources = artifact.manifest.metrics["sources"] if artifact else {}
    return [
        {
            "source": name,
            "units_read": len(source["units_read"]),
            "units_kept": source["units_kept"],
        }
        for name, source in sources.items()
        if "units_read" in source
    ]


def _backfill_intervals(
    config: PipelineConfig, command: list[str], first: date, last: date
) -> list[dict[str, Any]]:
    schedule = _checked(config)
    ledger = Ledger(Store(config.store_path).schedule / config.name)
    instants = list(_instants(schedule, first, last))
    if instants and instants[-1] > datetime.now(timezone.utc):
        raise ConfigError(f"--to {last}: the interval at {instants[-1]} has not come yet")
    wanted = _names(instants)
    for interval in wanted:
        if ledger.claim(interval) or ledger.take_failed(interval):
            code = _run_claimed(command, ledger, interval)
            if code:
                raise StageFailed(
                    f"the run of interval {interval} ended with exit code {code}",
                    hint="Mend the cause and run the same backfill again.",
                )
    return [record for record in ledger.records() if record["interval"] in set(wanted)]


def _instants(schedule: ScheduleConfig, first: date, last: date) -> Iterator[datetime]:
    """When the expression names an interval, from the first day to the last."""
    zone = ZoneInfo(schedule.timezone)
    instant = datetime.combine(first, datetime_time.min, zone) - timedelta(seconds=1)
    end = datetime.combine(last, datetime_time.max, zone)
    while (instant := next_time(schedule, instant)) <= end:
        yield instant


def _names(instants: Iterable[datetime]) -> list[str]:
    """The intervals' names, each once."""
    return list(dict.fromkeys(map(interval_name, instants)))


def _command(config_file: Path, env: str | None, overrides: Sequence[str]) -> list[str]:
    command = [sys.executable, "-m", "pipeline", "run", "-c", str(config_file)]
    command += ["--env", env] if env else []
    return command + [word for text in overrides for word in ("--set", text)]


def _checked(config: PipelineConfig) -> ScheduleConfig:
    if config.schedule is None:
        raise ConfigError(
            f"{config.name}: no schedule is configured",
            hint='Add for example: schedule: {cron: "0 3 * * *", timezone: UTC}',
        )
    if not croniter.is_valid(config.schedule.cron):
        raise ConfigError(
            f"schedule.cron: {config.schedule.cron!r} is not a cron expression",
            hint="Five fields: minute hour day-of-month month day-of-week.",
        )
    return config.schedule


def _run_interval(command: list[str], ledger: Ledger, interval: str) -> None:
    if not ledger.claim(interval):
        _say(f"interval {interval} was run already")
        return
    _run_claimed(command, ledger, interval)


def _run_claimed(command: list[str], ledger: Ledger, interval: str) -> int:
    start = time.monotonic()
    # A process of its own, because neither a JVM nor RayDP can be started twice in one.
    child = subprocess.Popen(command)
    try:
        code = child.wait()
    except Stopped:
        code = _end(child)
        ledger.finish(interval, code, time.monotonic() - start)
        raise
    ledger.finish(interval, code, time.monotonic() - start)
    _say(f"interval {interval} ended with exit code {code}")
    return code


def _end(child: subprocess.Popen[bytes]) -> int:
    child.terminate()
    try:
        return child.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _wait_until(due: datetime) -> None:
    """Short naps against the wall clock, so that a clock set anew is noticed."""
    while (left := (due - datetime.now(timezone.utc)).total_seconds()) > 0:
        time.sleep(min(left, _NAP_SECONDS))


def _stop(*_: Any) -> None:
    raise Stopped


def _say(text: str) -> None:
    _log.info(text)
    _console.print(text, highlight=False)
