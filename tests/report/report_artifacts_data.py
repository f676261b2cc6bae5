"""Artifacts of the two stages that handle data."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Json = dict[str, Any]
_BEGIN = datetime(2013, 1, 1, tzinfo=timezone.utc)


def ingest(folder: Path, mark: str) -> Json:
    reason = pa.struct([("rule", pa.string()), ("column", pa.string()), ("value", pa.string())])
    raw = f"2013,1,1,,abc,{mark}," + "x" * 5_000
    rows = [
        {
            "source": "flights", "file": "/data/raw/flights.csv" + mark, "row": 1_000 + n,
            "raw": raw, "reasons": [{"rule": "type", "column": "dep_time", "value": "abc" + mark}],
        }
        for n in range(9)
    ]  # fmt: skip
    schema = pa.schema([
        ("source", pa.string()), ("file", pa.string()), ("row", pa.int64()),
        ("raw", pa.string()), ("reasons", pa.list_(reason)),
    ])  # fmt: skip
    (folder / "quarantine" / "flights").mkdir(parents=True)
    path = folder / "quarantine" / "flights" / "part-0.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    counted = {"type:dep_time" + mark: 21, "unique:key": 8, "range:distance": 3}
    sizes = {"flights": 336_776, "weather": 26_115, "planes": 3_322, "airlines": 16}
    return {"sources": {
        name: {
            "files": [f"/data/raw/{name}.csv"], "rows_in": rows_in,
            "rows_out": rows_in - (132 if name == "flights" else 0),
            "rows_quarantined": 32 if name == "flights" else 0,
            "reasons": counted if name == "flights" else {},
            "rows_dropped": {"scheduled" + mark: 100, "known": 0} if name == "flights" else {},
            "rules": _rules(mark) if name == "flights" else [],
            "description": f"All {name} of 2013{mark}" if name == "flights" else None,
            "drift": {"extra": {"gate" + mark: 2}, "missing": {"speed": 1}, "retyped": {},
                      "reordered": 1} if name == "planes" else {},
        }
        for name, rows_in in sizes.items()
    }}  # fmt: skip


def _rules(mark: str) -> list[Json]:
    example = {"file": "/data/raw/flights.csv" + mark, "row": 17, "value": "517,455" + mark}
    rows: Json = {"checked": 336_744, "compared_with": None}
    share = 21 / 336_744
    table: Json = rows | {"broken": None, "share": None, "example": None}
    return [
        rows | {
            "name": "duplicate_key", "kind": "unique", "level": "quarantine", "broken": 0,
            "share": 0.0, "threshold": {}, "passed": True, "found": "0 of 336,744 rows break it",
            "example": None,
        },
        rows | {
            "name": "leaves_first" + mark, "kind": "condition", "level": "quarantine",
            "broken": 21, "share": share, "threshold": {"max_share": 0.01}, "passed": True,
            "found": "21 of 336,744 rows (0.01%) break it", "example": example,
        },
        rows | {
            "name": "known_plane", "kind": "foreign_key", "level": "warn", "broken": 52_606,
            "share": 0.156, "threshold": {"max_share": 0.1, "max_rows": 60_000}, "passed": False,
            "found": "52,606 of 336,744 rows (15.62%) break it", "example": example,
        },
        table | {
            "name": "up_to_date", "kind": "fresh", "level": "refuse", "passed": True,
            "threshold": {"max_age_hours": 24.0, "as_of": "2014-01-01T00:00:00+00:00" + mark},
            "found": "the newest time_hour is 2013-12-31T23:00:00+00:00, 1.0 h before as_of",
        },
        table | {
            "name": "like_before", "kind": "like_last_run", "level": "refuse", "passed": True,
            "threshold": {"rows": 0.5, "mean": 0.25, "null_share": 0.02},
            "found": "rows 336,744, was 330,012 (+2.0%); mean 12.6, was 12.1 (0.01 standard "
            "deviations); null share 2.45%, was 2.40%",
        },
    ]  # fmt: skip


def _side(values: np.ndarray[Any, np.dtype[np.float64]]) -> Json:
    counts, edges = np.histogram(values, 24)
    q = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
    named = dict(zip(("q05", "q25", "q50", "q75", "q95"), map(float, q), strict=True))
    return {
        "count": len(values) * 50, "nulls": 1_234, "distinct": 900, "mean": float(values.mean()),
        "std": float(values.std()), "min": float(values.min()), "max": float(values.max()),
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()}, **named,
    }  # fmt: skip


def preprocess(segments: int, mark: str) -> Json:
    rng = np.random.default_rng(0)
    shapes = {
        "arr_delay": rng.gamma(1.4, 28, 4_000) - 35, "distance": rng.gamma(3, 350, 4_000),
        "wind_speed": rng.gamma(4, 2.6, 4_000), "sched_hour": rng.normal(13, 4.6, 4_000),
        "origin_delay_2h" + mark: rng.gamma(0.8, 18, 4_000), "seats": rng.normal(150, 50, 4_000),
    }  # fmt: skip
    profile: Json = {
        name: {
            "role": "target" if name == "arr_delay" else "feature", "type": "double",
            "train": _side(values), "test": _side(values[:800] * 1.06 + values.std() / 6),
        }
        for name, values in shapes.items()
    }  # fmt: skip
    top = [["UA" + mark, 48_000], ["B6", 44_800], ["EV", 42_600], ["DL", 39_400], [None, 26_500]]
    side = {"count": 274_461, "nulls": 0, "distinct": 12, "top": top}
    profile["carrier"] = {"role": "segment", "type": "string", "train": side, "test": side}
    end = _BEGIN + timedelta(days=304)
    folds = [
        {
            "train_until": (end - timedelta(days=30 * k + 1)).isoformat(),
            "valid_from": (end - timedelta(days=30 * k)).isoformat(),
            "valid_until": (end - timedelta(days=30 * (k - 1))).isoformat(),
            "rows_train": 274_461 - 27_000 * k, "rows_valid": 27_000,
        }
        for k in (3, 2, 1)
    ]  # fmt: skip
    return {
        "steps": [{"name": "features" + mark, "sql": "conf/sql/features.sql", "seconds": 12.5}],
        "split": {"test_from": end.isoformat(), "train_rows": 274_461, "test_rows": 54_060,
                  "folds": folds},
        "segments": {"count": segments, "largest": 46_087, "smallest": 6},
        "suspicious": [{"feature": "year" + mark, "why": "constant in the training rows" + mark}],
        "profile": profile,
    }  # fmt: skip
