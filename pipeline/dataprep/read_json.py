"""JSON files as raw rows: a record a line, or documents and arrays (``multiline``)."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline.config.field_path import Step
from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.drift import NO_DRIFT, FileDrift, check_names, sum_drift
from pipeline.dataprep.headers import (
    MAX_HEADER_BYTES,
    check_encoding,
    group_files,
    open_raw,
    read_head,
)
from pipeline.dataprep.json_cells import JsonParser, load_record
from pipeline.dataprep.json_documents import UNCLOSED, Piece, split_documents
from pipeline.dataprep.parse_records import parse_records, with_rules
from pipeline.dataprep.raw_rows import RawRows, union
from pipeline.dataprep.read_lines import number_lines, read_lines
from pipeline.errors import DataRefused

_CHUNK = 1 << 20
_MAX_TASKS = 64


@dataclass(frozen=True)
class _Head:
    encoding: str
    drift: FileDrift


def open_json(
    spark: SparkSession, source: SourceConfig, name: str, files: Sequence[str]
) -> RawRows:
    """Raw rows of JSON files; a record that cannot be read is a row with a reason.

    Columns are those of the records in the first MiB of each file: a declared path that none of
    them has is a missing column, and a key that is not declared an extra one.

    Raises:
        DataRefused: a file is empty, is not JSON, cannot be decoded, or its records lack a
            declared column or have others where that is refused.
        ConfigError: the encoding is not known.
    """
    check_encoding(name, source)
    heads = group_files(name, files, lambda file: _look(file, source))
    by_encoding: dict[str, list[str]] = {}
    for head, group in heads.items():
        by_encoding.setdefault(head.encoding, []).extend(group)
    read = _document_records if source.multiline else _line_records
    parser = JsonParser.of(source)
    frames = [
        parse_records(read(spark, source, encoding, group), source, parser)
        for encoding, group in by_encoding.items()
    ]
    drift = sum_drift((head.drift, len(group)) for head, group in heads.items())
    return RawRows(union(frames), drift)


def _line_records(
    spark: SparkSession, source: SourceConfig, encoding: str, files: Sequence[str]
) -> DataFrame:
    lines = read_lines(spark, encoding, files, source.max_record_mb << 20)
    lines = lines.filter(F.btrim("value", F.lit(" \t")) != "")
    return with_rules(number_lines(lines), source)


def _document_records(
    spark: SparkSession, source: SourceConfig, encoding: str, files: Sequence[str]
) -> DataFrame:
    """Records that Python cuts out of the files, one file after another, in bounded memory."""
    schema = "value string, _rule string, _file string, _block bigint, _line bigint, _row bigint"
    max_chars = source.max_record_mb << 20

    def cut(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for path in batch.column("path").to_pylist():
                with open_raw(path) as stream:
                    chunks = _chunks(stream, encoding)
                    yield from _batches(path, split_documents(chunks, max_chars))

    paths = spark.createDataFrame([(file,) for file in files], "path string")
    return paths.repartition(min(len(files), _MAX_TASKS)).mapInArrow(cut, schema)


def _chunks(stream: Any, encoding: str) -> Iterator[str]:
    text = io.TextIOWrapper(stream, encoding=encoding, errors="replace", newline="")
    first = text.read(_CHUNK).removeprefix("\ufeff")
    return chain([first], iter(lambda: text.read(_CHUNK), ""))


def _batches(path: str, pieces: Iterable[Piece]) -> Iterator[pa.RecordBatch]:
    """Batches of about a MiB: of few long records, or of many short ones."""
    kept: list[Piece] = []
    chars = rows = 0
    for piece in pieces:
        kept.append(_checked(piece))
        chars += len(piece.text)
        if chars > _CHUNK or len(kept) == 1000:
            yield _as_batch(path, kept, rows)
            rows += len(kept)
            kept, chars = [], 0
    if kept:
        yield _as_batch(path, kept, rows)


def _checked(piece: Piece) -> Piece:
    if piece.rule is None and "\0" in piece.text:
        return Piece(piece.text, "nul_byte")
    if piece.rule is None and "\ufffd" in piece.text:
        return Piece(piece.text, "wrong_encoding")
    return piece


def _as_batch(path: str, pieces: list[Piece], before: int) -> pa.RecordBatch:
    numbers = pa.array(range(before + 1, before + len(pieces) + 1), pa.int64())
    return pa.RecordBatch.from_pydict({
        "value": pa.array([piece.text for piece in pieces], pa.string()),
        "_rule": pa.array([piece.rule for piece in pieces], pa.string()),
        "_file": pa.array([Path(path).as_uri()] * len(pieces), pa.string()),
        "_block": pa.array([0] * len(pieces), pa.int64()),
        "_line": numbers,
        "_row": numbers,
    })  # fmt: skip


def _look(path: str, source: SourceConfig) -> _Head:
    encoding, text = read_head(path, source)
    records, is_whole = _records_in(text, source)
    objects = [record for record in records if isinstance(record, dict)]
    if objects:
        return _Head(encoding, _compare(path, objects, source))
    if text.strip() and is_whole and "".join(text.split()) != "[]":
        _refuse_no_record(path, text, source)
    return _Head(encoding, NO_DRIFT)


def _records_in(text: str, source: SourceConfig) -> tuple[list[Any], bool]:
    """The records at the beginning of a file, and whether one must be among them."""
    if source.multiline:
        pieces = list(split_documents([text], MAX_HEADER_BYTES))
        texts = [piece.text for piece in pieces if piece.rule != UNCLOSED]
    else:
        texts = [line for line in text.split("\n") if line.strip()]
    is_cut = len(text) >= MAX_HEADER_BYTES // 4  # characters, of a MiB of bytes
    records = []
    for piece in texts:
        try:
            records.append(load_record(piece))
        except (ValueError, RecursionError):
            continue  # a row with a reason later; or cut by the end of the head
    return records, not is_cut or len(texts) > 1


def _refuse_no_record(path: str, text: str, source: SourceConfig) -> None:
    shown = text.lstrip()[:80]
    hint = "fix its name or its format"
    if not source.multiline and shown[0] in "[{":
        hint = "set multiline: true if records go over lines or stand in an array"
    raise DataRefused(f"{path} holds no JSON record: it begins with {shown!r}", hint=hint)


def _compare(path: str, records: list[dict[str, Any]], source: SourceConfig) -> FileDrift:
    """The keys of records against the declared columns; their order means nothing."""
    keys = dict.fromkeys(key for record in records for key in record)
    tops = dict.fromkeys(source.top_name(column) for column in source.columns)
    array = [str(step) for step in source.array[:1]]
    others = {key.casefold(): key for key in keys if key not in tops and key not in array}
    missing = [
        column
        for column in source.columns
        if not any(_has(record, source.steps_to(column), source.array) for record in records)
    ]
    names = [*(name for name in tops if name in keys), *others.values()]
    return check_names(path, names, source, missing=missing)


def _has(record: Any, path: tuple[Step, ...], array: tuple[Step, ...]) -> bool:
    """Whether a record has something at a path, be it null; in any element of the array."""
    here = [record]
    for depth, step in enumerate(path, 1):
        here = [found[0] for value in here if (found := _step(value, step))]
        if path[:depth] == array:
            here = [item for value in here if isinstance(value, list) for item in value]
    return bool(here)


def _step(value: Any, step: Step) -> list[Any]:
    if isinstance(step, str):
        return [value[step]] if isinstance(value, dict) and step in value else []
    return [value[step]] if isinstance(value, list) and step < len(value) else []
