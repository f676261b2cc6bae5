"""The engines of a run: sized by one plan, bound to loopback, settled meanings of values."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline.config.engines import EnginesConfig
from pipeline.engines.session import Engines
from pipeline.errors import EngineError


def test_spark_on_ray_leaves_every_cpu_to_ray(engines: Engines) -> None:
    import ray

    engines.spark()
    assert ray.available_resources()["CPU"] == engines.plan.ray_cpus


def test_every_server_listens_on_loopback_only(engines: Engines) -> None:
    engines.spark()
    ours = [psutil.Process(), *psutil.Process().children(recursive=True)]
    open_to_all = []
    for process in ours:
        try:
            listening = [c for c in process.net_connections("inet") if c.status == "LISTEN"]
        except psutil.Error:
            continue
        open_to_all += [
            (process.name(), c.laddr)
            for c in listening
            if c.laddr.ip.removeprefix("::ffff:") not in ("127.0.0.1", "::1")
        ]
    assert open_to_all == []


def test_no_dashboard_runs_unless_it_was_asked_for(engines: Engines) -> None:
    assert engines.ray().dashboard_url is None
    commands = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended since
            commands.append(" ".join(process.cmdline()))
    assert any("raylet" in command for command in commands)
    assert not any("dashboard/dashboard.py" in command for command in commands)


def test_values_mean_the_same_whatever_the_machine_is_set_to(engines: Engines) -> None:
    row = engines.spark().sql("select cast('2013-03-10 02:30' as timestamp) t, cast('x' as int) i")
    assert row.schema["t"].dataType.typeName() == "timestamp"
    first = row.selectExpr("unix_seconds(t) s", "i").first()
    assert first is not None
    assert first["s"] == dt.datetime(2013, 3, 10, 2, 30, tzinfo=dt.timezone.utc).timestamp()
    assert first["i"] is None


def test_workers_compute_with_one_thread_and_know_the_package(engines: Engines) -> None:
    import ray

    engines.ray()

    def look() -> tuple[str | None, str]:
        import pipeline

        return os.environ.get("OMP_NUM_THREADS"), pipeline.__name__

    assert ray.get(ray.remote(look).remote()) == ("1", "pipeline")
    assert "OMP_NUM_THREADS" not in os.environ


def test_a_cluster_that_is_not_there_is_an_error_in_time() -> None:
    # In a process of its own: this one is connected to Ray already.
    ask = """
from pipeline.config.engines import EnginesConfig
from pipeline.engines.session import Engines
from pipeline.errors import EngineError
config = {"ray": {"address": "127.0.0.1:1"}, "start_timeout_seconds": 3}
try:
    with Engines(EnginesConfig.model_validate(config)) as engines:
        engines.ray()
except EngineError as problem:
    print(problem.message, "|", problem.hint)
"""
    started = time.monotonic()
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=60)
    assert answer.stdout.startswith("joining Ray at 127.0.0.1:1 failed: "), answer.stderr
    assert "engines.ray.address" in answer.stdout
    assert time.monotonic() - started < 40


def test_a_killed_run_takes_its_engines_along(tmp_path: Path) -> None:
    ask = """
import os, signal
from pipeline.config.engines import EnginesConfig
from pipeline.engines.session import Engines
config = {"ray": {"num_cpus": 1}, "spark": {"master": "local[1]"}}
engines = Engines(EnginesConfig.model_validate(config))
engines.ray(); engines.spark().range(1).count()
print(engines.scratch_folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    output = tmp_path / "output"
    with output.open("w") as file:
        run = subprocess.run([sys.executable, "-c", ask], stdout=file, timeout=120)
    assert run.returncode == -9
    folder = Path(output.read_text().strip())  # and nothing but the answer is on stdout
    until = time.monotonic() + 20
    while (folder.exists() or _processes_of(folder)) and time.monotonic() < until:
        time.sleep(0.2)
    assert _processes_of(folder) == []
    assert not folder.exists()


def _processes_of(folder: Path) -> list[str]:
    return [
        " ".join(process.info["cmdline"])
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and any(str(folder) in word for word in process.info["cmdline"] or [])
    ]


def test_a_plan_larger_than_the_machine_is_refused_before_anything_starts() -> None:
    config = EnginesConfig.model_validate({"spark": {"executor_memory": "900t"}})
    with Engines(config) as too_large, pytest.raises(EngineError, match="may be booked"):
        too_large.ray()
