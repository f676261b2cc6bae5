"""A segment without a model of its own gets that of a wider group, by configured levels."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import Ridge

from pipeline.config.engines import TasksConfig
from pipeline.config.train import TrainConfig
from pipeline.training.folds import microseconds
from pipeline.training.journal import FitJournal
from pipeline.training.parallel import ParallelTraining
from pipeline.training.parents import Levels
from pipeline.training.result import FitResult, from_table
from pipeline.training.segments import is_group, segment_key, segment_label, segment_values
from pipeline.training.selection import Champion, Parents, choose_champions, choose_parents
from pipeline.training.settings import FitSettings

if TYPE_CHECKING:
    from pipeline.engines.session import Engines

START = datetime(2024, 1, 1, tzinfo=timezone.utc)
TEST = START + timedelta(days=80)
PERIODS = tuple(
    (start - timedelta(days=1), start, start + timedelta(days=10))
    for start in (TEST - timedelta(days=20), TEST - timedelta(days=10))
)
SIZES = {
    ("EWR", "AA"): 60, ("EWR", "UA"): 400, ("JFK", "AA"): 70, ("JFK", "B6"): 400,
    ("LGA", "AA"): 80, ("LGA", "HA"): 4, ("LGA", "ZZ"): 30,
}  # fmt: skip
LEVELS = Levels(("origin", "carrier"), (("carrier",), ("origin",)))


def table() -> pa.Table:
    """A slope for each carrier, so that its own rows tell more than all rows together."""
    random = np.random.default_rng(0)
    slopes = {"AA": 9.0, "UA": -9.0, "B6": 0.0, "HA": -2.0, "ZZ": 1.0}
    parts = []
    for (origin, carrier), rows in SIZES.items():
        x = random.normal(size=(rows, 2))
        times = [START + timedelta(days=100 * i / rows) for i in range(rows)]
        parts.append(
            pa.table(
                {
                    "origin": [origin] * rows,
                    "carrier": [carrier] * rows,
                    "t": pa.array(times, pa.timestamp("us", "UTC")),
                    "y": slopes[carrier] * x[:, 0] + random.normal(size=rows) / 4,
                    "a": x[:, 0],
                    "b": x[:, 1],
                }
            )
        )
    return pa.concat_tables(parts)


def settings(**train: object) -> FitSettings:
    candidates = {
        "ridge": {"estimator": "sklearn.linear_model.Ridge"},
        "all": {"estimator": "sklearn.linear_model.Ridge", "scope": "pooled"},
    }
    given = {"candidates": candidates, "min_rows": 100, "min_validation_rows": 3, **train}
    return FitSettings(
        train=TrainConfig.model_validate(given), numeric=("a", "b"), categorical=(),
        segment=("origin", "carrier"), target="y", time="t", periods=PERIODS,
        test_from=microseconds(TEST),
    )  # fmt: skip


def train_on_ray(
    engines: Engines, given: FitSettings, folder: Path, whole: pa.Table, cut: int
) -> ParallelTraining:
    import ray

    engines.ray()
    training = ParallelTraining(
        given, [ray.put(whole.slice(0, cut)), ray.put(whole.slice(cut))],
        TasksConfig(), 2, FitJournal(folder / "fits.journal"), lambda *_: None,
    )  # fmt: skip
    training.read_index()
    training.baselines()
    training.fits(folder / "models")
    return training


def champions_of(training: ParallelTraining) -> dict[str, Champion]:
    found = from_table(training.leaderboard())
    groups = choose_parents([fit for fit in found if is_group(fit.segment)])
    rows = dict(training.index.rows_by_segment())
    return choose_champions(found, rows, 100, parents=Parents(LEVELS, groups))


def plain_errors(whole: pa.Table, carrier: str, fold: int) -> tuple[float, dict[str, float]]:
    """RMSE of a Ridge on a carrier's rows, over all of them and by origin: by hand."""
    frame = whole.to_pandas()
    rows = frame[(frame["carrier"] == carrier) & (frame["t"] < TEST)]
    until, start, end = PERIODS[fold]
    fitted, scored = rows[rows["t"] < until], rows[(rows["t"] >= start) & (rows["t"] < end)]
    model = Ridge().fit(fitted[["a", "b"]].to_numpy(), fitted["y"].to_numpy())
    errors = (model.predict(scored[["a", "b"]].to_numpy()) - scored["y"]) ** 2
    by_origin = errors.groupby(scored["origin"]).mean() ** 0.5
    return float(errors.mean() ** 0.5), by_origin.to_dict()


