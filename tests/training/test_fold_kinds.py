"""Training on folds that preprocess has dealt: nothing that is validated on is trained on."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsRegressor

from pipeline.config.engines import TasksConfig
from pipeline.config.train import TrainConfig
from pipeline.errors import DataRefused
from pipeline.store.card import CARD, DatasetCard, read_card
from pipeline.training.folds import FoldColumn, microseconds, numbered_folds
from pipeline.training.identity import FitKeys
from pipeline.training.index import index_block
from pipeline.training.journal import FitJournal
from pipeline.training.parallel import ParallelTraining
from pipeline.training.result import from_table
from pipeline.training.segments import ALL
from pipeline.training.settings import FitSettings

if TYPE_CHECKING:
    from pipeline.engines.session import Engines

START = datetime(2024, 1, 1, tzinfo=timezone.utc)
FOLDS = 4
NEAREST = {
    "estimator": "sklearn.neighbors.KNeighborsRegressor",
    "params": {"n_neighbors": 1},
    "features": ("x",),
}
CANDIDATES = {
    "nearest": NEAREST,
    "pooled": {**NEAREST, "scope": "pooled"},
    "encoded": {
        "estimator": "sklearn.linear_model.Ridge",
        "scope": "pooled",
        "encode": "target",
    },
}


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(6, 8))
def test_each_row_validates_once_and_trains_in_all_other_folds(
    numbers: list[int], folds: int
) -> None:
    made = numbered_folds(np.array(numbers, dtype=np.int64), folds)
    assert len(made) == folds
    every = set(range(len(numbers)))
    validated: list[int] = []
    for fold, (train, valid) in enumerate(made):
        assert set(train) | set(valid) == every and not set(train) & set(valid)
        assert sorted(train) == list(train) and sorted(valid) == list(valid)
        assert all(numbers[row] == fold for row in valid)
        validated += valid.tolist()
    assert sorted(validated) == sorted(every)


def training(kind: str) -> FitSettings:
    train = TrainConfig.model_validate(
        {"candidates": CANDIDATES, "min_rows": 30, "min_validation_rows": 2}
    )
    return FitSettings(
        train=train, numeric=("x",), categorical=("c",), segment=("g",), target="y", time="t",
        periods=(), test_from=microseconds(START + timedelta(days=300)),
        fold_column=FoldColumn("fold", kind, FOLDS),
    )  # fmt: skip


def test_rows_that_a_column_holds_out_are_never_trained_on_whatever_their_times() -> None:
    rows = grouped_rows("group").to_pandas()
    drawn = rows["x"] % 1 < 0.0005
    rows["split"] = np.where(drawn, "test", "train")
    rows["fold"] = rows["fold"].fillna(0).astype(int)
    table = pa.Table.from_pandas(rows, preserve_index=False)
    settings = replace(training("group"), test_from=None, test_column="split")
    assert (settings.is_training_row(table) == ~drawn).all()
    index = index_block(settings, 0, table.select(settings.columns))
    assert index.rows.tolist() == (~drawn).groupby(rows["g"]).sum().tolist()


def grouped_rows(kind: str) -> pa.Table:
    """A target that a group alone decides, in two segments, of groups that are known by ``x``.

    Rows of a row's group, a hair away in ``x``, tell its target exactly; those of other groups
    tell nothing. So a model of the nearest row has no error exactly if there is a leak.
    """
    random = np.random.default_rng(0)
    groups, rows = 20, 480
    group = random.integers(0, groups, rows)
    effect = random.normal(size=groups)
    segment = np.where(np.arange(rows) < 300, "s", "t")
    fold = np.arange(rows) % FOLDS if kind == "stratified" else group % FOLDS
    days = np.arange(rows) % 300 + np.where(np.arange(rows) % 300 > 290, 100, 0)
    test = days >= 300
    return pa.table(
        {
            "g": segment,
            "t": pa.array(
                [START + timedelta(days=int(d)) for d in days], pa.timestamp("us", "UTC")
            ),
            "y": effect[group],
            "x": group + random.random(rows) / 1_000,
            "c": [f"k{n % 3}" for n in range(rows)],
            "fold": pa.array(fold, pa.int32(), mask=test),
        }
    )


@pytest.mark.parametrize("kind", ["group", "stratified"])
def test_no_row_or_group_that_is_validated_on_is_trained_on(
    engines: Engines, tmp_path: Path, kind: str
) -> None:
    import ray

    engines.ray()
    settings, table = training(kind), grouped_rows(kind)
    blocks = [ray.put(table.slice(0, 200)), ray.put(table.slice(200))]
    run = ParallelTraining(
        settings, blocks, TasksConfig(), 2, FitJournal(tmp_path / "fits.journal"), lambda *_: None
    )
    run.read_index()
    run.baselines()
    run.fits(tmp_path / "models")
    found = {(r.segment, r.candidate, r.fold): r for r in from_table(run.leaderboard())}
    assert len(found) == 3 * FOLDS * 3 + 2 * FOLDS
    assert all(result.status == "ok" for result in found.values()), found

    frame = table.to_pandas().dropna(subset=["fold"])
    for fold in range(FOLDS):
        for segment, name in ((ALL, "pooled"), ('["s"]', "nearest"), ('["t"]', "nearest")):
            rows = frame if segment == ALL else frame[frame.g == json.loads(segment)[0]]
            result = found[segment, name, fold]
            assert (result.rows_train, result.rows_valid) == (
                (rows.fold != fold).sum(),
                (rows.fold == fold).sum(),
            )
            if name == "pooled":
                assert result.score == pytest.approx(rmse_of_nearest(rows, fold))
            assert result.score is not None
            told = result.score < 0.3  # by rows of its group on the other side
            assert told == (kind == "stratified"), f"{name} of {segment}: {result.score}"


def rmse_of_nearest(rows: pd.DataFrame, fold: int) -> float:
    train, valid = rows[rows.fold != fold], rows[rows.fold == fold]
    model = KNeighborsRegressor(1).fit(train[["x"]], train.y)
    return float(np.sqrt(np.mean((model.predict(valid[["x"]]) - valid.y) ** 2)))


def test_fits_of_another_kind_number_or_fold_are_others() -> None:
    table = grouped_rows("group")
    by_group = training("group")
    index = index_block(by_group, 0, table)

    def key(settings: FitSettings, fold: int | None) -> bytes:
        return FitKeys(settings).key(index.keys[0], index.digests[0], "nearest", fold)

    time = START + timedelta(days=100)
    by_time = replace(by_group, fold_column=None, periods=((time, time, time),))
    keys = [
        key(by_group, 0),
        key(by_group, 1),
        key(training("stratified"), 0),
        key(replace(by_group, fold_column=FoldColumn("fold", "group", 5)), 0),
        key(by_time, 0),
    ]
    assert len(set(keys)) == len(keys)
    final = [key(s, None) for s in (by_group, training("stratified"), by_time)]
    assert len(set(final)) == 1  # of all training rows, whatever the folds


def test_rows_dealt_otherwise_are_other_rows_and_the_fold_is_no_feature() -> None:
    settings, table = training("group"), grouped_rows("group")
    other = table.set_column(5, "fold", grouped_rows("stratified").column("fold"))
    one, two = (index_block(settings, 0, t).digests for t in (table, other))
    assert not set(one) & set(two)
    by_time = replace(settings, fold_column=None)
    assert index_block(by_time, 0, table).digests == index_block(by_time, 0, other).digests
    matrix = settings.matrix(settings.training_rows(table))
    assert "fold" in settings.columns and "fold" not in matrix.X.columns
    assert matrix.fold is not None and len(matrix.fold) == len(matrix) < table.num_rows
    assert matrix.rows(3, 9).fold.tolist() == matrix.fold[3:9].tolist()


def test_a_training_row_without_a_fold_is_refused() -> None:
    table = grouped_rows("group")
    lost = table.set_column(5, "fold", pa.array([None] * table.num_rows, pa.int32()))
    with pytest.raises(DataRefused, match="'fold' must hold the number of a fold in every"):
        index_block(training("group"), 0, lost)


def test_a_card_from_before_there_were_kinds_is_by_time(tmp_path: Path) -> None:
    card = DatasetCard(
        "a", ("f",), ("s",), (1,), {"x": "double"}, ("k",), "t", ("g",), "y", ("x",), (),
        START.isoformat(), ((START.isoformat(),) * 3,),
    )  # fmt: skip
    old = {name: value for name, value in asdict(card).items() if "fold_" not in name}
    old.pop("n_folds")
    (tmp_path / CARD).write_text(json.dumps(old))
    assert read_card(tmp_path) == card
    assert (card.fold_kind, card.fold_column) == ("time", None)
