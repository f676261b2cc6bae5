"""Folds by time never leak."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.preprocess import SplitConfig
from pipeline.training.folds import microseconds, time_folds

UTC = timezone.utc
DAY = 86_400_000_000

SPLITS = st.builds(
    SplitConfig,
    test_from=st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)),
    folds=st.integers(1, 6),
    validation_days=st.floats(0.01, 60),
    gap_days=st.floats(0, 10),
)


@given(SPLITS, st.lists(st.integers(-400, 40), max_size=60), st.integers(-2, 2))
def test_folds_are_disjoint_and_keep_the_gap(split: SplitConfig, days: list, off: int) -> None:
    test_from = microseconds(split.test_from)
    times = np.array([test_from + day * DAY // 3 + off for day in days], dtype=np.int64)
    folds = time_folds(times, split.periods())
    assert len(folds) == split.folds
    validated: set[int] = set()
    for (train, valid), period in zip(folds, split.periods(), strict=True):
        end, start, stop = (microseconds(instant) for instant in period)
        assert start - end == timedelta(days=split.gap_days) // timedelta(microseconds=1)
        assert not set(train) & set(valid)
        assert (times[train] < end).all()
        assert ((times[valid] >= start) & (times[valid] < stop)).all()
        assert (times[valid] < test_from).all()
        assert not validated & set(valid)
        validated |= set(valid)
        assert len(train) == (times < end).sum()
    first = microseconds(split.periods()[0][1])
    assert len(validated) == ((times >= first) & (times < test_from)).sum()


def test_periods_are_half_open() -> None:
    split = SplitConfig(test_from=datetime(2013, 11, 1), folds=1, validation_days=1.0, gap_days=1.0)
    instants = [
        datetime(2013, 10, 30, 23, 59, tzinfo=UTC),
        datetime(2013, 10, 30, tzinfo=UTC) - timedelta(microseconds=1),
        datetime(2013, 10, 30, tzinfo=UTC),
        datetime(2013, 10, 31, tzinfo=UTC),
        datetime(2013, 11, 1, tzinfo=UTC),
    ]
    times = np.array([microseconds(instant) for instant in instants])
    ((train, valid),) = time_folds(times, split.periods())
    assert train.tolist() == [1] and valid.tolist() == [3]


def test_microseconds_are_exact_far_from_1970() -> None:
    instant = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert microseconds(instant) == 253_402_300_799_999_999
