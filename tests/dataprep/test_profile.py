"""The profile against pandas, and the features that give the target away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as sized
from hypothesis import strategies as st

from pipeline.config.preprocess import PreprocessConfig
from pipeline.dataprep.profile import profile_features
from tests.dataprep.test_features import START, config

NUMERIC = ("price", "constant", "empty", "copy", "alone")
CATEGORICAL = ("kind", "grade")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 1000
    target = rng.normal(size=n).round(3)
    grade = np.where(np.arange(n) % 2 == 0, "even", "odd")
    target = target * 0.01 + (grade == "odd") * 100
    price = rng.gamma(2.0, size=n)
    price[rng.random(n) < 0.1] = np.nan
    target[::7] = np.nan
    return pd.DataFrame(
        {
            "sold": target,
            "price": price,
            "constant": 3.0,
            "empty": np.nan,
            "copy": target * -2 + 1,
            "alone": rng.normal(size=n),
            "kind": [["a", "b", "c", None][code] for code in rng.integers(0, 4, n)],
            "grade": grade,
            "split": np.where(np.arange(n) < 700, "train", "test"),
        }
    )


@pytest.fixture(scope="module")
def settings() -> PreprocessConfig:
    features = {"numeric": list(NUMERIC), "categorical": list(CATEGORICAL)}
    return config(features=features, split={"test_from": START})


@pytest.fixture(scope="module")
def profile(
    table: pd.DataFrame, settings: PreprocessConfig, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("profile")
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    pq.write_table(arrow.slice(0, 400), folder / "part-00000.parquet")
    pq.write_table(arrow.slice(400), folder / "part-00001.parquet")
    return profile_features(sorted(folder.iterdir()), settings)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", ["sold", "price", "alone"])
def test_numbers_agree_with_pandas(
    profile: dict[str, Any], table: pd.DataFrame, name: str, split: str
) -> None:
    found = profile["columns"][name][split]
    values = table.loc[table["split"] == split, name]
    described = values.describe(percentiles=[0.05, 0.25, 0.5, 0.75, 0.95])
    expected = {
        "count": described["count"],
        "nulls": values.isna().sum(),
        "distinct": values.nunique(),
        "mean": described["mean"],
        "std": described["std"],
        "min": described["min"],
        "q05": described["5%"],
        "q25": described["25%"],
        "q50": described["50%"],
        "q75": described["75%"],
        "q95": described["95%"],
        "max": described["max"],
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-12)
    counts, edges = np.histogram(values.dropna(), 20, (table[name].min(), table[name].max()))
    assert found["histogram"]["counts"] == counts.tolist()
    assert found["histogram"]["edges"] == pytest.approx(edges.tolist())


def test_categories_agree_with_pandas(profile: dict[str, Any], table: pd.DataFrame) -> None:
    values = table.loc[table["split"] == "train", "kind"]
    found = profile["columns"]["kind"]["train"]
    assert dict(found["top"]) == values.value_counts().to_dict()
    assert (found["count"], found["nulls"]) == (values.count(), values.isna().sum())


def test_it_is_json_without_nan_and_marks_useless_columns(profile: dict[str, Any]) -> None:
    json.dumps(profile, allow_nan=False)
    columns = profile["columns"]
    assert [name for name in columns if columns[name]["constant"]] == ["constant"]
    assert [name for name in columns if columns[name]["all_null"]] == ["empty"]
    assert profile["rows"] == {"train": 700, "test": 300}


def test_features_that_give_the_target_away_are_reported(profile: dict[str, Any]) -> None:
    found = [(item["feature"], item["why"]) for item in profile["suspicious"]]
    assert found == [
        ("copy", "null exactly where the target is null"),
        ("copy", "correlation with the target"),
        ("grade", "correlation with the target"),
    ]


NUMBERS = st.one_of(
    st.none(),
    st.sampled_from([0.0, -0.0, 0.1, 1e-300, 1e16, 1e16 + 2]),
    st.floats(allow_nan=False, allow_infinity=False),
)
ROW = st.fixed_dictionaries(
    {
        "sold": NUMBERS,
        "price": NUMBERS,
        "copy": NUMBERS,
        "kind": st.sampled_from([None, "", "a", "b", "😀"]),
        "split": st.sampled_from(["train", "train", "test"]),
    }
)
SCHEMA = pa.schema(
    [(name, pa.float64()) for name in ("sold", "price", "copy")]
    + [(name, pa.string()) for name in ("kind", "split")]
)


@sized(deadline=None, max_examples=30)
@given(
    rows=st.lists(ROW, min_size=1, max_size=60),
    echo=st.booleans(),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    random=st.randoms(use_true_random=False),
)
def test_rows_cut_and_ordered_in_any_way_give_the_same_json(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[str, Any]],
    echo: bool,
    cuts: list[int],
    random: Any,
) -> None:
    if echo:  # a feature that is the target in disguise, and a category that tells it
        rows = [
            {**row, "copy": row["sold"], "kind": None if row["sold"] is None else row["kind"]}
            for row in rows * 4
        ]
    plan = config(
        features={"numeric": ["price", "copy"], "categorical": ["kind"]},
        split={"test_from": START},
    )
    one = tmp_path_factory.mktemp("one")
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), one / "part-00000.parquet")
    expected = json.dumps(profile_features([*one.iterdir()], plan), allow_nan=False)
    random.shuffle(rows)
    many = tmp_path_factory.mktemp("many")
    borders = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    for n, start in enumerate(borders[:-1]):
        part = pa.Table.from_pylist(rows[start : borders[n + 1]], SCHEMA)
        pq.write_table(part, many / f"part-{n:05d}.parquet", row_group_size=7)
    files = sorted(many.iterdir())
    assert json.dumps(profile_features(files, plan, held_bytes=100)) == expected
    assert sorted(many.iterdir()) == files  # nothing is left behind


def test_numbers_that_squares_cannot_hold_and_numbers_far_from_zero(tmp_path: Path) -> None:
    columns = {
        "sold": [1.0, 2.0, 3.0, 4.0],
        "price": [1e300, -1e300, 1e308, -1e308],
        "copy": [1e9 + 0.25, 1e9 + 0.5, 1e9 + 0.75, 1e9 + 1.0],
        "split": ["train"] * 4,
    }
    pq.write_table(pa.table(columns), tmp_path / "part-00000.parquet")
    plan = config(features={"numeric": ["price", "copy"]}, split={"test_from": START})
    found = profile_features([*tmp_path.iterdir()], plan)
    json.dumps(found, allow_nan=False)
    train = {name: column["train"] for name, column in found["columns"].items()}
    assert train["copy"]["std"] == pytest.approx(np.std([0.25, 0.5, 0.75, 1.0], ddof=1), rel=1e-15)
    assert train["price"]["mean"] == 0 and 5e307 < train["price"]["std"] < 1e308
    assert sum(train["price"]["histogram"]["counts"]) == 4
    (reason,) = found["suspicious"]
    assert (reason["feature"], reason["value"]) == ("copy", pytest.approx(1.0, rel=1e-12))
