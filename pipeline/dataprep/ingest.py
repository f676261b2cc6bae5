"""Sources into typed Parquet and a quarantine."""

from __future__ import annotations

import gzip
import logging
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from py4j.protocol import Py4JJavaError
from pyarrow import orc
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from pipeline.config.ingest import SourceConfig
from pipeline.config.rules import UniqueRule, parents_first, parents_of
from pipeline.dataprep.drift import Drift
from pipeline.dataprep.empty_columns import empty_columns
from pipeline.dataprep.examples import examples_of
from pipeline.dataprep.headers import open_raw
from pipeline.dataprep.key_hashes import repeated_hashes
from pipeline.dataprep.last_runs import LastRun
from pipeline.dataprep.marks import is_marked, marks
from pipeline.dataprep.measure import (
    TableStatistics,
    aggregates,
    newest_in,
    read_measures,
    shares_of,
)
from pipeline.dataprep.parts import count_rows, write_parts
from pipeline.dataprep.quarantine import Reason, count_reasons, quarantine_table
from pipeline.dataprep.read import POSITION, open_source
from pipeline.dataprep.read_lines import escape_glob
from pipeline.dataprep.rules import Parent, TableRules, apply_rules, is_good
from pipeline.dataprep.schema import check_limits, enforce, source_rules
from pipeline.dataprep.session import prepare_session
from pipeline.dataprep.verdict import RuleResult, judge, refusals
from pipeline.errors import DataRefused, PipelineError, StageFailed

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SourceResult:
    """What became of one source's rows.

    ``rows_in == rows_out + rows_quarantined + sum(rows_dropped.values())``

    Where an array is exploded its elements are the rows.

    Attributes:
        reasons: quarantined rows by the rule that they break; a row may break several.
        rows_dropped: by filter.
        empty_columns: columns that are null in all rows that came out.
        rules: what became of each rule.
        statistics: for the next run's rules to compare with.
    """

    rows_in: int
    rows_out: int
    rows_quarantined: int
    reasons: dict[str, int]
    drift: Drift = field(default_factory=Drift)
    rows_dropped: dict[str, int] = field(default_factory=dict)
    empty_columns: list[str] = field(default_factory=list)
    rules: list[RuleResult] = field(default_factory=list)
    statistics: TableStatistics | None = None


Ingest = Callable[[Path, Path, Mapping[str, Parent], Sequence[LastRun]], SourceResult]
"""Called with the folders for good and for broken rows, and as ``ingest_source`` is with what
rules refer to."""


def ingest_source(
    spark: SparkSession,
    source: SourceConfig,
    name: str,
    files: Sequence[str],
    good_path: str | Path,
    bad_path: str | Path,
    parents: Mapping[str, Parent] | None = None,
    last: Sequence[LastRun] = (),
) -> SourceResult:
    """Read a source, write its good rows and its broken rows as Parquet, and count both.

    Args:
        parents: the sources that rules refer to, as they came out; rules whose source is not
            there are not checked.
        last: earlier runs that were not refused, the last one first.

    Raises:
        DataRefused: a file cannot be used; no row is left; more rows are broken than
            ``max_quarantined_share`` allows; or rules do not hold, all of them named. Both
            folders may then hold files.
        StageFailed: the rows written do not add up to the rows read.
    """
    result, reasons = write_source(
        spark, source, name, files, good_path, bad_path, parents=parents, last=last, any_order=True
    )
    refuse(name, source, result, reasons)
    return result


