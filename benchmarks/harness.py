"""What the benchmarks share: rounds in turn, memory of every process, one JSON object a line.

A round runs every contestant once, so that a slow moment of the machine meets all of them; the
median over the rounds is reported, and every ratio is taken against the limit of the same run.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from pipeline.engines.deadline import deadline, stdout_to_stderr
from pipeline.handoff.spark_calls import gist

Contestant = Callable[[], Any]
"""Does the work once and returns what it made, for the check."""

_SAMPLE_SECONDS = 0.1


@dataclass
class Timing:
    """What one contestant needed: seconds a round, and peak memory in bytes by kind of process.

    ``first`` is the round that does not count: workers start in it, memory is touched for the first
    time, and the peak is measured.
    """

    first: float | None = None
    seconds: list[float] = field(default_factory=list)
    peak: dict[str, int] = field(default_factory=dict)
    failure: str | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


class PeakMemory:
    """The peak memory of this process and all below it, by kind: python, java, raylet, shared.

    Memory that processes share (Ray's object store) is counted once, under ``shared``. Of each kind
    the peak of all its processes together, and of the largest one, as ``python, largest``.
    """

    def __init__(self, peak: dict[str, int]) -> None:
        self.bytes = peak
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS):
            now: dict[str, int] = {}
            largest: dict[str, int] = {}
            for kind, private, shared in _processes():
                now[kind] = now.get(kind, 0) + private
                largest[f"{kind}, largest"] = max(largest.get(f"{kind}, largest", 0), private)
                now["shared"] = max(now.get("shared", 0), shared)
            now["all"] = sum(now.values())
            now |= largest
            for kind, size in now.items():
                self.bytes[kind] = max(self.bytes.get(kind, 0), size)


def _processes() -> Iterator[tuple[str, int, int]]:
    this = psutil.Process()
    for process in [this, *this.children(recursive=True)]:
        try:
            memory, name = process.memory_info(), process.name()
        except psutil.Error:
            continue
        kind = name if name in ("java", "raylet", "gcs_server") else "python"
        yield kind, memory.rss - memory.shared, memory.shared


def in_turn(
    contestants: dict[str, Contestant],
    rounds: int,
    check: Callable[[str, Any], None],
    between: Callable[[], None] = lambda: None,
    limit_seconds: float = 600,
    peer_rounds: int | None = None,
) -> dict[str, Timing]:
    """Time the contestants, ``rounds`` times in turn, after one round that does not count.

    Args:
        contestants: by name: ``limit``, ``ours…``, ``peer…``.
        rounds: how many rounds count.
        check: told each result; raises where it is wrong. Its time does not count.
        between: run after each contestant, untimed (to drop what it made).
        limit_seconds: a contestant that takes longer has failed.
        peer_rounds: rounds in which peers take part, where theirs take too long for all; they have
            no round that does not count then.

    A peer that fails is out of the race, with its reason; if ours or the limit fails, so does the
    benchmark.
    """
    timings = {name: Timing() for name in contestants}
    for number in range(rounds + 1):
        for name, work in contestants.items():
            timing = timings[name]
            is_peer = name.startswith("peer")
            sits_out = peer_rounds is not None and is_peer and not 0 < number <= peer_rounds
            if timing.failure is not None or sits_out:
                continue
            try:
                # Looking at every process ten times a second costs time of its own.
                first = not number or (is_peer and peer_rounds is not None and number == 1)
                watch: Any = PeakMemory(timing.peak) if first else nullcontext()
                with watch, deadline(limit_seconds, name, "it is out"):
                    started = time.perf_counter()
                    made = work()
                    seconds = time.perf_counter() - started
                check(name, made)
                del made
            except Exception as problem:
                if not is_peer:
                    raise
                timing.failure = gist(problem)[:200]
                print(f"{name}: failed: {timing.failure}", file=sys.stderr)
                continue
            finally:
                between()
            label = f"round {number}" if number else "warm-up"
            print(f"{label}: {name} {seconds:.2f} s", file=sys.stderr)
            if number:
                timing.seconds.append(seconds)
            else:
                timing.first = seconds
    return timings


def report(
    bench: str, timings: dict[str, Timing], rows: int, packages: tuple[str, ...], **more: Any
) -> None:
    """Print one JSON object a contestant on stdout, and a table of them on stderr."""
    limit = timings["limit"].median
    versions = {"python": platform.python_version(), **{name: version(name) for name in packages}}
    table = Table(
        "name", "first", "seconds", "x limit", "rows/s", "peak MB, all", "of it Java", title=bench
    )
    columns = ("first_seconds", "seconds", "ratio_to_limit", "rows_per_second")
    for name, timing in timings.items():
        peak = {kind: round(size / 1e6, 1) for kind, size in timing.peak.items()}
        ran = bool(timing.seconds) and timing.failure is None
        line = {
            "bench": bench,
            "name": name,
            "first_seconds": round(timing.first, 4) if timing.first is not None else None,
            "seconds": round(timing.median, 4) if ran else None,
            "ratio_to_limit": round(timing.median / limit, 3) if ran else None,
            "rows_per_second": round(rows / timing.median) if ran else None,
            "peak_rss_mb": peak.get("all"),
            "peak_rss_mb_by_process": peak,
            "rounds": [round(value, 4) for value in timing.seconds],
            "failure": timing.failure,
            **more,
            "versions": versions,
        }
        print(json.dumps(line), flush=True)
        shown = [f"{line[key]}" for key in columns]
        table.add_row(name, *shown, f"{peak.get('all')}", f"{peak.get('java', 0)}")
    Console(stderr=True).print(table)


@contextmanager
def quiet_stdout() -> Iterator[None]:
    """What engines print on stdout goes to stderr: stdout carries JSON lines and nothing else."""
    with stdout_to_stderr():
        yield


def same_workers_for_all(cpus: int, file: str) -> None:
    """Leave every contestant the same: ``cpus`` idle Ray workers that are as warm as the limit's.

    They have imported what they need, and read a Parquet file before, as the limit's processes have
    in the round before: memory that a process touches for the first time costs more than reading.
    The object store is not touched.

    RayDP's fetch leaves workers on which the next peer would fail (they load code from files and
    not from Ray), and each contestant leaves another number of workers, of which Ray ends some.
    These functions lie in a module that workers can import, for a worker that was left so takes no
    others.
    """
    import ray

    heal = ray.remote(num_cpus=0)(_heal_worker)
    ray.get([heal.remote() for _ in range(4 * cpus)])
    time.sleep(3 * _IDLE_SECONDS)
    warm = ray.remote(num_cpus=1)(_warm_worker)
    ray.get([warm.remote(file) for _ in range(cpus)])


# Ray ends workers beyond the number of CPUs that were idle for so long.
_IDLE_SECONDS = 1.0


def _heal_worker() -> None:
    from ray._private.worker import global_worker

    global_worker.set_load_code_from_local(False)
    time.sleep(0.2)  # long enough that each of the tasks gets a worker of its own


def _warm_worker(file: str) -> None:
    import pyarrow.dataset  # noqa: F401
    import pyarrow.parquet as pq
    import ray.data  # noqa: F401

    import pipeline.handoff.carrier
    import pipeline.handoff.parquet_blocks  # noqa: F401
    from pipeline.handoff.blocks import BATCH_ROWS

    # Whole and in batches: the allocator keeps large and small pieces of memory apart.
    pq.ParquetFile(file).read(use_threads=False)
    list(pq.ParquetFile(file).iter_batches(BATCH_ROWS, use_threads=False))
    time.sleep(0.2)
