"""Features that are the target in disguise are reported; a plain copy is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.dataprep.disguise import find_disguises
from pipeline.errors import ConfigError
from tests.dataprep.test_features import START, config

N = 4_000
Columns = dict[str, Any]


def table() -> pd.DataFrame:
    """Two shops one after the other; the target is unknown in every seventh row."""
    rng = np.random.default_rng(0)
    sold = rng.gamma(2.0, size=N).round(3)
    sold[::7] = np.nan
    return pd.DataFrame({"shop": np.repeat(["a", "b"], N // 2), "sold": sold})


def innocent(rows: pd.DataFrame) -> Columns:
    rng = np.random.default_rng(1)
    sold = rows["sold"].fillna(1.0).to_numpy()
    return {
        "constant": 3.0,
        "empty": np.nan,
        "alone": rng.normal(size=N),
        "helpful": sold + rng.normal(size=N),  # correlation about 0.8
        "last": rows.groupby("shop")["sold"].shift(1).to_numpy(),
        "sparse": np.where(rng.random(N) < 0.5, 1.0, np.nan),
        "many": np.arange(N).astype(str),  # a category a row fits any target it has seen
        "kind": rng.integers(0, 4, N).astype(str),
    }


def guilty(rows: pd.DataFrame) -> dict[str, tuple[Any, str]]:
    rng = np.random.default_rng(2)
    sold, known = rows["sold"].to_numpy(), rows["sold"].notna().to_numpy()
    filled = np.where(known, sold, 0.0)
    return {
        "linear": (filled * -2 + 1, "rank correlation with the target"),
        "monotone": (np.exp(3 * filled), "rank correlation with the target"),
        "folded": (np.abs(filled - 2) + 10 * (filled > 2), "alone it predicts the target"),
        "grade": ((filled * 2).round().astype(str), "alone it predicts the target almost exactly"),
        "later": (
            np.where(known & (rng.random(N) < 0.4), rng.normal(size=N), np.nan),
            "filled only where the target is known",
        ),
        "next": (rows.groupby("shop")["sold"].shift(-1).to_numpy(), "the next row of its segment"),
    }


def found(folder: Path, rows: pd.DataFrame, features: Columns) -> dict[str, str]:
    """feature → why, of files of 1,500 rows each."""
    named = {name: pd.Series(values, index=rows.index) for name, values in features.items()}
    arrow = pa.Table.from_pandas(rows.assign(**named), preserve_index=False)
    for at in range(0, len(rows), 1500):
        pq.write_table(arrow.slice(at, 1500), folder / f"part-{at:05}.parquet")
    text = [name for name in features if pa.types.is_string(arrow.schema.field(name).type)]
    numeric = [name for name in features if name not in text]
    settings = config(
        features={"numeric": numeric, "categorical": text}, split={"test_from": START}
    )
    suspicions = find_disguises(sorted(folder.iterdir()), settings)
    assert len({item["feature"] for item in suspicions}) == len(suspicions)
    return {item["feature"]: item["why"] for item in suspicions}


def test_what_gives_the_target_away_is_reported_and_nothing_else(tmp_path: Path) -> None:
    rows = table()
    suspects = guilty(rows)
    reported = found(
        tmp_path, rows, innocent(rows) | {name: values for name, (values, _) in suspects.items()}
    )
    assert set(reported) == set(suspects)
    for name, (_, why) in suspects.items():
        assert why in reported[name]


def test_classes_are_given_away_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = table()
    rows["sold"] = np.array(["low", "mid", "high"])[rng.integers(0, 3, N)]
    code = rows["sold"].map({"low": 4, "mid": 1, "high": 9})
    features = {
        "code": code + rng.random(N) / 2,
        "name": rows["sold"] + rng.integers(0, 3, N).astype(str),
        "alone": rng.normal(size=N),
        "mostly": np.where(rng.random(N) < 0.8, rows["sold"], "mid"),
    }
    assert set(found(tmp_path, rows, features)) == {"code", "name"}


@pytest.mark.parametrize("kind", ["numbers", "classes", "yes_or_no"])
def test_a_copy_is_refused(tmp_path: Path, kind: str) -> None:
    rows = table()
    if kind == "classes":
        rows["sold"] = np.where(rows["sold"] > 1, "high", "low")
    if kind == "yes_or_no":
        rows["sold"] = rows["sold"] > 1
    copy = rows["sold"].astype(float) if kind != "classes" else rows["sold"]
    with pytest.raises(ConfigError, match="'again' is a copy of the target 'sold'"):
        found(tmp_path, rows, {"alone": np.arange(N) % 5, "again": copy})
