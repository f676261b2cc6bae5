"""Ten times the flights through ingest with all checks, against a bare Spark job as the limit.

Run it with ``make bench-ingest``. Both read the same CSV files in the same local Spark session and
write the same columns, types and rows as Parquet with the same compression. The limit is Spark's
own CSV reader with the declared schema: it looks at no value, and has no quarantine. Ours declares
what ``conf/flights.yaml`` declares: types, ranges, allowed values, patterns, nulls and the key,
with every row accounted for.

The files are the year's flights, copy after copy: each copy's dates are moved on by 30 days more
within the year, and its flights have other numbers, so that keys stay unique.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from benchmarks.harness import in_turn, quiet_stdout, report

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pipeline.config.ingest import SourceConfig

PACKAGES = ("pyspark", "pyarrow")
RAW = Path("data/raw/flights/flights.csv.gz")
GOAL = 1.3
"""Times the limit."""

_DAYS = 365
_MOVED_DAYS = 30
_NEW_FLIGHTS = 10_000  # above every number of a flight


def write_copies(raw: Path, folder: Path, copies: int) -> list[str]:
    """Write ``copies`` CSV files, each with all flights of the year; returns their paths."""
    flights = pd.read_csv(raw, dtype=str, keep_default_na=False)
    files = []
    for number in range(copies):
        file = folder / f"flights-{number:03d}.csv"
        _write_csv(_moved(flights, number), file)
        files.append(str(file))
    return files


def _moved(flights: pd.DataFrame, number: int) -> pd.DataFrame:
    """The flights ``number`` × 30 days later; the days that the year ends with become its first."""
    first = pd.Timestamp("2013-01-01")
    days = (pd.to_datetime(flights[["year", "month", "day"]].astype(int)) - first).dt.days
    moved = (days + number * _MOVED_DAYS) % _DAYS
    date = first + pd.to_timedelta(moved, unit="D")
    hour = pd.to_datetime(flights["time_hour"]) + pd.to_timedelta(moved - days, unit="D")
    return flights.assign(
        month=date.dt.month.astype(str),
        day=date.dt.day.astype(str),
        flight=(flights["flight"].astype(int) + number * _NEW_FLIGHTS).astype(str),
        time_hour=hour.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _write_csv(frame: pd.DataFrame, file: Path) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pa_csv.write_csv(table, file, pa_csv.WriteOptions(quoting_style="none"))


def bare(spark: SparkSession, source: SourceConfig, files: list[str], folder: Path) -> Path:
    """Read with the declared schema, write; nothing else."""
    schema = ", ".join(f"`{name}` {column.type}" for name, column in source.columns.items())
    frame = spark.read.schema(schema).option("header", True).csv(files)
    frame.write.parquet(f"file://{folder}")
    return folder


def checked(spark: SparkSession, source: SourceConfig, files: list[str], folder: Path) -> Path:
    """What the ingest stage does for one source."""
    from pipeline.dataprep.ingest import ingest_source

    ingest_source(spark, source, "flights", files, folder / "good", folder / "bad")
    return folder / "good"


def checksums(folder: Path) -> dict[str, str]:
    """Rows, nulls and a sum of hashes of each column of a folder's Parquet files."""
    from pipeline.handoff.verify import table_checksums

    return table_checksums(pq.read_table(file) for file in sorted(folder.glob("part-*.parquet")))


def _contestants(
    spark: SparkSession, source: SourceConfig, files: list[str], folder: Path
) -> dict[str, Callable[[], Any]]:
    return {
        "limit": lambda: bare(spark, source, files, folder / "limit"),
        "ours, all checks": lambda: checked(spark, source, files, folder / "ours"),
    }


def run(copies: int, rounds: int, cpus: int, work: Path) -> None:
    """Write the files, ingest them both ways in turn, and report."""
    from pipeline.config.engines import EnginesConfig
    from pipeline.config.loader import load_config
    from pipeline.engines.session import Engines

    source = load_config(Path("conf/flights.yaml")).ingest.sources["flights"]
    raw = work / "raw"
    raw.mkdir()
    files = write_copies(RAW, raw, copies)
    settings = EnginesConfig.model_validate({"spark": {"master": f"local[{cpus}]"}})
    expected: dict[str, str] = {}
    with quiet_stdout(), Engines(settings, app_name="bench-ingest") as engines:
        contestants = _contestants(engines.spark(), source, files, work)

        def check(name: str, made: Path) -> None:
            found = checksums(made)
            if name == "limit":
                expected.update(found)
            elif found != expected:
                raise RuntimeError(f"{name} made other rows than the limit: {found} {expected}")

        def between() -> None:
            for name in ("limit", "ours"):
                shutil.rmtree(work / name, ignore_errors=True)

        timings = in_turn(contestants, rounds, check, between)
    rows = int(next(iter(expected.values())).split(":")[0])
    report("ingest", timings, rows, PACKAGES, copies=copies, cpus=cpus, goal=GOAL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--copies", type=int, default=10, help="how often the year is repeated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpus", type=int, default=2)
    given = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="bench-ingest-"))
    try:
        run(given.copies, given.rounds, given.cpus, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
