"""Which rows are the test, and how many folds the others make."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.starter.column import Column

TEST_SHARE = 0.2
_FOLDS = 3
_FEW_ROWS = 500
_DAY = timedelta(days=1)


def split_of(time: Column | None, rows: int) -> tuple[dict[str, Any], str]:
    """Settings of ``preprocess.split``, and what they mean.

    By time the last fifth of the rows is the test, and the folds validate on the second half of
    what comes before. Without a time, or with too few of them, rows are drawn by a hash of their
    key, which keeps each where it is when others are added.
    """
    folds = _FOLDS if rows >= _FEW_ROWS else 2
    by_time = _by_time(time, folds) if time is not None else None
    if by_time is not None and time is not None:
        return by_time, f"from {by_time['test_from']} on, the last fifth of the rows by {time.name}"
    drawn = {"kind": "hash", "share": TEST_SHARE}
    return (
        {"test": drawn, "kind": "stratified", "folds": folds},
        "a fifth of the rows, drawn by a hash of their key",
    )


def _by_time(time: Column, folds: int) -> dict[str, Any] | None:
    moments = time.values.cast(pa.timestamp("us")).drop_null().sort()
    border = moments[int(len(moments) * (1 - TEST_SHARE))].as_py()
    first, last = moments[0].as_py(), moments[-1].as_py()
    if pc.sum(pc.less(moments, pa.scalar(border))).as_py() < len(moments) / 2 or border > last:
        return None
    days = (border - first) / _DAY
    return {
        "test_from": border.replace(tzinfo=timezone.utc).isoformat(),
        "folds": folds,
        "validation_days": _short(days / 2 / folds),
        "gap_days": 0,
    }


def _short(days: float) -> float:
    """Whole days where there are many; else four digits."""
    return float(int(days)) if days >= 10 else float(f"{days:.4g}")
