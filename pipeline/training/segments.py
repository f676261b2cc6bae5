"""What a segment is called: a lossless key, a name that is safe for files, and where its rows lie.

A key is a JSON array of the segment columns' values, such as ``["EWR","UA"]``. It keeps apart what
folder names conflate: null and the empty string, ``007`` and ``7``, and the composed (NFC) and
decomposed (NFD) form of one letter. Values that JSON has no type for are tagged, for example
``{"date":"2013-01-31"}``.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataRefused, StageFailed

SegmentValue = str | int | float | bool | None | date | datetime | Decimal

ALL = "*"
"""Stands for all segments together. No key can equal it, because keys are JSON arrays."""

_SLUG_LENGTH = 40


class Run(NamedTuple):
    """The rows ``start`` to ``stop`` (exclusive) of a clustered table: one segment."""

    key: str
    start: int
    stop: int


def segment_key(values: Sequence[SegmentValue]) -> str:
    """The lossless text of a segment.

    Raises:
        DataRefused: a value has a type that cannot name a segment.
    """
    coded = [_to_json(value) for value in values]
    return json.dumps(coded, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def group_key(columns: Sequence[str], values: Sequence[SegmentValue]) -> str:
    """The lossless text of a group of segments that agree in some columns.

    A JSON object, ``{"carrier":"UA"}``, so it equals no segment's key and no other level's.
    """
    coded = {name: _to_json(value) for name, value in zip(columns, values, strict=True)}
    return json.dumps(coded, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def is_group(key: str) -> bool:
    """Whether a key is of :func:`group_key`."""
    return key.startswith("{")


def segment_values(key: str) -> tuple[SegmentValue, ...]:
    """The values that :func:`segment_key` or :func:`group_key` made ``key`` from."""
    coded = json.loads(key)
    return tuple(map(_from_json, coded.values() if is_group(key) else coded))


def segment_id(key: str) -> str:
    """A name for files and logs: what is readable of the values, then 10 hex digits of the key.

    The digits tell apart segments whose readable parts are equal, on file systems that fold case
    or Unicode forms too.
    """
    text = key if key == ALL else "-".join(_readable(value) for value in segment_values(key))
    slug = re.sub(r"[^A-Za-z0-9]+", "-", text)[:_SLUG_LENGTH].strip("-") or "segment"
    return f"{slug}-{hashlib.sha256(key.encode()).hexdigest()[:10]}"


def segment_label(key: str) -> str:
    """A segment's name for people: ``EWR · UA``; a group's is ``carrier = UA``."""
    values = [_readable(value) for value in segment_values(key)]
    if is_group(key):
        values = [f"{name} = {value}" for name, value in zip(json.loads(key), values, strict=True)]
    return " · ".join(values)


def segment_codes(
    table: pa.Table, columns: Sequence[str]
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Number the segments of a table in any row order.

    Returns:
        codes: (n_rows,) the position in ``keys`` of each row's segment.
        keys: (n_segments,) in the order of their first rows.
    """
    combined = np.zeros(table.num_rows, dtype=np.int64)
    for name in columns:
        codes, n_values = _column_codes(table.column(name))
        # Renumbering after each column keeps the product of cardinalities within 64 bits.
        combined = np.unique(combined * (n_values + 1) + codes, return_inverse=True)[1]
    _, first, inverse = np.unique(combined, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[inverse].astype(np.int64), _keys_at(table, columns, first[order])


def runs_of_segments(table: pa.Table, columns: Sequence[str]) -> list[Run]:
    """Where each segment of a table clustered by segment begins and ends.

    Raises:
        StageFailed: the rows of a segment do not lie together.
    """
    if table.num_rows == 0:
        return []
    changed = np.zeros(table.num_rows, dtype=bool)
    changed[0] = True
    for name in columns:
        codes, _ = _column_codes(table.column(name))
        changed[1:] |= codes[1:] != codes[:-1]
    starts = np.flatnonzero(changed)
    stops = np.append(starts[1:], table.num_rows)
    keys = _keys_at(table, columns, starts)
    _refuse_scattered(keys)
    return [Run(*run) for run in zip(keys, starts.tolist(), stops.tolist(), strict=True)]


def _column_codes(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], int]:
    """(n_rows,) codes from 0 on, where 0 is null, and the number of codes."""
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column)
    unified = column.unify_dictionaries()
    if unified.num_chunks == 0:
        return np.zeros(0, dtype=np.int64), 1
    indices = [pc.fill_null(chunk.indices.cast(pa.int64()), -1) for chunk in unified.chunks]
    codes = np.concatenate([np.asarray(part) for part in indices]) + 1
    return codes, len(unified.chunk(0).dictionary) + 1


def _keys_at(table: pa.Table, columns: Sequence[str], rows: npt.NDArray[np.int64]) -> list[str]:
    picked = table.select(list(columns)).take(pa.array(rows))
    lists = [picked.column(name).to_pylist() for name in columns]
    return [segment_key(values) for values in zip(*lists, strict=True)]


def _refuse_scattered(keys: list[str]) -> None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise StageFailed(
                f"The rows of segment {key} do not lie together in the feature table.",
                hint="Run preprocess again: it writes the rows clustered by segment.",
            )
        seen.add(key)


def _to_json(value: SegmentValue) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, (datetime, date)):
        return {type(value).__name__: value.isoformat()}
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    raise DataRefused(
        f"A segment value must be text, a number, a boolean, a date, a time or null. "
        f"Got {type(value).__name__} instead.",
        hint="Choose other columns in preprocess.segment, or cast them in the SQL.",
    )


def _from_json(value: Any) -> SegmentValue:
    if not isinstance(value, dict):
        return cast(SegmentValue, value)  # text, a number, a boolean or null, as JSON has them
    ((kind, text),) = value.items()
    read: dict[str, Callable[[str], SegmentValue]] = {
        "float": float,
        "date": date.fromisoformat,
        "datetime": datetime.fromisoformat,
        "decimal": Decimal,
    }
    return read[kind](text)


def _readable(value: SegmentValue) -> str:
    return "null" if value is None else str(value)
