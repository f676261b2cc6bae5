"""A Spark executor that dies during the hand-off costs time, and no row."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import psutil
import pytest

from pipeline.engines.session import Engines
from pipeline.handoff.to_ray import to_ray


def test_a_killed_executor_costs_no_row(engines: Engines) -> None:
    import ray

    frame = engines.spark().range(0, 80_000, 1, 8).mapInArrow(_slowly(), "id long")
    killed: list[int] = []
    killer = threading.Thread(target=_kill_the_executor_at_work, args=(engines, killed))
    killer.start()
    handed = to_ray(frame, columns=None, mode="raydp", engines=engines)
    killer.join()
    assert killed and not psutil.pid_exists(killed[0])
    found = [v for table in ray.get(handed.blocks) for v in table.column("id").to_pylist()]
    assert found == list(range(80_000))


def _slowly() -> Callable[[Iterable[Any]], Iterator[Any]]:
    """A second a partition; nested, so that it travels to the executors by value."""

    def slowly(batches: Iterable[Any]) -> Iterator[Any]:
        time.sleep(1)
        yield from batches

    return slowly


def _kill_the_executor_at_work(engines: Engines, killed: list[int]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and not killed:
        for process in _below_raylet(engines):
            if _is_java(process) and _has_python_at_work(process):
                time.sleep(1.5)  # in the middle of its partitions
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process.pid)
                return
        time.sleep(0.1)


def _below_raylet(engines: Engines) -> list[psutil.Process]:
    """Of these engines: other tests may have a Ray of their own."""
    folder = str(engines.scratch_folder)
    return [
        process
        for raylet in psutil.process_iter(["name", "cmdline"])
        if raylet.info["name"] == "raylet"
        and any(folder in word for word in raylet.info["cmdline"] or [])
        for process in raylet.children(recursive=True)
    ]


def _is_java(process: psutil.Process) -> bool:
    try:
        return process.name() == "java"
    except psutil.Error:
        return False


def _has_python_at_work(process: psutil.Process) -> bool:
    """Whether it has Python workers: a daemon with at least one worker below it."""
    try:
        below = process.children(recursive=True)
        return sum("pyspark.daemon" in child.cmdline() for child in below) >= 2
    except psutil.Error:
        return False


@pytest.fixture(autouse=True)
def _nothing_left(engines: Engines) -> Iterator[None]:
    yield
    assert not list(engines.scratch_folder.glob("handoff-*"))