def test_segments_without_a_model_get_their_carriers(engines: Engines, tmp_path: Path) -> None:
    whole = table()
    given = settings(parents=(("carrier",), ("origin",)))
    training = train_on_ray(engines, given, tmp_path, whole, 500)  # a group's rows span both
    board = from_table(training.leaderboard())
    found = {(r.segment, r.candidate, r.fold): r for r in board}
    for fold in range(2):
        of_all, by_origin = plain_errors(whole, "AA", fold)
        assert found['{"carrier":"AA"}', "ridge", fold].score == pytest.approx(of_all, rel=1e-9)
        for origin, error in by_origin.items():
            seen = found[f'["{origin}","AA"]', "ridge@carrier", fold]
            assert (seen.scope, seen.score) == ("parent", pytest.approx(error, rel=1e-9))
    # Above segments that need none, and of one segment alone, nothing is fitted.
    assert {r.segment for r in board if is_group(r.segment)} == {
        '{"carrier":"AA"}', '{"origin":"EWR"}', '{"origin":"JFK"}', '{"origin":"LGA"}',
    }  # fmt: skip

    champions = champions_of(training)
    for origin in ("EWR", "JFK", "LGA"):
        champion = champions[f'["{origin}","AA"]']
        assert (champion.candidate, champion.scope) == ("ridge@carrier", "parent")
        assert champion.fit == ('{"carrier":"AA"}', "ridge")
        assert "fewer than min_rows" in (champion.fallback or "")
    assert champions['["EWR","UA"]'].scope == "own"

    fitted = {c.fit for c in champions.values() if c.scope != "baseline"}
    saved = training.champions(fitted, tmp_path / "models")
    assert ('{"carrier":"AA"}', "ridge") in saved

    again = train_on_ray(engines, given, tmp_path, whole, 500)
    kinds = {task["kind"] for task in again.timeline}
    assert kinds == {"baseline"}  # the fits of groups are kept, too
    assert {(r.segment, r.scope, r.candidate, r.fold): r for r in board} == {
        (r.segment, r.scope, r.candidate, r.fold): r for r in from_table(again.leaderboard())
    }
    assert again.champions(fitted, tmp_path / "models") == saved


def group_fit(group: str, name: str, scope: str, score: float) -> FitResult:
    return FitResult(group, name, scope, 0, "ok", score, 100, 20)


def test_a_segment_that_cannot_be_scored_takes_the_nearest_group() -> None:
    groups = choose_parents(
        [
            group_fit('{"carrier":"AA"}', "ridge", "own", 2.0),
            group_fit('{"carrier":"AA"}', "baseline", "baseline", 1.0),
            group_fit('{"origin":"EWR"}', "tree", "own", 2.0),
            group_fit('{"origin":"EWR"}', "ridge", "own", 3.0),
            group_fit('{"origin":"EWR"}', "baseline", "baseline", 4.0),
        ]
    )
    assert set(groups) == {'{"origin":"EWR"}'}  # the other does no better than its baseline
    parents = Parents(LEVELS, groups)
    new, lonely = '["EWR","AA"]', '["JFK","AA"]'
    overall = group_fit("*", "all", "pooled", 9.0)
    found = choose_champions([overall], {new: 5, lonely: 5}, 100, parents=parents)
    assert (found[new].candidate, found[new].scope) == ("tree@origin", "parent")
    assert found[new].fit == ('{"origin":"EWR"}', "tree")
    assert (found[lonely].candidate, found[lonely].scope) == ("all", "pooled")


def test_on_scored_rows_the_group_wins_only_where_it_is_better() -> None:
    groups = choose_parents([group_fit('{"origin":"EWR"}', "tree", "own", 2.0)])
    new = '["EWR","AA"]'
    fits = [
        group_fit("*", "all", "pooled", 9.0),
        group_fit(new, "all", "pooled", 1.0),
        group_fit(new, "tree@origin", "parent", 2.0),
        group_fit(new, "ridge@origin", "parent", 0.5),  # not its group's champion
        group_fit(new, "baseline", "baseline", 3.0),
    ]
    champion = choose_champions(fits, {new: 5}, 100, parents=Parents(LEVELS, groups))[new]
    assert (champion.candidate, champion.scope) == ("all", "pooled")


def test_keys_of_groups_are_lossless_and_readable() -> None:
    values = [("EWR", None), ("EWR", ""), ("EWR", "a/b"), ("EWR", '{"x"')]
    keys = [LEVELS.above(segment)[0][1] for segment in map(segment_key, values)]
    assert len(set(keys)) == len(values)
    assert [segment_values(key) for key in keys] == [(carrier,) for _, carrier in values]
    assert segment_label('{"carrier":"AA"}') == "carrier = AA"
