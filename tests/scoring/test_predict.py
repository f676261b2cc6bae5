"""Every row is predicted by its segment's champion, or quarantined with the reason."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.preprocess import FeaturesConfig
from pipeline.errors import DataRefused, StoreError
from pipeline.models.entry import ModelEntry
from pipeline.scoring.isolate import predict_batch
from pipeline.scoring.predict import score_table
from pipeline.training.segments import segment_key

FEATURES = FeaturesConfig(numeric=("x",), categorical=("c",))
NOW = "2026-11-23T08:00:00+00:00"


class Echo:
    """Predicts x plus its own number; a row with c = 'bad' makes it raise, 'inf' overflow."""

    def __init__(self, number: float) -> None:
        self.number = number
        self.sizes: list[int] = []

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        self.sizes.append(len(X))
        if (X["c"] == "bad").any():
            raise ValueError("a bad\nrow")
        return np.where(X["c"] == "inf", np.inf, X["x"].fillna(0) + self.number)


def entry(segment: str, number: float, scope: str = "own") -> ModelEntry:
    return ModelEntry(segment, f"m{number:g}", scope, "f", NOW, constant=number)


CHAMPIONS = {
    '["a"]': entry('["a"]', 100),
    '["b"]': entry('["b"]', 200, "pooled"),
    "[null]": entry("[null]", 200, "pooled"),
    "*": entry("*", 900, "pooled"),
}


def score(rows: list, batch_rows: int = 3) -> tuple[pa.Table, pa.Table]:
    return score_table(
        table_of(rows),
        CHAMPIONS,
        lambda e: Echo(e.constant or 0),
        FEATURES,
        batch_rows,
        segment=["s"],
        keep=["id"],
    )


def table_of(rows: list) -> pa.Table:
    return pa.table(
        {
            "id": pa.array(range(len(rows)), pa.int64()),
            "s": pa.array([row[0] for row in rows], pa.string()),
            "x": pa.array([row[1] for row in rows], pa.float64()),
            "c": pa.array([row[2] for row in rows], pa.string()),
        }
    )


def test_rows_are_routed_and_keep_their_order() -> None:
    predictions, quarantined = score(
        [("b", 1.0, None), ("a", 2.0, "u"), ("zz", 3.0, "u"), (None, 4.0, "v"), ("b", 5.0, "u")]
    )
    assert predictions.to_pydict() == {
        "id": [0, 1, 2, 3, 4],
        "segment": ['["b"]', '["a"]', '["zz"]', "[null]", '["b"]'],
        "prediction": [201.0, 102.0, 903.0, 204.0, 205.0],
        "model": [
            "pooled:m200",
            "own:m100",
            "unknown segment → pooled:m900",
            "pooled:m200",
            "pooled:m200",
        ],
    }
    assert quarantined.num_rows == 0 and "reason" in quarantined.column_names


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "new", None]),
        st.none() | st.floats(-10, 10),
        st.sampled_from(["u", "u", "u", "bad", "inf", None]),
    ),
    max_size=40,
)


@given(ROWS, st.integers(1, 50))
def test_rows_in_are_predictions_and_quarantined_whatever_the_batch(rows: list, size: int) -> None:
    predictions, quarantined = score(rows, size)
    good = [i for i, row in enumerate(rows) if row[2] not in ("bad", "inf")]
    assert predictions.column("id").to_pylist() == good
    assert sorted(good + quarantined.column("id").to_pylist()) == list(range(len(rows)))
    for row, found in zip((rows[i] for i in good), predictions.to_pylist(), strict=True):
        champion = CHAMPIONS.get(segment_key([row[0]]), CHAMPIONS["*"])
        assert found["prediction"] == (row[1] or 0) + (champion.constant or 0)
    reasons = {"bad": "ValueError: a bad row", "inf": "the prediction is inf"}
    for found in quarantined.to_pylist():
        assert found["reason"] == reasons[found["c"]]
        assert found["s"] == rows[found["id"]][0]


def test_batches_are_bounded_and_a_model_is_loaded_once() -> None:
    loaded: Counter[str] = Counter()
    models: list[Echo] = []

    def load(e: ModelEntry) -> Echo:
        loaded[e.model] += 1
        models.append(Echo(e.constant or 0))
        return models[-1]

    rows = [("b", 1.0, "u"), (None, 1.0, "u"), ("a", 1.0, "u")] * 10
    score_table(table_of(rows), CHAMPIONS, load, FEATURES, 7, segment=["s"])
    assert set(loaded.values()) == {1} and len(loaded) == 2
    assert sorted(model.sizes for model in models) == [[7, 3], [7, 7, 6]]


def test_a_missing_feature_is_refused() -> None:
    with pytest.raises(DataRefused, match="Column 'c' is missing"):
        score_table(
            table_of([("a", 1.0, "u")]).drop_columns(["c"]),
            CHAMPIONS,
            lambda e: Echo(0),
            FEATURES,
            10,
            segment=["s"],
        )


def test_a_segment_without_champion_or_default_is_refused() -> None:
    with pytest.raises(StoreError, match=r'Segment \["q"\] has no champion'):
        score_table(
            table_of([("q", 1.0, "u")]),
            {'["a"]': CHAMPIONS['["a"]']},
            lambda e: Echo(0),
            FEATURES,
            10,
            segment=["s"],
        )


def test_a_damaged_model_is_not_a_rows_fault() -> None:
    def load(_: ModelEntry) -> Echo:
        raise StoreError("changed")

    with pytest.raises(StoreError, match="changed"):
        score_table(table_of([("a", 1.0, "u")]), CHAMPIONS, load, FEATURES, 10, segment=["s"])


def test_one_bad_row_in_many_is_found_in_few_calls() -> None:
    model = Echo(0)
    X = pd.DataFrame({"x": np.arange(10_000.0), "c": np.full(10_000, "u", dtype=object)})
    X.loc[7_777, "c"] = "bad"
    outcome = predict_batch(model.predict, X)
    assert outcome.reasons == {7_777: "ValueError: a bad row"}
    assert len(model.sizes) < 40
    np.testing.assert_array_equal(
        np.delete(outcome.predictions, 7_777), np.delete(np.arange(10_000.0), 7_777)
    )


def test_a_broken_model_ends_in_bounded_time() -> None:
    model = Echo(0)
    X = pd.DataFrame({"x": np.zeros(50_000), "c": np.full(50_000, "bad", dtype=object)})
    outcome = predict_batch(model.predict, X, max_calls=100)
    assert len(outcome.reasons) == 50_000 and len(model.sizes) <= 100
    assert any("not searched further" in reason for reason in outcome.reasons.values())


def test_memory_errors_and_wrong_lengths() -> None:
    X = pd.DataFrame({"x": [1.0, 2.0], "c": ["u", "u"]})

    def full(_: pd.DataFrame) -> np.ndarray:
        raise MemoryError

    with pytest.raises(MemoryError):
        predict_batch(full, X)
    outcome = predict_batch(lambda _: np.zeros(5), X)
    assert outcome.reasons[0] == "ValueError: 5 predictions for 1 rows"


def test_no_rows_give_no_predictions() -> None:
    predictions, quarantined = score([])
    assert predictions.num_rows == quarantined.num_rows == 0
    assert predictions.schema.field("prediction").type == pa.float64()
    assert predictions.column_names == ["id", "segment", "prediction", "model"]
