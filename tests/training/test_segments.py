"""Segments keep their identity."""

from __future__ import annotations

import json
from datetime import date, datetime, timezone
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DataRefused, StageFailed
from pipeline.training.segments import (
    runs_of_segments,
    segment_codes,
    segment_id,
    segment_key,
    segment_values,
)

VALUES = st.one_of(
    st.none(),
    st.text(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.dates(),
    st.datetimes(),
)

AWKWARD = [
    "a/b", "=", "..", "%2F", "🛫", "\u00e9", "e\u0301", "007", "7", None, "", "null", " ",
    "__HIVE_DEFAULT_PARTITION__", "_x", ".x", "x\ny", "a-b", "A-B", '"', "[]",
]  # fmt: skip


@given(st.lists(VALUES, min_size=1, max_size=4))
def test_a_key_gives_its_values_back_with_their_types(values: list) -> None:
    back = segment_values(segment_key(values))
    assert [(type(v), v) for v in back] == [(type(v), v) for v in values]


def test_awkward_values_have_keys_and_ids_of_their_own() -> None:
    keys = [segment_key([value]) for value in AWKWARD]
    ids = [segment_id(key) for key in keys]
    assert len(set(keys)) == len(AWKWARD)
    assert len({name.casefold() for name in ids}) == len(AWKWARD)
    for name in ids:
        assert name.isascii() and "/" not in name and name[0].isalnum() and len(name) <= 51


def test_a_key_reads_as_the_design_says() -> None:
    assert segment_key(["EWR", "UA"]) == '["EWR","UA"]'
    assert segment_key([None, 7, "é"]) == '[null,7,"é"]'
    assert json.loads(segment_key([date(2013, 1, 31)])) == [{"date": "2013-01-31"}]
    assert segment_id('["EWR","UA"]').startswith("EWR-UA-")


def test_zones_decimals_and_infinities_are_kept() -> None:
    values = (datetime(2013, 1, 1, tzinfo=timezone.utc), Decimal("1.50"), float("inf"))
    assert segment_values(segment_key(values)) == values


def test_a_nested_value_cannot_name_a_segment() -> None:
    with pytest.raises(DataRefused, match="Got list instead"):
        segment_key([["a"]])


CELLS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "", None]), st.sampled_from([1, 2, None])), max_size=40
)


@given(CELLS, st.integers(1, 5))
def test_codes_number_rows_in_any_order(rows: list, chunk: int) -> None:
    table = _table(rows, chunk)
    codes, keys = segment_codes(table, ["s", "n"])
    assert [keys[code] for code in codes] == [segment_key(row) for row in rows]
    assert keys == list(dict.fromkeys(segment_key(row) for row in rows))


@given(CELLS, st.integers(1, 5))
def test_runs_cover_a_clustered_table(rows: list, chunk: int) -> None:
    clustered = sorted(rows, key=segment_key)
    table = _table(clustered, chunk)
    runs = runs_of_segments(table, ["s", "n"])
    assert [run.key for run in runs] == list(dict.fromkeys(map(segment_key, clustered)))
    covered = [key for key, start, stop in runs for _ in range(start, stop)]
    assert covered == [segment_key(row) for row in clustered]


def test_runs_of_a_slice_and_of_dictionary_columns() -> None:
    table = pa.table({"s": pa.array(["a", "b", "b", "c"]).dictionary_encode()})
    assert [tuple(run) for run in runs_of_segments(table.slice(1), ["s"])] == [
        ('["b"]', 0, 2),
        ('["c"]', 2, 3),
    ]


def test_scattered_rows_are_refused() -> None:
    with pytest.raises(StageFailed, match='segment \\["a"\\] do not lie together'):
        runs_of_segments(pa.table({"s": ["a", "b", "a"]}), ["s"])


def _table(rows: list, chunk: int) -> pa.Table:
    schema = pa.schema([("s", pa.string()), ("n", pa.int32())])
    parts = [
        pa.table(
            {"s": [r[0] for r in rows[i : i + chunk]], "n": [r[1] for r in rows[i : i + chunk]]},
            schema=schema,
        )
        for i in range(0, len(rows), chunk)
    ]
    return pa.concat_tables(parts) if parts else schema.empty_table()