def write_source(
    spark: SparkSession,
    source: SourceConfig,
    name: str,
    files: Sequence[str],
    good_path: str | Path,
    bad_path: str | Path,
    keep: Sequence[str] = (),
    parents: Mapping[str, Parent] | None = None,
    last: Sequence[LastRun] = (),
    marked: bool = False,
    any_order: bool = False,
) -> tuple[SourceResult, list[Reason]]:
    """As ``ingest_source``, of files that may be a part of a source: any number may be broken.

    Clean data is read once. Only where rows are broken are the files read again for those, which
    costs less than keeping every row of every source in memory or on disk in case one is. Likewise
    rows are compared with each other only where hashes of what was written say that some are alike.

    Args:
        keep: columns besides the declared ones that the good rows are written with, such as
            ``read.POSITION``.
        marked: write with the good rows those that filters and rules have taken out, and
            ``marks.marks`` of all; rules are then not judged, for the rows are of several parts.
        any_order: good rows may be written in another order than they stand in the files.
    """
    prepare_session(spark)
    check_limits(source)
    parents = parents or {}
    rules = source_rules(spark, source, name, parents)
    files = list(dict.fromkeys(os.path.normpath(file) for file in files))  # as Spark reads them
    with _unreadable_files_named(name, source, files):
        opened = open_source(spark, source, name, files)
        raw = opened.frame
        columns = [*source.columns, *keep, *(marks(rules) if marked else ())]
        plain = opened.plain if any_order and _only_unique(rules) else None
        if plain is None:
            enforced = partial(enforce, raw, source, rules, parents, all_unique=True)
            counts, good_files = _write_good(enforced(), columns, rules, good_path, marked)
        else:
            enforced = partial(enforce, plain.rest, source, rules, parents, all_unique=True)
            checked = apply_rules(plain.checked, rules, POSITION, parents, all_unique=True)
            counts, good_files = _write_plain(checked, enforced, columns, rules, Path(good_path))
        if _has_repeats(good_files, rules):
            _log.info("source %s: values that must be unique stand in several rows", name)
            for file in good_files:
                file.unlink()
            enforced = partial(enforce, raw, source, rules, parents)
            counts, good_files = _write_good(enforced(), columns, rules, good_path, marked)
        headers = len(files) if source.has_header else 0  # they count as broken rows
        if counts["headers"] < headers:
            raise DataRefused(
                f"source {name}: Spark finds the header in {counts['headers']} of {headers} files",
                hint="check the files' encoding and line ends",
            )
        rows_in, broken = counts["rows"] - headers, counts["broken"] - headers
        bad_files = _write_bad(enforced, raw, name, source, broken, bad_path)
        shares = shares_of(lambda: spark.read.parquet(escape_glob(str(good_path))), rules)
        measured = read_measures(counts, rules, shares)
        reasons = count_reasons(bad_files)
        first = {} if marked else measured.first
        examples = examples_of(first, reasons, raw, 0 if source.has_header else 1)
    result = SourceResult(
        rows_in,
        measured.statistics.rows if marked else count_rows(good_files),
        count_rows(bad_files),
        {reason.name: reason.count for reason in reasons},
        opened.drift,
        measured.dropped,
        empty_columns(good_files),
        [] if marked else judge(rules, measured, examples, last, partial(newest_of, parents)),
        measured.statistics,
    )
    check_accounts(name, result)
    return result, reasons


