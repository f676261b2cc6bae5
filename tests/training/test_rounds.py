"""Which fits halving and a budget leave out, and that all others are as without them."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.engines import TasksConfig
from pipeline.config.train import TrainConfig
from pipeline.training.eligible import had_no_time, halved, was_halved
from pipeline.training.journal import FitJournal
from pipeline.training.objective import Objective
from pipeline.training.parallel import ParallelTraining
from pipeline.training.result import FitResult, from_table
from pipeline.training.rounds import Dropped, halve, plan_rounds
from pipeline.training.segments import ALL
from pipeline.training.selection import choose_champions
from pipeline.training.settings import FitSettings
from tests.training.test_parallel import SIZES, settings, table  # noqa: F401

if TYPE_CHECKING:
    from pipeline.engines.session import Engines

A = '["a"]'
RIDGE = "sklearn.linear_model.Ridge"


def train(names: list[str], **more: Any) -> TrainConfig:
    return TrainConfig.model_validate(
        {"candidates": {name: {"estimator": RIDGE} for name in names}, **more}
    )


def own(name: str, fold: int, score: float | None, error: str | None = None) -> FitResult:
    status = "ok" if score is not None else ("failed" if error else "skipped")
    return FitResult(A, name, "own", fold, status, score, 100, 20, error=error)


@pytest.mark.parametrize("more", [{}, {"halving": {}}, {"budget_seconds": 5.0}])
def test_rounds_hold_every_candidate_on_every_fold_once(more: dict[str, Any]) -> None:
    config = train(["a", "b", "c"], **more)
    rounds = plan_rounds(config, 3, Objective())
    held = [pair for now in rounds for pair in product(now.candidates, now.folds)]
    assert sorted(held) == sorted(product("abc", range(3)))


def test_a_budget_goes_by_candidate_and_keeps_together_what_is_one_computation() -> None:
    config = TrainConfig.model_validate(
        {
            "candidates": {
                "tree": {"estimator": "sklearn.tree.DecisionTreeRegressor"},
                "weak": {"estimator": RIDGE, "params": {"alpha": 1.0}},
                "pooled": {"estimator": RIDGE, "scope": "pooled"},
                "strong": {"estimator": RIDGE, "params": {"alpha": 9.0}},
            },
            "budget_seconds": 1.0,
        }
    )
    groups = [set(now.candidates) for now in plan_rounds(config, 2, Objective())]
    assert groups == [{"tree"}, {"weak", "strong"}, {"pooled"}]


def test_halving_begins_with_the_most_recent_fold() -> None:
    assert [now.folds for now in plan_rounds(train(["a"], halving={}), 3, Objective())] == [
        (2,),
        (1,),
        (0,),
    ]


@given(
    st.lists(st.floats(0.001, 1e6), min_size=1, max_size=12),
    st.floats(1.01, 10),
    st.booleans(),
)
def test_the_best_go_on_and_as_many_as_the_factor_says(
    scores: list[float], factor: float, more_is_better: bool
) -> None:
    names = [f"c{i:02d}" for i in range(len(scores))]
    scorer = "r2" if more_is_better else "rmse"
    config = train(names, scorer=scorer, halving={"factor": factor})
    dropped: Dropped = {}
    fits = [own(name, 2, score) for name, score in zip(names, scores, strict=True)]
    halve(fits, dropped, config, rounds_done=1)
    gone = dropped.get(A, {})
    kept = [score for name, score in zip(names, scores, strict=True) if name not in gone]
    assert len(kept) == math.ceil(len(names) / factor)
    best = max(scores) if more_is_better else min(scores)
    assert kept and math.isclose(max(kept) if more_is_better else min(kept), best, rel_tol=1e-8)


def test_a_candidate_that_failed_comes_last_and_where_none_was_scored_all_go_on() -> None:
    config = train(["a", "b", "c"], halving={"factor": 2})
    dropped: Dropped = {}
    halve([own("a", 1, None), own("b", 1, None), own("c", 1, None)], dropped, config, rounds_done=1)
    assert dropped == {}
    halve(
        [own("a", 1, None, "ValueError: no"), own("b", 1, 3.0), own("c", 1, 2.0)],
        dropped, config, rounds_done=1,
    )  # fmt: skip
    assert dropped == {A: {"a": halved(3, 3, 1)}}
    halve(
        [own("b", 1, 3.0), own("c", 1, 2.0), own("b", 0, 1.0), own("c", 0, 9.0)],
        dropped, config, rounds_done=2,
    )  # fmt: skip
    assert dropped[A] == {"a": halved(3, 3, 1), "c": halved(2, 2, 2)}


def test_what_halving_dropped_cannot_win_by_the_folds_that_it_had() -> None:
    fits = [
        own("dropped", 1, 0.1),
        replace(own("dropped", 0, None), error=halved(2, 2, 1)),
        own("kept", 1, 2.0),
        own("kept", 0, 2.0),
    ]
    champion = choose_champions(fits, {A: 500}, 200)[A]
    assert (champion.candidate, champion.folds) == ("kept", (0, 1))


def train_on_ray(
    engines: Engines,
    settings: FitSettings,  # noqa: F811
    folder: Path,
    **more: Any,
) -> tuple[ParallelTraining, list[FitResult]]:
    import ray

    engines.ray()
    given = {**settings.train.model_dump(), **more}
    training = ParallelTraining(
        replace(settings, train=TrainConfig.model_validate(given)), [ray.put(table(SIZES))],
        TasksConfig(), 2, FitJournal(folder / "fits.journal"), lambda *_: None,
    )  # fmt: skip
    training.read_index()
    training.baselines()
    training.fits(folder / "models")
    return training, from_table(training.leaderboard())


def by_name(results: list[FitResult]) -> dict[Any, FitResult]:
    found = {(r.segment, r.scope, r.candidate, r.fold): r for r in results}
    assert len(found) == len(results)  # no fit is there twice
    return found


def test_halving_makes_fewer_fits_and_those_are_the_same(
    engines: Engines,
    settings: FitSettings,  # noqa: F811
    tmp_path: Path,
) -> None:
    _, plain = train_on_ray(engines, settings, tmp_path / "plain")
    training, fewer = train_on_ray(engines, settings, tmp_path / "halved", halving={"factor": 3.0})
    every, found = by_name(plain), by_name(fewer)
    assert every.keys() == found.keys()  # what was not made is there too, with the reason
    gone = [key for key, fit in found.items() if was_halved(fit)]
    assert {name for _, scope, name, _ in gone if scope == "own"} >= {"broken", "forest"}
    assert {fold for *_, fold in gone} == {0}
    assert all(found[key] == every[key] for key in found if key not in gone)

    again, kept = train_on_ray(engines, settings, tmp_path / "halved", halving={"factor": 3.0})
    assert by_name(kept) == found
    assert again.plan.reused == training.plan.reused + len(training.plan.keys) > 0
    assert [task["kind"] for task in again.timeline] == ["baseline"]


def test_a_budget_is_kept_and_what_it_left_out_is_said(
    engines: Engines,
    settings: FitSettings,  # noqa: F811
    tmp_path: Path,
) -> None:
    endless = {
        "estimator": "sklearn.ensemble.ExtraTreesRegressor",
        "params": {"n_estimators": 1_000_000},
        "encode": "ordinal",
    }
    ridge = {"estimator": RIDGE, "scale": True}
    started = time.monotonic()
    training, found = train_on_ray(
        engines, settings, tmp_path,
        candidates={"ridge": ridge, "endless": endless}, budget_seconds=6.0,
    )  # fmt: skip
    assert time.monotonic() - started < 40  # the fits would take many minutes
    own_fits = {(r.segment, r.candidate, r.fold): r for r in found if r.scope == "own"}
    assert len(own_fits) == len(SIZES) * 2 * 2
    made = [r for r in own_fits.values() if r.candidate == "ridge" and r.status == "ok"]
    late = [r for r in own_fits.values() if had_no_time(r)]
    assert len(made) == len(late) == 6  # "tiny" has no fit either way
    assert {r.candidate for r in late} == {"endless"}
    champions = choose_champions(found, dict(training.index.rows_by_segment()), 40)
    assert champions['["big"]'].candidate == "ridge"
    assert champions['["big"]'].folds == (0, 1)


def test_a_budget_that_is_too_small_leaves_the_baselines() -> None:
    late = replace(own("ridge", 0, None), error="not made within train.budget_seconds = 1")
    base = replace(own("baseline", 0, 5.0), scope="baseline")
    overall = [replace(base, segment=ALL)]
    champion = choose_champions([*overall, base, late], {A: 500}, 200)[A]
    assert (champion.scope, champion.fallback) == ("baseline", late.error)
