"""Intervals: when they fall, that each runs once, and a clean stop."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.config.schedule import ScheduleConfig
from pipeline.scheduling import Ledger, interval_name, next_time
from tests.command import PIPELINE, Project

NEW_YORK = ZoneInfo("America/New_York")


def times(cron: str, start: datetime, count: int) -> list[str]:
    schedule = ScheduleConfig(cron=cron, timezone="America/New_York")
    found = []
    for _ in range(count):
        start = next_time(schedule, start)
        found.append(interval_name(start))
    return found


def test_intervals_fall_on_the_wall_clock_of_the_zone() -> None:
    start = datetime(2026, 6, 30, 23, 0, tzinfo=timezone.utc)  # 19:00 in New York
    assert times("0 3 * * *", start, 2) == ["2026-07-01T03-00", "2026-07-02T03-00"]


def test_weekdays_count_from_sunday_as_cron_does() -> None:
    start = datetime(2026, 11, 23, 12, tzinfo=NEW_YORK)  # a Monday
    assert times("0 3 * * 0", start, 1) == ["2026-11-29T03-00"]


def test_the_hour_that_a_clock_skips_is_run_once_at_its_end() -> None:
    start = datetime(2026, 3, 7, 12, tzinfo=NEW_YORK)
    assert times("30 2 * * *", start, 2) == ["2026-03-08T03-00", "2026-03-09T02-30"]


def test_the_hour_that_a_clock_repeats_is_one_interval(tmp_path: Path) -> None:
    start = datetime(2026, 10, 31, 12, tzinfo=NEW_YORK)
    names = times("30 1 * * *", start, 3)
    assert names == ["2026-11-01T01-30", "2026-11-01T01-30", "2026-11-02T01-30"]
    ledger = Ledger(tmp_path)
    assert [ledger.claim(name) for name in names] == [True, False, True]


def test_two_schedulers_share_the_intervals(tmp_path: Path) -> None:
    one, two = Ledger(tmp_path / "l"), Ledger(tmp_path / "l")
    assert one.claim("a")
    assert not two.claim("a")
    one.finish("a", 0, 1.0)
    assert two.records() == [{"interval": "a", "status": "done", "exit_code": 0, "seconds": 1.0}]


@pytest.mark.parametrize("cron", ["* * * *", "61 * * * *", "never"])
def test_a_wrong_expression_is_refused(project: Path, cron: str) -> None:
    command = [*PIPELINE, "schedule", "-c", "conf/flights.yaml", "--set", f"schedule.cron={cron}"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "schedule.cron" in done.stderr


def test_it_runs_when_the_minute_comes_and_stops_on_sigterm(
    finished: tuple[Project, dict[str, Any]],
) -> None:
    project, _ = finished
    runs = project.store / "runs"
    before = len(list(runs.iterdir()))
    process = project.start("schedule", "--set", "schedule.cron=* * * * *")
    ledger = Ledger(project.store / "schedule" / "flights")
    try:
        end = time.monotonic() + 100
        while not any(r["status"] == "done" for r in ledger.records()):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.5)
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=15)
    assert code == 0
    assert len(list(runs.iterdir())) > before
    last = json.loads((sorted(runs.iterdir())[-1] / "run.json").read_text())
    assert {stage["action"] for stage in last["stages"]} == {"skipped"}


def test_backfill_runs_what_was_missed_once(finished: tuple[Project, dict[str, Any]]) -> None:
    project, _ = finished
    ledger = Ledger(project.store / "schedule" / "flights")
    assert ledger.claim("2026-03-02T03-00")
    ledger.finish("2026-03-02T03-00", 4, 1.0)  # it failed
    days = ("--from", "2026-03-01", "--to", "2026-03-02")
    filled = project.json("backfill", *days)["intervals"]
    assert [(i["interval"], i["status"]) for i in filled] == [
        ("2026-03-01T03-00", "done"),
        ("2026-03-02T03-00", "done"),
    ]
    before = len(list((project.store / "runs").iterdir()))
    assert project.json("backfill", *days)["intervals"] == filled
    assert len(list((project.store / "runs").iterdir())) == before
    future = project.run("backfill", "--from", "2999-01-01", "--to", "2999-01-01", check=False)
    assert future.returncode == 2
    assert "has not come yet" in future.stderr