def ingest_all(
    spark: SparkSession,
    sources: Mapping[str, SourceConfig],
    files_by_source: Mapping[str, Sequence[str]],
    folder: str | Path,
    threads: int = 4,
    otherwise: Mapping[str, Ingest] | None = None,
    last: Mapping[str, Sequence[LastRun]] | None = None,
) -> dict[str, SourceResult]:
    """Ingest sources side by side: ``folder/<source>/`` and ``folder/quarantine/<source>/``.

    Spark runs jobs of several threads at once, so that small sources fill the cores that a big
    one leaves idle. A source waits for those that its rules refer to; where one of these is
    refused, the others are still read, so that all that is wrong is said at once.

    Args:
        otherwise: how to ingest the sources that are not read as a whole.
        last: earlier runs of each source that were not refused, the last one first.

    Raises:
        PipelineError: one source failed, its own error; several, their messages together.
    """
    futures: dict[str, Future[SourceResult]] = {}

    def parent(name: str) -> Parent | None:
        if futures[name].exception() is not None:
            return None
        frame = spark.read.parquet(escape_glob(str(Path(folder) / name)))
        return Parent(frame, futures[name].result().rows_out)

    def ingest(name: str) -> SourceResult:
        good, bad = Path(folder) / name, Path(folder) / "quarantine" / name
        found = {other: parent(other) for other in parents_of(sources[name].rules)}
        parents = {other: made for other, made in found.items() if made is not None}
        files, earlier = files_by_source[name], (last or {}).get(name, ())
        if otherwise and name in otherwise:
            return otherwise[name](good, bad, parents, earlier)
        return ingest_source(spark, sources[name], name, files, good, bad, parents, earlier)

    with ThreadPoolExecutor(max(threads, 1), thread_name_prefix="ingest") as pool:
        # Parents first: a thread that waits for a source then waits for one that has begun.
        for name in parents_first(sources):
            futures[name] = pool.submit(ingest, name)
    futures = {name: futures[name] for name in sources}
    _raise_together([future.exception() for future in futures.values()])
    return {name: future.result() for name, future in futures.items()}


def _raise_together(errors: Sequence[BaseException | None]) -> None:
    failed = [error for error in errors if error is not None]
    refused = [error for error in failed if isinstance(error, PipelineError)]
    if len(failed) > len(refused):
        raise next(error for error in failed if not isinstance(error, PipelineError))
    if len(refused) > 1:
        worst = next((error for error in refused if isinstance(error, StageFailed)), refused[0])
        hints = dict.fromkeys(error.hint for error in refused if error.hint)
        message = "\n".join(error.message for error in refused)
        raise type(worst)(message, hint="; or ".join(hints))
    if refused:
        raise refused[0]


def _write_good(
    enforced: DataFrame, columns: list[str], rules: TableRules, path: str | Path, marked: bool
) -> tuple[dict[str, Any], list[Path]]:
    """Write the good rows; count all rows, the broken ones and the headers in the same pass.

    And measure what the rules ask for.
    """
    counts = Observation()
    # Only what is written or measured: not the raw text, nor why rows are broken.
    observed = enforced.drop("_raw", "_reasons").observe(
        counts,
        F.count("*").alias("rows"),
        F.count_if("_broken").alias("broken"),
        F.count_if("_is_header").alias("headers"),
        *aggregates(rules, (*POSITION, "_row")),
    )
    rows = is_marked(rules) if marked else is_good()
    files = write_parts(observed.filter(rows).select(*columns), path)
    return counts.get, files


def _only_unique(rules: TableRules) -> bool:
    """Whether rules can set aside rows that are read as good only by comparing them."""
    return len(rules.of_kind(UniqueRule)) == len(rules.rules)


def _write_plain(
    checked: DataFrame,
    rest: Callable[[], DataFrame],
    columns: list[str],
    rules: TableRules,
    path: Path,
) -> tuple[dict[str, Any], list[Path]]:
    """Write the plain rows, and behind them what is good of the rest, if there is any."""
    counts, files = _write_good(checked, columns, rules, path, marked=False)
    if counts["broken"] == counts["headers"]:
        return counts, files
    prepare_session(checked.sparkSession)  # the rest may have long lines
    of_rest, more = _write_good(rest(), columns, rules, path / "_rest", marked=False)
    if counts["good"] == 0:  # no second file without rows
        while files:
            files.pop().unlink()
    if of_rest["good"] or not files:
        for number, file in enumerate(more, len(files)):
            files.append(file.rename(path / f"part-{number:05d}.parquet"))
    shutil.rmtree(path / "_rest")
    once = {"rows": counts["rows"], "headers": counts["headers"], "broken": of_rest["broken"]}
    both = {name: value + of_rest[name] for name, value in counts.items() if isinstance(value, int)}
    return {**both, **once}, files


