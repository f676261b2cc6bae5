"""Counts of values: exact in any pieces and in little memory; and sums that round nothing."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dataprep import value_counts
from pipeline.dataprep.sums import GRID, exact_sum, grid_sum
from pipeline.dataprep.value_counts import ValueCounts

FINITE = st.floats(allow_nan=False, allow_infinity=False)
FEW = st.sampled_from([0.0, -0.0, 1.0, 1e300, -1e-300, 0.1, 2.5])
TEXT = st.text(alphabet=st.sampled_from("aé😀\x00z"), max_size=3)


def counted(pieces: list[list[Any]], kind: pa.DataType, folder: Path, held: int) -> list[Any]:
    counts = ValueCounts(folder, held)
    for piece in pieces:
        counts.add(pa.array(piece, kind))
    blocks = list(counts.blocks())
    assert [b.to_pylist() for b in counts.blocks()] == [b.to_pylist() for b in blocks]  # again
    return [(row["value"], row["rows"]) for block in blocks for row in block.to_pylist()]


@settings(deadline=None, max_examples=60)
@given(
    pieces=st.one_of(
        st.lists(st.lists(st.one_of(FEW, FINITE), max_size=9), max_size=9),
        st.lists(st.lists(TEXT, max_size=9), max_size=9),
    ),
    held=st.sampled_from([1, 40, 200, 1 << 20]),
)
def test_every_value_is_counted_once_in_order_whatever_the_pieces_and_the_memory(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[list[Any]], held: int
) -> None:
    every = [value for piece in pieces for value in piece]
    kind = pa.string() if every and isinstance(every[0], str) else pa.float64()
    expected = sorted(
        Counter(every).items(), key=lambda i: i[0].encode() if isinstance(i[0], str) else i[0]
    )
    assert counted(pieces, kind, tmp_path_factory.mktemp("runs"), held) == expected


def test_negative_zero_is_zero_wherever_it_comes_first(tmp_path: Path) -> None:
    for values in ([0.0, -0.0], [-0.0, 0.0]):
        ((value, rows),) = counted([values], pa.float64(), tmp_path, 1 << 20)
        assert (str(value), rows) == ("0.0", 2)


def test_memory_is_bounded_where_every_value_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(value_counts, "RUN_ROWS", 1 << 10)
    rng = np.random.default_rng(0)
    held, rows = 1 << 20, 1 << 21  # 32 MiB of values and counts, in 1 MiB
    arrow = pa.total_allocated_bytes()
    tracemalloc.start()
    counts = ValueCounts(tmp_path, held)
    peak = 0
    for _ in range(128):
        counts.add(pa.array(rng.random(rows // 128)))
        peak = max(peak, pa.total_allocated_bytes() - arrow)
    found = 0
    for block in counts.blocks():
        found += len(block)
        peak = max(peak, pa.total_allocated_bytes() - arrow)
    heap = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == rows
    assert len(list(tmp_path.iterdir())) > 10  # runs
    assert peak + heap < 8 * held  # the copies that sorting makes included


@settings(deadline=None)
@given(st.lists(st.tuples(FINITE, st.integers(0, 2**20)), max_size=30))
def test_sums_round_nothing(items: list[tuple[float, int]]) -> None:
    expected = sum((Fraction(value) * rows for value, rows in items), Fraction(0))
    values = np.array([value for value, _ in items], dtype=np.float64)
    assert exact_sum(values, np.array([n for _, n in items], dtype=np.int64)) == expected


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), max_size=30), st.randoms())
def test_sums_on_the_grid_do_not_depend_on_the_order(values: list[float], random: Any) -> None:
    whole = grid_sum(np.array(values, dtype=np.float64))
    expected = sum(round(Fraction(value) * 2**GRID) for value in values)
    random.shuffle(values)
    half = len(values) // 2
    parts = [grid_sum(np.array(part, dtype=np.float64)) for part in (values[:half], values[half:])]
    assert whole == sum(parts) == expected
