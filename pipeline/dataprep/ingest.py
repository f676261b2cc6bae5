"""Sources into typed Parquet and a quarantine."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from py4j.protocol import Py4JJavaError
from pyarrow import orc
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.drift import Drift
from pipeline.dataprep.headers import open_raw
from pipeline.dataprep.parts import count_rows, write_parts
from pipeline.dataprep.quarantine import Reason, count_reasons, quarantine_table
from pipeline.dataprep.read import open_source
from pipeline.dataprep.schema import enforce
from pipeline.dataprep.session import prepare_session
from pipeline.errors import DataRefused, PipelineError, StageFailed


@dataclass(frozen=True)
class SourceResult:
    """What became of one source's rows; ``rows_in == rows_out + rows_quarantined``.

    Where an array is exploded its elements are the rows.
    """

    rows_in: int
    rows_out: int
    rows_quarantined: int
    reasons: dict[str, int]
    drift: Drift = field(default_factory=Drift)


Ingest = Callable[[Path, Path], SourceResult]
"""Called with the folders for good and for broken rows."""


def ingest_source(
    spark: SparkSession,
    source: SourceConfig,
    name: str,
    files: Sequence[str],
    good_path: str | Path,
    bad_path: str | Path,
) -> SourceResult:
    """Read a source, write its good rows and its broken rows as Parquet, and count both.

    Raises:
        DataRefused: a file cannot be used; no row is left; or more rows are broken than
            ``max_quarantined_share`` allows. Both folders may then hold files.
        StageFailed: the rows written do not add up to the rows read.
    """
    result, reasons = write_source(spark, source, name, files, good_path, bad_path)
    refuse_bad_share(name, source, result, reasons)
    return result


def write_source(
    spark: SparkSession,
    source: SourceConfig,
    name: str,
    files: Sequence[str],
    good_path: str | Path,
    bad_path: str | Path,
    keep: Sequence[str] = (),
) -> tuple[SourceResult, list[Reason]]:
    """As ``ingest_source``, of files that may be a part of a source: any number may be broken.

    Clean data is read once. Only where rows are broken are the files read again for those, which
    costs less than keeping every row of every source in memory or on disk in case one is.

    Args:
        keep: columns besides the declared ones that the good rows are written with, such as
            ``read.POSITION``.
    """
    prepare_session(spark)
    files = list(dict.fromkeys(os.path.normpath(file) for file in files))  # as Spark reads them
    with _unreadable_files_named(name, source, files):
        opened = open_source(spark, source, name, files)
        raw = opened.frame
        enforced = enforce(raw, source)
        columns = [*source.columns, *keep]
        counts, good_files = _write_good(enforced, columns, good_path)
        headers = len(files) if source.has_header else 0  # they count as broken rows
        if counts["headers"] < headers:
            raise DataRefused(
                f"source {name}: Spark finds the header in {counts['headers']} of {headers} files",
                hint="check the files' encoding and line ends",
            )
        rows_in, broken = counts["rows"] - headers, counts["broken"] - headers
        bad_files = _write_bad(enforced, raw, name, source, broken, bad_path)
    reasons = count_reasons(bad_files)
    rows_out, quarantined = count_rows(good_files), count_rows(bad_files)
    if rows_in != rows_out + quarantined:
        raise StageFailed(
            f"source {name}: {rows_in:,} rows read, but {rows_out:,} written and "
            f"{quarantined:,} quarantined",
            hint="a file changed while it was read; run again",
        )
    counted = {reason.name: reason.count for reason in reasons}
    return SourceResult(rows_in, rows_out, quarantined, counted, opened.drift), reasons


def ingest_all(
    spark: SparkSession,
    sources: Mapping[str, SourceConfig],
    files_by_source: Mapping[str, Sequence[str]],
    folder: str | Path,
    threads: int = 4,
    otherwise: Mapping[str, Ingest] | None = None,
) -> dict[str, SourceResult]:
    """Ingest sources side by side: ``folder/<source>/`` and ``folder/quarantine/<source>/``.

    Spark runs jobs of several threads at once, so that small sources fill the cores that a big
    one leaves idle.

    Args:
        otherwise: how to ingest the sources that are not read as a whole.

    Raises:
        PipelineError: one source failed, its own error; several, their messages together.
    """

    def ingest(name: str) -> SourceResult:
        good, bad = Path(folder) / name, Path(folder) / "quarantine" / name
        if otherwise and name in otherwise:
            return otherwise[name](good, bad)
        return ingest_source(spark, sources[name], name, files_by_source[name], good, bad)

    with ThreadPoolExecutor(max(threads, 1), thread_name_prefix="ingest") as pool:
        futures = {name: pool.submit(ingest, name) for name in sources}
    errors = [future.exception() for future in futures.values()]
    failed = [error for error in errors if error is not None]
    refused = [error for error in failed if isinstance(error, PipelineError)]
    if len(failed) > len(refused):
        raise next(error for error in failed if not isinstance(error, PipelineError))
    if len(refused) > 1:
        worst = next((error for error in refused if isinstance(error, StageFailed)), refused[0])
        raise type(worst)("\n".join(error.message for error in refused), hint=worst.hint)
    if refused:
        raise refused[0]
    return {name: future.result() for name, future in futures.items()}


def _write_good(
    enforced: DataFrame, columns: list[str], path: str | Path
) -> tuple[dict[str, int], list[Path]]:
    """Write the good rows; count all rows, the broken ones and the headers in the same pass."""
    counts = Observation()
    observed = enforced.select(*columns, "_broken", "_is_header").observe(
        counts,
        F.count("*").alias("rows"),
        F.count_if("_broken").alias("broken"),
        F.count_if("_is_header").alias("headers"),
    )
    files = write_parts(observed.filter(~F.col("_broken")).select(*columns), path)
    return counts.get, files


def _write_bad(
    enforced: DataFrame,
    raw: DataFrame,
    name: str,
    source: SourceConfig,
    broken: int,
    path: str | Path,
) -> list[Path]:
    if broken:
        bad = enforced.filter("_broken")
        return write_parts(quarantine_table(bad, raw, name, source), path)
    reason = pa.struct([("rule", pa.string()), ("column", pa.string()), ("value", pa.string())])
    fields = [("source", pa.string()), ("file", pa.string()), ("row", pa.int64())]
    fields += [("item", pa.int32())] if source.explode else []
    schema = pa.schema([*fields, ("raw", pa.string()), ("reasons", pa.list_(reason))])
    Path(path).mkdir(parents=True, exist_ok=True)
    file = Path(path) / "part-00000.parquet"
    pq.write_table(schema.empty_table(), file, compression="zstd")
    return [file]


def refuse_bad_share(
    name: str, source: SourceConfig, result: SourceResult, reasons: list[Reason]
) -> None:
    """Refuse a source without rows, or with too many broken ones.

    Raises:
        DataRefused: with the most frequent reasons.
    """
    rows, quarantined = result.rows_in, result.rows_quarantined
    if not rows:
        raise DataRefused(
            f"source {name}: its files hold {'headers and ' if source.has_header else ''}no row"
            if source.paths
            else f"source {name}: {source.place} has no row",
            hint="check the export",
        )
    share = quarantined / rows
    if quarantined < rows and share <= source.max_quarantined_share:
        return
    top = "".join(f"\n    {reason}" for reason in reasons[:5])
    limit = (
        "no row is left"
        if quarantined == rows
        else f"max_quarantined_share allows {source.max_quarantined_share:.1%}"
    )
    raise DataRefused(
        f"source {name}: {quarantined:,} of {rows:,} rows ({share:.1%}) break a rule; "
        f"{limit}. Most frequent:{top}",
        hint="correct the declared columns or the files, or raise max_quarantined_share",
    )


@contextmanager
def _unreadable_files_named(
    name: str, source: SourceConfig, files: Sequence[str]
) -> Iterator[None]:
    """Turn Spark's failure to read into an error that names the damaged file."""
    try:
        yield
    except (Py4JJavaError, PySparkException) as error:
        # Only now is every file read to its end on the driver; whole files never pay for it.
        damaged = [found for file in files if (found := _damage(file, source.format))]
        if damaged:
            raise DataRefused(
                f"source {name}: {'; '.join(damaged)}", hint="fetch the file again"
            ) from error
        first = str(error).strip().splitlines()[0]
        raise StageFailed(f"source {name}: Spark could not read it: {first}") from error


def _damage(path: str, file_format: str) -> str | None:
    try:
        if file_format == "parquet":
            with pq.ParquetFile(path) as parquet:
                for _ in parquet.iter_batches():
                    pass
        elif file_format == "orc":
            stripes = orc.ORCFile(path)
            for number in range(stripes.nstripes):
                stripes.read_stripe(number)
        else:
            with open_raw(path) as stream:
                while stream.read(1 << 20):
                    pass
    except (EOFError, OSError, zlib.error, gzip.BadGzipFile, pa.ArrowException) as error:
        return f"{path} is damaged or cut: {str(error).splitlines()[0]}"
    return None
