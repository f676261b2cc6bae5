"""Spark-written Parquet into Ray's object store: ours, RayDP's and Ray Data's way, and the limit.

Run it with ``make bench-handoff``. Each case is a session of its own, with Spark on Ray and two
CPUs unless ``--cpus`` says otherwise; all contestants of a case share its engines and files. The
limit is pyarrow reading the same files in as many processes, each copying what it read into shared
memory. The two memory cases run ours alone, on files of one size: only the object store may take
more of the larger one.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import in_turn, quiet_stdout, report, same_workers_for_all

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from pipeline.engines.session import Engines
    from pipeline.handoff.to_ray import HandedOff

SHARED = Path("/dev/shm")
PACKAGES = ("ray", "raydp", "pyspark", "pyarrow")


@dataclass(frozen=True)
class Case:
    """What is carried, and the heap of the one executor (``None``: as the pipeline plans it)."""

    name: str
    rows: int
    mixed: bool = False
    executor_memory: str | None = None
    files: int = 8
    peers: bool = True


CASES = (
    Case("doubles 176 MB", 2_000_000),
    Case("mixed", 2_000_000, mixed=True),
    Case("doubles 1.76 GB", 20_000_000),
    Case("doubles 1.76 GB, executor of 1 GB", 20_000_000, executor_memory="1g"),
    Case("memory, doubles 176 MB", 2_000_000, peers=False),
    Case("memory, doubles 1.76 GB", 20_000_000, files=80, peers=False),
)


def frame(spark: SparkSession, case: Case) -> DataFrame:
    """11 doubles; or two integers, three strings, two timestamps and four doubles with nulls."""
    from pyspark.sql import functions as F

    rows = spark.range(0, case.rows, 1, case.files)
    if not case.mixed:
        return rows.select(*(F.randn(seed).alias(f"x{seed}") for seed in range(11)))
    instant = F.timestamp_seconds(F.lit(1_356_998_400) + F.col("id"))
    some = F.when(F.rand(9) < 0.9, F.randn(10))
    return rows.select(
        F.col("id"),
        (F.col("id") % 1000).cast("int").alias("code"),
        F.concat(F.lit("row-"), F.col("id").cast("string")).alias("name"),
        F.element_at(F.array(*map(F.lit, ("EWR", "JFK", "LGA"))), (F.col("id") % 3 + 1).cast("int"))
        .alias("airport"),
        F.when(F.rand(1) < 0.5, F.hex(F.col("id"))).alias("note"),
        instant.alias("at"),
        F.when(F.rand(2) < 0.8, instant).alias("seen"),
        *(F.when(F.rand(20 + i) < 0.9, some).alias(f"x{i}") for i in range(4)),
    )  # fmt: skip


def _copy_into_shared_memory(path: str, token: str) -> int:
    table = pq.ParquetFile(path).read(use_threads=False)
    target = str(SHARED / f"{token}-{Path(path).name}")
    with pa.OSFile(target, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return int(table.num_rows)


def _limit(pool: ProcessPoolExecutor, files: list[str], token: str) -> list[Path]:
    list(pool.map(functools.partial(_copy_into_shared_memory, token=token), files))
    return sorted(SHARED.glob(f"{token}-*"))


def _checksums(name: str, made: Any) -> dict[str, str]:
    from pipeline.handoff.verify import block_checksums, table_checksums

    if name == "limit":
        return table_checksums(pa.ipc.open_file(pa.memory_map(str(p))).read_all() for p in made)
    blocks = made.blocks if name.startswith("ours") else made.to_arrow_refs()
    return block_checksums(blocks, in_flight=4)


def _contestants(
    engines: Engines, spark: SparkSession, files: list[str], pool: ProcessPoolExecutor, token: str
) -> dict[str, Callable[[], Any]]:
    import ray.data

    from pipeline.handoff.to_ray import to_ray

    folder = str(Path(files[0]).parent)

    def ours(mode: Literal["auto", "raydp"]) -> HandedOff:
        return to_ray(files, columns=None, mode=mode, engines=engines)

    return {
        "limit": lambda: _limit(pool, files, token),
        "ours, auto": lambda: ours("auto"),
        "ours, raydp": lambda: ours("raydp"),
        "ours, raydp from a DataFrame": lambda: to_ray(
            spark.read.parquet(folder), columns=None, mode="raydp", engines=engines
        ),
        "ours, raydp from a computed DataFrame": lambda: to_ray(
            spark.read.parquet(folder).where("monotonically_increasing_id() >= 0"),
            columns=None,
            mode="raydp",
            engines=engines,
        ),
        "peer ray.data.read_parquet": lambda: ray.data.read_parquet(folder).materialize(),
        "peer ray.data.from_spark": lambda: ray.data.from_spark(
            spark.read.parquet(folder)
        ).materialize(),
    }


def run_case(case: Case, rounds: int, cpus: int) -> None:
    """Write the frame, let the contestants carry it in turn, and report."""
    from pipeline.config.engines import EnginesConfig
    from pipeline.engines.session import Engines

    settings: dict[str, Any] = {"ray": {"num_cpus": cpus}}
    if case.executor_memory:
        settings["spark"] = {"executor_memory": case.executor_memory}
    token = f"bench-handoff-{uuid.uuid4().hex[:8]}"
    work = Path(tempfile.mkdtemp(prefix="bench-handoff-"))
    spawn = multiprocessing.get_context("spawn")
    try:
        with (
            ProcessPoolExecutor(cpus, spawn) as pool,
            Engines(EnginesConfig.model_validate(settings)) as engines,
        ):
            with quiet_stdout():
                spark = engines.spark()
                folder = str(work / "frame")
                frame(spark, case).write.parquet(f"file://{folder}")
                files = sorted(str(path) for path in Path(folder).glob("part-*.parquet"))
                contestants = _contestants(engines, spark, files, pool, token)
                if not case.peers:
                    contestants = {k: v for k, v in contestants.items() if "peer" not in k}
                wanted = _checksums("limit", contestants["limit"]())

                def check(name: str, made: Any) -> None:
                    if _checksums(name, made) != wanted:
                        raise ValueError(f"{name}: what arrived is not what the files hold")

                def between() -> None:
                    for left in SHARED.glob(f"{token}-*"):
                        left.unlink()
                    same_workers_for_all(cpus, files[0])

                timings = in_turn(contestants, rounds, check, between)
            report("handoff", timings, case.rows, PACKAGES, case=case.name, cpus=cpus)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        for left in SHARED.glob(f"{token}-*"):
            left.unlink()


def main() -> None:
    """Run each case in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", help="only the case of this name")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpus", type=int, default=2)
    given = parser.parse_args()
    for case in CASES:
        if given.case == case.name:
            run_case(case, given.rounds, given.cpus)
        elif given.case is None:
            command = [sys.executable, "-m", "benchmarks.handoff", "--case", case.name]
            command += ["--rounds", str(given.rounds), "--cpus", str(given.cpus)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
