"""Rows of CSV files that are plainly good, read by Arrow a column at a time.

Spark's expressions say what a value is and what is wrong with it, and say it row by row. Most rows
of most files are in no doubt: no quote, a text for each name, digits where a number is declared,
every value within its limits. Those are told from the others here, in a fifth of the time. Nothing
is refused here, and nothing said to be broken: a row that is not plain keeps its text, and Spark's
expressions have the say. So a value has one meaning, and what is taken here must be a part of what
they take, with the same values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.config.column import ColumnConfig
from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.headers import Layout, delimiter_of, open_raw
from pipeline.dataprep.raw_rows import IS_HEADER, REASONS_TYPE

MIN_BYTES = 16 << 20
"""Files of less are read before Python's workers have started."""

_BATCH = ("spark.sql.execution.arrow.maxRecordsPerBatch", "4000")
"""For lines of no more than ``_MAX_LINE_BYTES``; see ``session.SETTINGS``."""

_TYPES = {
    "string": pa.string(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
}
_LETTERS = {
    "int": b"0123456789-",
    "long": b"0123456789-",
    "float": b"0123456789.-",
    "double": b"0123456789.-",
    "date": b"0123456789-",
    "timestamp": b"0123456789:TZ -",
}
"""All that a plain text of a type is made of. Arrow alone also reads ``0x1F`` and ``nan``. As in a
class of a regular expression: the ``-`` is last."""
_LENGTHS = {"int": (1, 11), "long": (1, 15), "float": (1, 40), "double": (1, 40)}
_LENGTHS |= {"date": (10, 10), "timestamp": (19, 20)}
_WHOLE = ("int", "long")
_FIRST_DAY = {"date": "0001-01-01", "timestamp": "0001-01-01T00:00:00Z"}
_HEAD_BYTES = 1 << 20
MAX_QUOTED = 0.2
_CHUNK_ROWS = 1 << 15
_CHUNK_BYTES = 4 << 20
_MAX_LINE_BYTES = 1 << 16
_SMALLEST_CAST = 16

# A pattern of these means the same to Java and to Python, for texts of printable ASCII.
_ONE = r"(?:[A-Za-z0-9 _@#%:;,/='\"<>~!-]|\\[dws.\-/+*?()\[\]{}|\\])"
_CLASS = r"\[\^?(?:[A-Za-z0-9 _@#%:;,./='\"<>~!+*?-]|\\[dws.\-/\\])+\]"
_TIMES = r"(?:[?*+]|\{\d+(?:,\d*)?\})?"
_SIMPLE_PATTERN = re.compile(rf"(?:(?:{_ONE}|{_CLASS}|\.|\)){_TIMES}|\((?:\?:|(?!\?))|\|)*")
_BETWEEN_PRINTABLE = re.compile(r"[ -~]*")


def can_be_plain(source: SourceConfig, layout: Layout) -> bool:
    """Whether rows of CSV files of a layout can be read here."""
    delimiter = delimiter_of(source)
    return (
        not source.multiline
        and len(delimiter) == 1
        and delimiter.isascii()
        and len(set(source.names_in_files.values())) == len(source.columns)
        and all(name in layout.names for name in source.names_in_files.values())
        and all(map(_is_simple, source.columns.values()))
    )


def is_worth_it(source: SourceConfig, files: Sequence[str]) -> bool:
    """Whether files are so large that Python's workers are the faster way.

    And have few quotes, as far as the first one tells: rows with quotes are not plain, and would be
    looked at twice.
    """
    if sum(Path(file).stat().st_size for file in files) < MIN_BYTES:
        return False
    with open_raw(files[0]) as stream:
        head = stream.read(_HEAD_BYTES).split(b"\n")
    quoted = sum(source.quote.encode(source.encoding, "replace") in line for line in head)
    return quoted <= len(head) * MAX_QUOTED


def _is_simple(column: ColumnConfig) -> bool:
    pattern = column.pattern is None or _SIMPLE_PATTERN.fullmatch(column.pattern)
    allowed = column.type == "string" or all(
        column.type in _WHOLE and type(item) is int and abs(item) < 2**31
        for item in column.allowed or ()
    )
    others = (column.default, column.format, column.zone, column.thousands)
    return (
        column.type in _TYPES
        and column.decimal == "."
        and all(value is None for value in others)
        and bool(pattern)
        and allowed
    )


def check_plain(lines: DataFrame, source: SourceConfig, layout: Layout) -> DataFrame:
    """Lines as ``schema.enforce`` gives rows, those that are not plain taken for broken.

    Args:
        lines: ``value, _bytes, _file, _block, _line, _row``.
    """
    # What is longer is not looked at: a batch of such lines would fill the memory.
    text = F.when(F.col("_bytes") <= _MAX_LINE_BYTES, F.col("value")).alias("value")
    schema = [f"`{name}` {column.type}" for name, column in source.columns.items()]
    schema += ["_broken boolean", f"{IS_HEADER} boolean"]
    lines.sparkSession.conf.set(*_BATCH)
    read = partial(_read_all, _reader(source, layout), _checked)
    # Where a plain row stands, nobody asks.
    places = {"_file": "string", "_block": "long", "_line": "long", "_item": "int", "_row": "long"}
    return (
        lines.select(text)
        .mapInArrow(read, ", ".join(schema))
        .select(
            "*",
            *(F.lit(None).cast(kind).alias(name) for name, kind in places.items()),
            F.lit(None).cast("string").alias("_raw"),
            F.array().cast(REASONS_TYPE).alias("_reasons"),
        )
    )


def without_plain(lines: DataFrame, source: SourceConfig, layout: Layout) -> DataFrame:
    """The lines, as they are, of which ``check_plain`` does not give the values."""
    given = lines.select("value", "_bytes", "_file", "_block", "_line", "_row")
    schema = "value string, _bytes int, _file string, _block bigint, _line bigint, _row bigint"
    read = partial(_read_all, _reader(source, layout), _rest)
    return given.mapInArrow(read, schema)


def _reader(source: SourceConfig, layout: Layout) -> _Reader:
    columns = {
        layout.names.index(source.names_in_files[name]): column.model_copy(
            update={"nullable": column.nullable and name not in source.key}
        )
        for name, column in source.columns.items()
    }
    return _Reader(
        names=layout.names,
        columns=columns,
        delimiter=delimiter_of(source),
        header=layout.line,
        # Arrow drops U+FEFF where a text begins with it.
        marks=tuple({source.quote, source.escape or source.quote, *"\0\ufffd\ufeff\r\n"}),
        null_values=source.null_values,
    )


_Made = Callable[["_Reader", pa.Table, list[pa.Array], "pa.Array | None"], pa.Table]
"""What is made of lines, their values and which of them are plain; None: all."""


@dataclass(frozen=True)
class _Reader:
    """How lines are read.

    Attributes:
        columns: the declared columns by their place in a line.
        header: what is a header, if found once more.
        marks: a line with one of these is not plain.
    """

    names: tuple[str, ...]
    columns: Mapping[int, ColumnConfig]
    delimiter: str
    header: str | None
    marks: tuple[str, ...]
    null_values: tuple[str, ...]


def _read_all(
    reader: _Reader, made: _Made, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        waiting.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= _CHUNK_ROWS or size >= _CHUNK_BYTES:
            yield from _read_chunk(reader, made, waiting)
            waiting, rows, size = [], 0, 0
    if rows:
        yield from _read_chunk(reader, made, waiting)


def _read_chunk(
    reader: _Reader, made: _Made, batches: list[pa.RecordBatch]
) -> list[pa.RecordBatch]:
    chunk = pa.Table.from_batches(batches).combine_chunks()
    texts = chunk.column("value").combine_chunks()
    if "_bytes" in chunk.column_names:  # as ``check_plain`` does; what is too long is cut by now
        short = pc.less_equal(chunk.column("_bytes").combine_chunks(), _MAX_LINE_BYTES)
        texts = pc.if_else(short, texts, pa.scalar(None, pa.string()))
    candidates = _candidates(reader, texts)
    values, broken = _read_texts(reader, _filter(texts, candidates))
    plain = _both(candidates, None if broken is None else pc.invert(broken))
    if plain is not None:
        places = _places(plain)
        values = [_filter(column, _among(plain, candidates)).take(places) for column in values]
    batches_made: list[pa.RecordBatch] = made(reader, chunk, values, plain).to_batches()
    return batches_made


def _checked(
    reader: _Reader, chunk: pa.Table, values: list[pa.Array], plain: pa.Array | None
) -> pa.Table:
    none = pa.array(np.zeros(len(chunk), dtype=bool))
    is_header = none
    if plain is not None and reader.header is not None:
        is_header = pc.fill_null(pc.equal(chunk.column("value"), reader.header), False)
    broken = none if plain is None else pc.invert(plain)
    names = [str(index) for index in range(len(values) + 2)]
    return pa.Table.from_arrays([*values, broken, is_header], names)


def _rest(
    reader: _Reader, chunk: pa.Table, values: list[pa.Array], plain: pa.Array | None
) -> pa.Table:
    return chunk.slice(0, 0) if plain is None else chunk.filter(pc.invert(plain))


def _filter(column: pa.Array, mask: pa.Array | None) -> pa.Array:
    return column if mask is None else column.filter(mask)


def _both(first: pa.Array | None, second: pa.Array | None) -> pa.Array | None:
    """Rows of ``first`` that are in ``second`` too, which is as long as ``first`` has rows."""
    if first is None or second is None:
        return first if second is None else second
    return pc.fill_null(second.take(_places(first)), False)


def _among(plain: pa.Array, candidates: pa.Array | None) -> pa.Array:
    return plain if candidates is None else plain.filter(candidates)


def _places(mask: pa.Array) -> pa.Array:
    """For each row its place among those of ``mask``, or null."""
    numbers = pc.subtract(pc.cumulative_sum(pc.cast(mask, pa.int32())), 1)
    return pc.if_else(mask, numbers, pa.scalar(None, pa.int32()))


def _candidates(reader: _Reader, texts: pa.Array) -> pa.Array | None:
    """Lines that can be cut at their delimiters; None: all."""
    data = _bytes(texts)
    bad = [texts.is_null()] if texts.null_count else []
    bad += [
        pc.match_substring(texts, mark) for mark in reader.marks if data.find(mark.encode()) >= 0
    ]
    if len(data) > _MAX_LINE_BYTES:
        lengths = pc.binary_length(texts)
        if (pc.max(lengths).as_py() or 0) > _MAX_LINE_BYTES:
            bad.append(pc.greater(lengths, _MAX_LINE_BYTES))
    bad = [pc.fill_null(mask, True) for mask in bad]
    if reader.header is not None and data.find(reader.header.encode()) >= 0:
        bad.append(pc.fill_null(pc.equal(texts, reader.header), True))
    return pc.invert(_any(bad)) if bad else None


def _any(masks: Sequence[pa.Array]) -> pa.Array:
    found = masks[0]
    for mask in masks[1:]:
        found = pc.or_(found, mask)
    return found


def _bytes(texts: pa.Array) -> bytes:
    """The bytes of all texts, one after the other."""
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return b""
    ends = memoryview(offsets).cast("i")
    return bytes(memoryview(data)[ends[texts.offset] : ends[texts.offset + len(texts)]])


def _read_texts(reader: _Reader, texts: pa.Array) -> tuple[list[pa.Array], pa.Array | None]:
    """The values of the declared columns, and which rows are not plain; None: all are."""
    if not len(texts):
        return [pa.nulls(0, _TYPES[c.type]) for c in reader.columns.values()], None
    cut = None
    try:
        cells = _cut(reader, texts)
    except pa.ArrowInvalid:
        delimiters = pc.count_substring(texts, reader.delimiter)
        cut = pc.equal(delimiters, len(reader.names) - 1)
        if not pc.any(cut).as_py():
            nothing = [pa.nulls(len(texts), _TYPES[c.type]) for c in reader.columns.values()]
            return nothing, pa.array([True] * len(texts))
        cells = _cut(reader, texts.filter(cut))
    values, bad = [], []
    for column, cell in zip(reader.columns.values(), cells, strict=True):
        value, broken = _read_cells(column, cell)
        values.append(value)
        bad += broken
    if cut is None:
        return values, _any(bad) if bad else None
    places = _places(cut)
    fits = pc.invert(_any(bad)).take(places) if bad else cut
    return [value.take(places) for value in values], pc.invert(pc.fill_null(fits, False))


def _cut(reader: _Reader, texts: pa.Array) -> list[pa.Array]:
    """The texts of the declared columns.

    Raises:
        ArrowInvalid: a line has not one text for each name.
    """
    one = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts)
    joined = pc.binary_join(one, "\n")[0].as_buffer()
    names = [str(index) for index in range(len(reader.names))]
    wanted = [str(index) for index in reader.columns]
    table = pa_csv.read_csv(
        pa.BufferReader(joined),
        pa_csv.ReadOptions(use_threads=False, block_size=joined.size + 1, column_names=names),
        pa_csv.ParseOptions(
            delimiter=reader.delimiter,
            quote_char=False,
            double_quote=False,
            ignore_empty_lines=False,
        ),
        pa_csv.ConvertOptions(
            check_utf8=False,
            column_types=dict.fromkeys(wanted, pa.string()),
            include_columns=wanted,
            null_values=list(reader.null_values),
            strings_can_be_null=bool(reader.null_values),
        ),
    )
    return [column.combine_chunks() for column in table.columns]


def _read_cells(column: ColumnConfig, texts: pa.Array) -> tuple[pa.Array, list[pa.Array]]:
    """Values, and masks of rows that are not plain."""
    bad = []
    if texts.null_count and not column.nullable:
        bad.append(texts.is_null())
    if column.type == "string":
        values = texts
    else:
        texts, doubtful = _without_doubtful(column.type, texts)
        if column.type == "timestamp":  # without an offset it is a time of UTC
            has_offset = pc.equal(pc.binary_length(texts), 20)
            texts = pc.if_else(has_offset, texts, pc.binary_join_element_wise(texts, "Z", ""))
        values, failed = _cast(texts, column.type)
        bad += doubtful + failed
        if column.type in _FIRST_DAY:
            first = pa.scalar(_FIRST_DAY[column.type]).cast(values.type)
            bad += _where(pc.less(values, first))
        if column.type in ("float", "double"):
            bad += _where(pc.invert(pc.is_finite(values)))
    if column.min is not None or column.max is not None:
        bad += _beyond(column, values)
    if column.allowed is not None:
        allowed = pa.array([str(item) for item in column.allowed]).cast(values.type)
        known = pc.is_in(values, allowed)
        bad += _where(pc.and_(pc.invert(known), values.is_valid()))
    if column.pattern is not None:
        bad += _not_matching(column.pattern, values)
    return values, bad


def _without_doubtful(kind: str, texts: pa.Array) -> tuple[pa.Array, list[pa.Array]]:
    """Texts with null for those that are longer or of other letters than plain ones."""
    bad = []
    letters = _LETTERS[kind]
    if _bytes(texts).translate(None, letters):
        bad.append(pc.match_substring_regex(texts, f"[^{letters.decode()}]"))
    lengths = pc.min_max(pc.binary_length(texts)).as_py()
    least, most = _LENGTHS[kind]
    if lengths["min"] is not None and not least <= lengths["min"] <= lengths["max"] <= most:
        length = pc.binary_length(texts)
        bad.append(pc.or_(pc.less(length, least), pc.greater(length, most)))
    if not bad:
        return texts, []
    doubtful = pc.fill_null(_any(bad), False)
    return pc.if_else(doubtful, pa.scalar(None, pa.string()), texts), [doubtful]


def _cast(texts: pa.Array, kind: str) -> tuple[pa.Array, list[pa.Array]]:
    """Values, and a mask of rows among which are texts that are none."""
    pieces = list(_cast_pieces(texts, _TYPES[kind]))
    values = pa.concat_arrays([piece for piece, _ in pieces])
    if all(fits for _, fits in pieces):
        return values, []
    return values, [pa.concat_arrays([pa.array([not fits] * len(p)) for p, fits in pieces])]


def _cast_pieces(texts: pa.Array, type_: pa.DataType) -> Iterator[tuple[pa.Array, bool]]:
    try:
        yield texts.cast(type_), True
    except pa.ArrowInvalid:
        if len(texts) <= _SMALLEST_CAST:
            yield pa.nulls(len(texts), type_), False
            return
        half = len(texts) // 2
        yield from _cast_pieces(texts[:half], type_)
        yield from _cast_pieces(texts[half:], type_)


def _where(mask: pa.Array) -> list[pa.Array]:
    """The mask, if it is anywhere true, without nulls."""
    return [pc.fill_null(mask, False)] if pc.any(mask).as_py() else []


def _beyond(column: ColumnConfig, values: pa.Array) -> list[pa.Array]:
    found = pc.min_max(values).as_py()
    bad: list[pa.Array] = []
    if found["min"] is None:
        return bad
    if column.min is not None and found["min"] < column.min:
        bad.append(pc.less(values, pa.scalar(float(column.min))))
    if column.max is not None and found["max"] > column.max:
        bad.append(pc.greater(values, pa.scalar(float(column.max))))
    return [pc.fill_null(mask, False) for mask in bad]


def _not_matching(pattern: str, values: pa.Array) -> list[pa.Array]:
    """Values that do not match, or that a pattern may not mean the same for."""
    compiled = re.compile(pattern, re.ASCII)
    different = pc.unique(values).drop_null()
    matching = [
        text
        for text in different.to_pylist()
        if compiled.fullmatch(text) and _BETWEEN_PRINTABLE.fullmatch(text)
    ]
    if len(matching) == len(different):
        return []
    known = pc.is_in(values, pa.array(matching, pa.string()))
    return _where(pc.and_(pc.invert(known), values.is_valid()))
