"""The mean of a segment's own model and the pooled one is a contender, scored without a leak."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pipeline.config.engines import TasksConfig
from pipeline.config.train import TrainConfig
from pipeline.models.persistence import load_model
from pipeline.training.blocks import to_blocks
from pipeline.training.fit import FoldData, fit_fold
from pipeline.training.folds import time_folds
from pipeline.training.journal import FitJournal
from pipeline.training.parallel import ParallelTraining
from pipeline.training.result import FitResult, from_table
from pipeline.training.segments import ALL
from pipeline.training.selection import choose_champions
from pipeline.training.settings import FitSettings
from tests.training.test_parallel import CANDIDATES, settings, table  # noqa: F401

if TYPE_CHECKING:
    from pipeline.engines.session import Engines

SIZES = {"big": 900, "middle": 300, "tiny": 3}
BLEND = "forest&boosting"


def by_name(results: list[FitResult]) -> dict[tuple[str, str, str, int], FitResult]:
    found = {(r.segment, r.scope, r.candidate, r.fold): r for r in results}
    assert len(found) == len(results)  # no fit is there twice
    return found


def training_with_blends(
    engines: Engines,
    settings: FitSettings,  # noqa: F811
    folder: Path,
) -> ParallelTraining:
    import ray

    engines.ray()
    candidates = {name: CANDIDATES[name] for name in ("ridge", "forest", "boosting")}
    train = TrainConfig.model_validate(
        {"candidates": candidates, "min_rows": 40, "seed": 3, "blend": True}
    )
    whole = table(SIZES)
    training = ParallelTraining(
        replace(settings, train=train), [ray.put(whole.slice(0, 500)), ray.put(whole.slice(500))],
        TasksConfig(), 2, FitJournal(folder / "fits.journal"), lambda *_: None,
    )  # fmt: skip
    training.read_index()
    training.baselines()
    training.fits(folder / "models")
    return training


def predicted(
    given: FitSettings, segment: str, rows: slice, name: str, fold: int
) -> dict[str, np.ndarray]:
    """What one candidate says of a fold's validation rows, and the truth: a plain fit."""
    trained = given.training_rows(table(SIZES))
    matrix = given.matrix(trained).rows(*rows.indices(len(trained))[:2])
    sides = time_folds(matrix.time, given.periods)[fold]
    data = FoldData(to_blocks(matrix.X, given.categorical), matrix.y, *sides)
    options = replace(given.options(segment, fold), keep_predictions=True)
    (fit,) = fit_fold(data, {name: given.train.candidates[name]}, options)
    return {"said": fit.predictions, "truth": matrix.y[sides[1]], "valid": sides[1]}


def test_a_blend_is_the_mean_of_two_fits_on_the_folds_training_rows(
    engines: Engines,
    settings: FitSettings,  # noqa: F811
    tmp_path: Path,
) -> None:
    training = training_with_blends(engines, settings, tmp_path)
    found = by_name(from_table(training.leaderboard()))
    given = training.settings
    big = slice(0, int(training.index.rows[0]))
    for fold in range(2):
        own = predicted(given, '["big"]', big, "forest", fold)
        pooled = predicted(given, ALL, slice(0, None), "boosting", fold)
        of_big = pooled["said"][pooled["valid"] < big.stop]
        mean = (own["said"] + of_big) / 2
        wanted = float(np.sqrt(np.mean((mean - own["truth"]) ** 2)))
        assert found['["big"]', "blend", BLEND, fold].score == pytest.approx(wanted, rel=1e-9)
    # One blend a segment, of its best own candidate; none where it has no model of its own.
    blends = {(segment, name) for segment, scope, name, _ in found if scope == "blend"}
    assert blends == {('["big"]', BLEND), ('["middle"]', BLEND)}

    again = training_with_blends(engines, settings, tmp_path)
    assert by_name(from_table(again.leaderboard())) == found
    assert {task["kind"] for task in again.timeline} == {"baseline"}
    # The predictions of pooled fits can be made again, for blends that are still to be scored.
    for file in again.kept_files:
        file.unlink()
    (tmp_path / "fits.journal").write_bytes(b"")
    assert by_name(from_table(training_with_blends(engines, settings, tmp_path).leaderboard())) == (
        found
    )


def test_the_model_of_a_blend_predicts_the_mean_of_both(
    engines: Engines,
    settings: FitSettings,  # noqa: F811
    tmp_path: Path,
) -> None:
    training = training_with_blends(engines, settings, tmp_path)
    key = '["middle"]'
    wanted = [(key, BLEND), (key, "forest")]
    saved = training.champions(wanted, tmp_path / "models")
    assert set(saved) == {*wanted, (ALL, "boosting")}
    rows = training.settings.matrix(table({"middle": 50})).X
    blend, own, pooled = (
        load_model(saved[winner].path, saved[winner].sha256).predict(rows)
        for winner in (*wanted, (ALL, "boosting"))
    )
    assert blend == pytest.approx((own + pooled) / 2, rel=1e-12)
    assert not np.allclose(own, pooled)
    assert training.champions(wanted, tmp_path / "models") == saved


def test_a_blend_wins_by_its_own_score_and_says_what_it_is_made_of() -> None:
    key = '["a"]'

    def fit(name: str, scope: str, score: float) -> FitResult:
        return FitResult(key, name, scope, 0, "ok", score, 500, 50)

    fits = [
        fit("boosting", "pooled", 3.0),
        fit("forest", "own", 2.5),
        fit(BLEND, "blend", 2.0),
        fit("baseline", "baseline", 4.0),
    ]
    champion = choose_champions(fits, {key: 500}, 200)[key]
    assert (champion.candidate, champion.scope) == (BLEND, "blend")
    assert champion.fit == (key, BLEND)
    tied = choose_champions([*fits[:2], replace(fits[2], score=2.5)], {key: 500}, 200)[key]
    assert tied.scope == "own"  # of equal ones the simpler