def _has_repeats(files: Sequence[Path], rules: TableRules) -> bool:
    """Whether rows that were written may break a ``unique`` rule."""
    rows = count_rows(list(files))
    return any(
        repeated_hashes(files, rule.columns, rows).size
        for rule in rules.of_kind(UniqueRule).values()
    )


def _write_bad(
    enforced: Callable[[], DataFrame],
    raw: DataFrame,
    name: str,
    source: SourceConfig,
    broken: int,
    path: str | Path,
) -> list[Path]:
    if broken:
        # Observed, else Spark moves the filter below the rules, and puts what each of them says of
        # a row into the next one's expression: after a few rules planning takes for ever.
        bad = enforced().observe(Observation(), F.count("*").alias("rows")).filter("_broken")
        return write_parts(quarantine_table(bad, raw, name, source), path)
    reason = pa.struct([("rule", pa.string()), ("column", pa.string()), ("value", pa.string())])
    fields = [("source", pa.string()), ("file", pa.string()), ("row", pa.int64())]
    fields += [("item", pa.int32())] if source.explode else []
    schema = pa.schema([*fields, ("raw", pa.string()), ("reasons", pa.list_(reason))])
    Path(path).mkdir(parents=True, exist_ok=True)
    file = Path(path) / "part-00000.parquet"
    pq.write_table(schema.empty_table(), file, compression="zstd")
    return [file]


def newest_of(parents: Mapping[str, Parent], reference: str) -> datetime | None:
    """The newest value of ``source.column``."""
    source, _, column = reference.partition(".")
    return newest_in(parents[source].frame, column)


def check_accounts(name: str, result: SourceResult) -> None:
    """Every row of a source has come out, is quarantined or dropped.

    Raises:
        StageFailed: the numbers do not add up.
    """
    dropped = sum(result.rows_dropped.values())
    if result.rows_in != result.rows_out + result.rows_quarantined + dropped:
        raise StageFailed(
            f"source {name}: {result.rows_in:,} rows read, but {result.rows_out:,} written, "
            f"{result.rows_quarantined:,} quarantined and {dropped:,} dropped by filters",
            hint="a file changed while it was read; run again",
        )


def refuse(name: str, source: SourceConfig, result: SourceResult, reasons: list[Reason]) -> None:
    """Say which rules warn, and refuse a source for all that is wrong with it at once.

    Raises:
        DataRefused: it has no row, too many are broken, or rules do not hold.
    """
    problems, hints = refusals(f"source {name}", result.rules)
    if result.rows_out and result.empty_columns:
        _log.warning("source %s: no value in %s", name, ", ".join(result.empty_columns))
    if not result.rows_in:
        raise DataRefused(
            f"source {name}: its files hold {'headers and ' if source.has_header else ''}no row"
            if source.paths
            else f"source {name}: {source.place} has no row",
            hint="check the export",
        )
    if bad_share := _bad_share(name, source, result, reasons):
        problems.insert(0, bad_share)
        hints.insert(0, "correct the declared columns or the files, or raise max_quarantined_share")
    if problems:
        raise DataRefused("\n".join(problems), hint="; or ".join(dict.fromkeys(hints)))


def _bad_share(
    name: str, source: SourceConfig, result: SourceResult, reasons: list[Reason]
) -> str | None:
    rows, quarantined = result.rows_in, result.rows_quarantined
    share = quarantined / rows
    if result.rows_out and share <= source.max_quarantined_share:
        return None
    top = "".join(f"\n    {reason}" for reason in reasons[:5])
    top = f". Most frequent:{top}" if top else ""
    dropped = {name: count for name, count in result.rows_dropped.items() if count}
    by = "".join(f", {count:,} dropped by filter {name}" for name, count in dropped.items())
    limit = (
        f"max_quarantined_share allows {source.max_quarantined_share:.1%}"
        if result.rows_out
        else f"no row is left{by}"
    )
    return (
        f"source {name}: {quarantined:,} of {rows:,} rows ({share:.1%}) break a rule; {limit}{top}"
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
