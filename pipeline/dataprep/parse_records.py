"""Records that are parsed in Python, record by record, as raw rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.cells import Cells, Parse
from pipeline.dataprep.quarantine import MAX_RAW_CHARS
from pipeline.dataprep.raw_rows import PROBLEM_TYPE

_CARRIED = ("_file", "_block", "_line", "_row")
_PROBLEM = pa.struct([("rule", pa.string()), ("column", pa.string()), ("value", pa.string())])
_BATCH_ROWS = 10_000


def parse_records(records: DataFrame, source: SourceConfig, parse: Parse) -> DataFrame:
    """Raw rows of ``records``: ``value, _rule, _file, _block, _line, _row``.

    ``_rule`` is what is wrong with a record already, or null; such a record is not parsed.
    """
    columns = list(source.columns)
    schema = ", ".join([
        "_file string, _block bigint, _line bigint, _row bigint, _item int, _raw string",
        f"_problem {PROBLEM_TYPE}",
        *(f"`{column}` string" for column in columns),
    ])  # fmt: skip

    def parse_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield from _parse_batch(batch, columns, parse)

    return records.select("value", "_rule", *_CARRIED).mapInArrow(parse_batches, schema)


def with_rules(records: DataFrame, source: SourceConfig) -> DataFrame:
    """Add ``_rule`` to lines whose text alone tells that they cannot be parsed."""
    value = F.col("value")
    is_long = F.col("_bytes") > source.max_record_mb << 20
    rule = (
        F.when(is_long, F.lit("record_too_long"))
        .when(F.contains(value, F.lit("\0")), F.lit("nul_byte"))
        # What could not be decoded became U+FFFD.
        .when(F.contains(value, F.lit("\ufffd")), F.lit("wrong_encoding"))
    )
    return records.select(*_CARRIED, rule.alias("_rule"), "value")


def _parse_batch(
    batch: pa.RecordBatch, columns: list[str], parse: Parse
) -> Iterator[pa.RecordBatch]:
    texts, rules = batch.column("value").to_pylist(), batch.column("_rule").to_pylist()
    # The raw text goes with every row of a record: cut it first.
    raw = pc.utf8_slice_codeunits(batch.column("value"), 0, MAX_RAW_CHARS)
    carried = batch.select(list(_CARRIED)).append_column("_raw", raw)
    places: list[int] = []
    rows: list[Cells] = []
    for place, (text, rule) in enumerate(zip(texts, rules, strict=True)):
        found = parse(text) if rule is None else [_broken(rule, text, len(columns))]
        for cells in found:
            places.append(place)
            rows.append(cells)
            if len(rows) == _BATCH_ROWS:
                yield _as_batch(carried, places, rows, columns)
                places, rows = [], []
    if rows:
        yield _as_batch(carried, places, rows, columns)


def _broken(rule: str, text: str, columns: int) -> Cells:
    return Cells(None, [None] * columns, rule, text[:200])


def _as_batch(
    carried: pa.RecordBatch, places: list[int], rows: list[Cells], columns: list[str]
) -> pa.RecordBatch:
    kept = carried.take(pa.array(places, pa.int32()))
    problems = [
        None if row.rule is None else {"rule": row.rule, "column": None, "value": row.found}
        for row in rows
    ]
    texts = zip(*(row.texts for row in rows), strict=True)
    arrays = [
        *(kept.column(name) for name in _CARRIED),
        pa.array([row.item for row in rows], pa.int32()),
        kept.column("_raw"),
        pa.array(problems, _PROBLEM),
        *(pa.array(cells, pa.string()) for cells in texts),
    ]
    return pa.RecordBatch.from_arrays(arrays, [*_CARRIED, "_item", "_raw", "_problem", *columns])
