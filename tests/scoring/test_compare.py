"""Champion and challenger on the same rows, and who wins which segment."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.infer import IntervalsConfig
from pipeline.config.preprocess import FeaturesConfig
from pipeline.config.promotion import PromotionConfig
from pipeline.config.train import CandidateConfig, TrainConfig
from pipeline.errors import DataRefused, StoreError
from pipeline.models.entry import ModelEntry
from pipeline.models.registry import Registry
from pipeline.models.version import Version
from pipeline.scoring.compare import Compared, Contest, Side, compare
from pipeline.scoring.contest import (
    Trained,
    decided,
    decided_by_scores,
    hold_out_alike,
    is_contested,
    side,
    winners,
)
from pipeline.store.card import DatasetCard
from pipeline.training.folds import microseconds

A, B, C, SMALL, ALL = '["a"]', '["b"]', '["c"]', '["small"]', "*"
START = datetime(2020, 1, 1, tzinfo=timezone.utc)
MICROS = microseconds(START)
DAY = 86_400_000_000
CHAMPION = {ALL: 0.0, A: 5.0, B: 1.0, C: 2.0, SMALL: 5.0}
CHALLENGER = {ALL: 0.0, A: 1.0, B: 3.0, C: 2.0, SMALL: 1.0}
PROMOTION = PromotionConfig(min_rows=30)
RIDGE = CandidateConfig(estimator="sklearn.linear_model.Ridge")


def version(registry: Registry, constants: dict[str, float]) -> Version:
    entries = [
        ModelEntry(key, "mean", "own", "f", START.isoformat(), constant=value)
        for key, value in constants.items()
    ]
    return registry.register(entries)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path, "flights")


@pytest.fixture
def contest(registry: Registry, tmp_path: Path) -> Contest:
    """Targets around 0: the smaller a constant, the better. Odd rows are training rows."""
    rng = np.random.default_rng(0)
    rows = {"a": 80, "b": 60, "c": 40, "small": 10}
    files = []
    for part, (name, n) in enumerate(rows.items()):
        times = MICROS + np.where(np.arange(2 * n) % 2, -DAY, 3 * DAY)
        table = pa.table(
            {
                "id": pa.array(np.arange(2 * n) + 1000 * part),
                "at": pa.array(times).cast(pa.timestamp("us", "UTC")),
                "s": pa.array([name] * 2 * n),
                "y": pa.array([None, *rng.normal(0, 1, 2 * n - 1)]),
                "x": pa.array(rng.normal(0, 1, 2 * n)),
            }
        )
        files.append(tmp_path / f"{name}.parquet")
        pq.write_table(table, files[-1])
    card = DatasetCard(
        *("p", (), (), (), {}),
        *(("id",), "at", ("s",), "y", ("x",), (), START.isoformat(), ()),
    )
    sides = [
        Side(version(registry, constants), FeaturesConfig(numeric=("x",)), MICROS)
        for constants in (CHAMPION, CHALLENGER)
    ]
    baselines = dict.fromkeys(CHAMPION, 3.0)
    settings = IntervalsConfig(replicates=100)
    keys = frozenset(CHAMPION)
    return Contest(tmp_path, *sides, card, tuple(files), baselines, "rmse", settings, keys)


def by_segment(rows: list[Compared]) -> dict[str, Compared]:
    return {row.segment: row for row in rows}


def test_both_are_scored_on_the_held_out_rows_that_have_a_target(contest: Contest) -> None:
    rows = by_segment(compare(contest))
    assert {key: row.rows for key, row in rows.items()} == {
        **{ALL: 186, A: 79, B: 59, C: 39, SMALL: 9},
    }
    a = rows[A]
    y = pq.read_table(contest.files[0])["y"].to_numpy(zero_copy_only=False)[::2]
    y = y[np.isfinite(y)]
    assert a.champion_score == pytest.approx(np.sqrt(np.mean((5.0 - y) ** 2)))
    assert a.challenger_score == pytest.approx(np.sqrt(np.mean((1.0 - y) ** 2)))
    assert a.baseline_score == pytest.approx(np.sqrt(np.mean((3.0 - y) ** 2)))
    assert a.low is not None and a.high is not None
    assert a.low < a.difference < a.high < 0
    assert rows[B].low is not None and rows[B].low > 0
    assert rows[C].same and rows[C].difference == 0


def test_weights_of_rows_count(contest: Contest) -> None:
    for file in contest.files:
        table = pq.read_table(file)
        weight = np.where(np.arange(table.num_rows) % 4, 0.0, 3.0)
        if file.stem == "small":
            weight[:] = 0
        pq.write_table(table.append_column("w", pa.array(weight)), file)
    rows = by_segment(compare(replace(contest, weight="w")))
    assert SMALL not in rows  # its rows count nothing
    y = pq.read_table(contest.files[0])["y"].to_numpy(zero_copy_only=False)[::4]
    y = y[np.isfinite(y)]
    assert rows[A].champion_score == pytest.approx(np.sqrt(np.mean((5.0 - y) ** 2)))
    with pytest.raises(DataRefused, match="'v' is missing"):
        compare(replace(contest, weight="v"))


@pytest.mark.parametrize(
    "train",
    [
        {"task": "classification"},
        {"task": "quantile", "quantiles": (0.5,)},
        {"scorer": "neg_mean_absolute_percentage_error"},
    ],
)
def test_scores_that_are_no_sum_over_rows_are_not_compared_row_by_row(train: dict) -> None:
    assert not is_contested(TrainConfig(candidates={"m": RIDGE}, **train))
    assert is_contested(TrainConfig(candidates={"m": RIDGE}, scorer="mae"))


def test_without_a_meeting_a_version_wins_by_its_score_on_the_same_rows() -> None:
    old = {"scorer": "roc_auc", "objective": "o", "data": "d", "score": 0.7, "baseline": 0.5}
    for change, margin, promoted, reason in (
        ({"score": 0.8}, 0.0, True, "over all rows: challenger 0.8 beats champion 0.7"),
        ({"score": 0.6}, 0.0, False, "does not beat champion"),
        ({"score": 0.75}, 0.2, False, "does not beat champion"),
        ({"score": 0.6, "data": "new"}, 0.0, True, "trained on other data"),
        ({"score": 0.6, "objective": "other classes"}, 0.0, True, "for another task"),
        ({"score": 0.4, "data": "new"}, 0.0, False, "does not beat baseline"),
        ({"score": None}, 0.0, False, "allow no score"),
    ):
        decision = decided_by_scores(old, {**old, **change}, margin)
        assert decision.promote == promoted and reason in decision.reason
    assert decided_by_scores(None, old, 0.0).promote
    errors = {**old, "scorer": "log_loss"}
    assert not decided_by_scores(errors, {**errors, "score": 0.8}, 0.0).promote


def test_a_version_of_classes_meets_no_other(registry: Registry) -> None:
    entry = ModelEntry(ALL, "m", "own", "f", START.isoformat(), constant=(1.0,), classes=("a",))
    with pytest.raises(StoreError, match="predicts classes or quantiles, not numbers"):
        side(registry.register([entry]), {})


def test_the_blocks_change_nothing(contest: Contest) -> None:
    whole = contest.files[0].with_name("whole.parquet")
    tables = [pq.read_table(file) for file in reversed(contest.files)]
    pq.write_table(pa.concat_tables(tables), whole)
    assert compare(replace(contest, files=(whole,))) == compare(contest)


def test_rows_that_one_side_may_have_trained_on_do_not_count(contest: Contest) -> None:
    later = replace(contest.champion, test_from=MICROS + 5 * DAY)
    assert compare(replace(contest, champion=later)) == []


def test_rows_that_a_column_holds_out_are_met_on_whatever_their_times(contest: Contest) -> None:
    for file in contest.files:
        table = pq.read_table(file)
        drawn = np.where(np.arange(table.num_rows) % 4 == 1, "test", "train")
        pq.write_table(table.append_column("split", pa.array(drawn)), file)
    card = replace(contest.card, test_from=None, test_column="split", test_rule="hash")
    sides = [replace(s, test_from=None) for s in (contest.champion, contest.challenger)]
    rows = by_segment(compare(replace(contest, card=card, champion=sides[0], challenger=sides[1])))
    assert {key: row.rows for key, row in rows.items()} == {ALL: 95, A: 40, B: 30, C: 20, SMALL: 5}


def test_versions_meet_where_one_rule_held_out_their_rows(contest: Contest) -> None:
    drawn = replace(contest.card, test_from=None, test_column="split", test_rule="by hash")
    version = contest.champion.version
    for card, rule, alike in (
        (drawn, "by hash", True),
        (drawn, "by another hash", False),
        (drawn, None, False),
        (contest.card, None, True),
        (contest.card, "by hash", False),
    ):
        trained = {"f": Trained(("x",), (), None, rule)}
        assert hold_out_alike(version, card, trained) == alike


def test_each_segment_goes_to_the_better_model(contest: Contest, registry: Registry) -> None:
    first, second = contest.champion.version, contest.challenger.version
    rows = decided(compare(contest), PROMOTION, second)
    decisions = {key: row.decision for key, row in by_segment(rows).items()}
    promoted = {key: found.promote for key, found in decisions.items() if found is not None}
    assert promoted == {ALL: True, A: True, B: False, C: False, SMALL: True}
    assert "fewer than min_rows" in str(decisions[SMALL])
    won = winners(rows, first, second)
    assert won == sorted([ALL, A, SMALL])
    registry.promote(first.name)
    registry.promote(second.name, segments=won)
    champions = registry.champions()
    assert champions is not None
    assert {key: entry.constant for key, entry in champions.entries.items()} == {
        **{ALL: 0.0, A: 1.0, B: 1.0, C: 2.0, SMALL: 1.0}
    }
    assert registry.rollback().version == first.name


def test_a_margin_and_a_decision_for_all_segments_at_once(contest: Contest) -> None:
    rows, second = compare(contest), contest.challenger.version
    strict = decided(rows, PromotionConfig(margin=0.9), second)
    assert winners(strict, contest.champion.version, second) == []
    once = decided(rows, PromotionConfig(by="version"), second)
    assert winners(once, contest.champion.version, second) == sorted([ALL, A, B, C, SMALL])


def test_a_segment_that_the_champion_does_not_know_is_taken(contest: Contest) -> None:
    first, second = contest.champion.version, contest.challenger.version
    fewer = replace(first, entries={k: e for k, e in first.entries.items() if k != SMALL})
    rows = decided(compare(contest), PromotionConfig(margin=0.9), second)
    rows = [row for row in rows if row.segment != SMALL]
    assert winners(rows, fewer, second) == [SMALL]
