"""How far scored rows have moved from the training rows: PSI and shares of nulls.

The population stability index is ``sum((q - p) * ln(q / p))`` over bins, with p the share of
training rows and q that of scored rows in a bin; 0.1 is commonly read as a small and 0.25 as a
large shift (Siddiqi, Credit Risk Scorecards, 2006). Nulls are a bin of their own. Bins come from
the training rows alone, so counts of blocks are merged by adding them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.training.matrix import to_features

BINS = 10
TOP_CATEGORIES = 50

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ColumnProfile:
    """The bins of one column and the training rows in each.

    Attributes:
        edges: inner edges, ascending, of a numeric column; None for categories.
        categories: the most frequent ones; None for a numeric column.
        counts: training rows in each bin; the last two are other (categories not listed; unused
            for numbers) and null.
    """

    edges: tuple[float, ...] | None
    categories: tuple[str, ...] | None
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Profile:
    """The training rows' profile, by column."""

    columns: Mapping[str, ColumnProfile]

    def record(self) -> dict[str, Any]:
        return {name: asdict(column) for name, column in self.columns.items()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Profile:
        return cls({name: ColumnProfile(**_tuples(column)) for name, column in record.items()})


@dataclass(frozen=True)
class ColumnDrift:
    """How far one column has moved; None where there are no rows to compare."""

    psi: float | None
    null_share_training: float | None
    null_share_scored: float | None
    rows: int


def profile(
    table: pa.Table, numeric: Sequence[str], categorical: Sequence[str], bins: int = BINS
) -> Profile:
    """The profile of training rows: bins of equal frequency, and the most frequent categories."""
    columns: dict[str, ColumnProfile] = {}
    for name in numeric:
        values = _numbers(table, name)
        finite = values[np.isfinite(values)]
        inner = np.linspace(0, 1, bins + 1)[1:-1]
        # Observed values, so that a column of few distinct ones gets a bin for each.
        edges = np.unique(np.quantile(finite, inner, method="lower")) if len(finite) else finite
        blank = ColumnProfile(tuple(edges.tolist()), None, ())
        columns[name] = ColumnProfile(blank.edges, None, tuple(_count(table, name, blank).tolist()))
    for name in categorical:
        blank = ColumnProfile(None, _top(table, name), ())
        counts = tuple(_count(table, name, blank).tolist())
        columns[name] = ColumnProfile(None, blank.categories, counts)
    return Profile(columns)


def count_rows(table: pa.Table, training: Profile) -> dict[str, Counts]:
    """The rows of a block in each bin of the training profile, by column.

    Raises:
        DataRefused: a column of the profile is missing.
    """
    return {name: _count(table, name, column) for name, column in training.columns.items()}


def merge_counts(blocks: Sequence[Mapping[str, Counts]]) -> dict[str, Counts]:
    """The counts of many blocks; adding is all there is to it."""
    merged: dict[str, Counts] = {}
    for block in blocks:
        for name, counts in block.items():
            merged[name] = merged[name] + counts if name in merged else counts
    return merged


def drift(training: Profile, scored: Mapping[str, Counts]) -> dict[str, ColumnDrift]:
    """PSI and shares of nulls of each column, by name."""
    return {
        name: _column_drift(np.array(column.counts), scored[name])
        for name, column in training.columns.items()
    }


def psi(expected: Counts, actual: Counts) -> float:
    """Population stability index of (n_bins,) counts.

    Half a row is added to each bin, so that an empty one does not make the index infinite.
    """
    used = (expected + actual) > 0
    p, q = expected[used] + 0.5, actual[used] + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum((q - p) * np.log(q / p)))


def _column_drift(expected: Counts, actual: Counts) -> ColumnDrift:
    before, now = int(expected.sum()), int(actual.sum())
    return ColumnDrift(
        psi=psi(expected, actual) if before and now else None,
        null_share_training=int(expected[-1]) / before if before else None,
        null_share_scored=int(actual[-1]) / now if now else None,
        rows=now,
    )


def _count(table: pa.Table, name: str, column: ColumnProfile) -> Counts:
    if column.edges is not None:
        values = _numbers(table, name)
        null = np.isnan(values)
        bins = np.searchsorted(column.edges, values[~null], side="left")
        counts = np.bincount(bins, minlength=len(column.edges) + 1)
        return np.array([*counts, 0, np.count_nonzero(null)], dtype=np.int64)
    categories = column.categories or ()
    found = _frequencies(table, name)
    listed = [found.pop(category, 0) for category in categories]
    nulls = found.pop(None, 0)
    return np.array([*listed, sum(found.values()), nulls], dtype=np.int64)


def _numbers(table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    return to_features(table, numeric=[name], categorical=[])[name].to_numpy()


def _frequencies(table: pa.Table, name: str) -> dict[str | None, int]:
    values = to_features(table, numeric=[], categorical=[name])[name].to_numpy()
    counted = pc.value_counts(pa.array(values, pa.string()))
    return {item["values"]: item["counts"] for item in counted.to_pylist()}


def _top(table: pa.Table, name: str) -> tuple[str, ...]:
    found = [(count, text) for text, count in _frequencies(table, name).items() if text is not None]
    return tuple(text for _, text in sorted(found, key=lambda f: (-f[0], f[1]))[:TOP_CATEGORIES])


def _tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in record.items()}
