"""Checksums: the same for every order and cut of the rows, different for every other change."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.handoff.checksum import ChecksumPart, column_checksums, differing, merge

TYPES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "int8": (pa.int8(), st.integers(-(2**7), 2**7 - 1)),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "int64": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "float64": (pa.float64(), st.floats()),
    "float32": (pa.float32(), st.floats(width=32)),
    "bool": (pa.bool_(), st.booleans()),
    "string": (pa.string(), st.text(st.characters(exclude_categories=["Cs"]))),
    "binary": (pa.binary(), st.binary()),
    "date": (pa.date32(), st.dates()),
    "timestamp": (pa.timestamp("us", "UTC"), st.datetimes(timezones=st.just(dt.timezone.utc))),
    "decimal": (pa.decimal128(38, 3), st.decimals(-(10**30), 10**30, places=3)),
    "list": (pa.list_(pa.string()), st.lists(st.none() | st.text("ab"))),
    "struct": (
        pa.struct([("x", pa.int32()), ("y", pa.string())]),
        st.fixed_dictionaries({"x": st.none() | st.integers(0, 3), "y": st.none() | st.text("ab")}),
    ),
}


def checksum(values: list[Any] | pa.Array, kind: pa.DataType | None = None) -> ChecksumPart:
    array = values if isinstance(values, pa.Array) else pa.array(values, kind)
    return column_checksums(pa.table({"c": array}))["c"]


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_order_and_cut_do_not_matter(name: str, data: st.DataObject) -> None:
    kind, values = TYPES[name]
    rows = data.draw(st.lists(st.none() | values, max_size=12))
    shuffled = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows)))
    table = pa.table({"c": pa.array(shuffled, kind)})  # sliced below: offsets are not zero
    parts = [column_checksums(table.slice(0, cut)), column_checksums(table.slice(cut))]
    whole = checksum(rows, kind)
    assert merge(*parts) == {"c": whole}
    assert (whole.rows, whole.nulls) == (len(rows), rows.count(None))
    assert ChecksumPart.parse(str(whole)) == whole


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_another_value_in_one_row_changes_the_sum(name: str, data: st.DataObject) -> None:
    kind, values = TYPES[name]
    rows = data.draw(st.lists(st.none() | values, min_size=1, max_size=8))
    place = data.draw(st.integers(0, len(rows) - 1))
    other = [*rows[:place], data.draw(st.none() | values), *rows[place + 1 :]]
    same = pa.array(rows, kind).to_pylist() == pa.array(other, kind).to_pylist()
    if same or "nan" in str([rows[place], other[place]]) or str(rows[place]) == str(other[place]):
        return
    assert checksum(rows, kind) != checksum(other, kind)


def test_values_that_look_alike_are_told_apart() -> None:
    pairs: list[tuple[Any, Any, pa.DataType]] = [
        (0.0, -0.0, pa.float64()),
        (None, "", pa.string()),
        ("ab", "ba", pa.string()),
        ("a\x00", "a", pa.string()),
        ([], [None], pa.list_(pa.int64())),
        ([None], None, pa.list_(pa.int64())),
        ([1, 2], [2, 1], pa.list_(pa.int64())),
        ({"x": None, "y": 1}, {"x": 1, "y": None}, pa.struct({"x": pa.int8(), "y": pa.int8()})),
        ({"x": None, "y": None}, None, pa.struct({"x": pa.int8(), "y": pa.int8()})),
        (Decimal("1"), Decimal("-1"), pa.decimal128(38)),
        (Decimal(2**64), Decimal(0), pa.decimal128(38)),
    ]
    for first, second, kind in pairs:
        assert checksum([first], kind) != checksum([second], kind), (first, second)


def test_lists_whose_elements_moved_between_rows_differ() -> None:
    kind = pa.list_(pa.string())
    assert checksum([["a", "b"], ["c"]], kind) != checksum([["a"], ["b", "c"]], kind)


def test_every_nan_is_one_value() -> None:
    strange = np.array([0x7FF8000000000001, 0xFFF8000000000000], np.uint64).view(np.float64)
    assert checksum(pa.array(strange)) == checksum([float("nan")] * 2, pa.float64())


def test_how_a_value_is_stored_does_not_matter() -> None:
    text = pa.array(["a", None, "bc", "a"])
    for kind in (pa.large_string(), pa.binary(), pa.dictionary(pa.int8(), pa.string())):
        assert checksum(text.cast(kind)) == checksum(text)
    whole = pa.array([1, None, -3], pa.int8())
    assert checksum(whole.cast(pa.int64())) == checksum(whole)
    seconds = pa.array([1, None], pa.timestamp("s", "UTC"))
    assert checksum(seconds.cast(pa.timestamp("us", "UTC"))) == checksum(seconds)


def test_differing_names_columns_that_are_absent_or_changed() -> None:
    found = column_checksums(pa.table({"a": [1], "b": [1]}))
    wanted = column_checksums(pa.table({"a": [1], "b": [2], "c": [3]}))
    assert list(differing(found, wanted)) == ["b", "c"]


def test_a_type_without_a_checksum_is_refused() -> None:
    with pytest.raises(TypeError, match="month_day_nano"):
        checksum([(1, 2, 3)], pa.month_day_nano_interval())
