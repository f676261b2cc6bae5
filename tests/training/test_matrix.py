"""Arrow tables become plain NumPy and Python values."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DataRefused
from pipeline.training.digest import digest, row_hasher
from pipeline.training.matrix import has_target, to_features, to_matrix

TABLE = pa.table(
    {
        "x": pa.array([1.5, None, 3.0]),
        "i": pa.array([1, None, 3], pa.int64()),
        "b": [True, False, None],
        "m": pa.array([Decimal("1.5"), None, Decimal("2.5")]),
        "n": pa.nulls(3),
        "c": ["u", None, "v"],
        "k": pa.array([4, 5, None], pa.int16()),
        "y": [1.0, 2.0, 3.0],
        "t": pa.array([datetime(2013, 1, 1, tzinfo=timezone.utc)] * 3, pa.timestamp("us", "UTC")),
    }
)


def test_numbers_are_float64_and_categories_are_text_or_none() -> None:
    matrix = to_matrix(
        TABLE, numeric=["x", "i", "b", "m", "n"], categorical=["c", "k"], target="y", time="t"
    )
    assert {str(matrix.X[n].dtype) for n in "xibmn"} == {"float64"}
    assert matrix.X["c"].tolist() == ["u", None, "v"]
    assert matrix.X["k"].tolist() == ["4", "5", None]
    np.testing.assert_array_equal(matrix.X["m"], [1.5, np.nan, 2.5])
    np.testing.assert_array_equal(matrix.X["b"], [1, 0, np.nan])
    assert matrix.X["n"].isna().all()
    assert matrix.time.tolist() == [1_356_998_400_000_000] * 3
    assert matrix.rows(1, 3).X["c"].tolist() == [None, "v"]


def test_numbers_without_nulls_are_not_copied() -> None:
    values = np.arange(1000.0)
    X = to_features(pa.table({"x": values}).slice(10, 900), numeric=["x"], categorical=[])
    assert np.shares_memory(X["x"].to_numpy(), values)


def test_a_missing_column_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(DataRefused, match="'xx' is missing") as caught:
        to_features(
            TABLE.rename_columns([*"xibmnck", "target", "t"]), numeric=["xx"], categorical=[]
        )
    with pytest.raises(DataRefused) as caught:
        to_features(
            TABLE.rename_columns([*"xibmnck", "target", "t"]), numeric=["tarqet"], categorical=[]
        )
    assert "Did you mean 'target'" in str(caught.value)


def test_text_where_a_number_is_needed_is_refused() -> None:
    with pytest.raises(DataRefused, match="'c' must hold numbers"):
        to_features(TABLE, numeric=["c"], categorical=[])


def test_a_null_target_is_refused_and_can_be_dropped() -> None:
    with pytest.raises(DataRefused, match="'x' must have no nulls"):
        to_matrix(TABLE, numeric=["y"], categorical=[], target="x", time="t")
    assert has_target(TABLE, "x").tolist() == [True, False, True]
    assert has_target(TABLE, "y").all()


@given(
    st.lists(st.tuples(st.none() | st.text(), st.none() | st.floats(allow_nan=False)), min_size=1),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_a_digest_depends_on_values_not_on_layout(rows: list, chunk: int, lead: int) -> None:
    table = _two_columns(rows)
    chunked = pa.concat_tables([table.slice(i, chunk) for i in range(0, len(rows), chunk)])
    shifted = pa.concat_tables([_two_columns([("pad", 0.5)] * lead), table]).combine_chunks()
    expected = digest(table, ["s", "x"])
    assert digest(chunked, ["s", "x"]) == expected
    assert digest(shifted.slice(lead), ["s", "x"]) == expected


@given(
    st.lists(st.tuples(st.none() | st.text(), st.none() | st.floats(allow_nan=False)), min_size=1),
    st.integers(1, 4),
    st.data(),
)
def test_a_range_of_rows_is_hashed_as_if_it_stood_alone(
    rows: list, chunk: int, data: st.DataObject
) -> None:
    table = _two_columns(rows)
    chunked = pa.concat_tables([table.slice(i, chunk) for i in range(0, len(rows), chunk)])
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    alone = digest(table.slice(start, stop - start).combine_chunks(), ["s", "x"])
    assert row_hasher(chunked, ["s", "x"])(start, stop).hex() == alone


@given(st.lists(st.text() | st.none(), min_size=1), st.data())
def test_a_digest_changes_with_any_value(texts: list, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(texts) - 1))
    other = data.draw((st.text() | st.none()).filter(lambda text: text != texts[at]))
    changed = [*texts[:at], other, *texts[at + 1 :]]
    before, after = (pa.table({"s": pa.array(v, pa.string())}) for v in (texts, changed))
    assert digest(before, ["s"]) != digest(after, ["s"])


INSTANTS = st.none() | st.integers(-(2**60), 2**60)


@given(st.lists(INSTANTS, min_size=1), st.integers(1, 4), st.data())
def test_a_digest_of_times_is_of_their_values_nulls_and_unit(
    times: list, chunk: int, data: st.DataObject
) -> None:
    def table(values: list, unit: str = "us") -> pa.Table:
        return pa.table({"t": pa.array(values, pa.timestamp(unit, "UTC"))})

    whole = table(times)
    chunked = pa.concat_tables([whole.slice(i, chunk) for i in range(0, len(times), chunk)])
    at = data.draw(st.integers(0, len(times) - 1))
    other = data.draw(INSTANTS.filter(lambda value: value != times[at]))
    assert digest(chunked, ["t"]) == digest(whole, ["t"])
    assert digest(table([*times[:at], other, *times[at + 1 :]]), ["t"]) != digest(whole, ["t"])
    assert digest(table(times, "ns"), ["t"]) != digest(whole, ["t"])


def _two_columns(rows: list) -> pa.Table:
    return pa.table(
        {
            "s": pa.array([row[0] for row in rows], pa.string()),
            "x": pa.array([row[1] for row in rows], pa.float64()),
        }
    )
