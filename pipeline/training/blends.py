"""Blends: the mean of what a segment's own model says and what the model of all segments says.

Few rows make a segment's own model err in many ways, and all rows together make the pooled one miss
what is special to the segment. Errors that have little to do with each other partly cancel in the
mean (Bates and Granger, The combination of forecasts, 1969). A segment is offered one blend: of its
best own candidate and the best pooled one, by their scores over the folds. On each fold both are
fitted on that fold's training rows, so nothing leaks.

The predictions of pooled fits lie in files, which workers read: there may be many rows, and none of
them goes through the driver.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from sklearn.ensemble import VotingRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch

from pipeline.store.layout import write_bytes
from pipeline.training.fit import FoldData, fit_fold
from pipeline.training.folds import Rows
from pipeline.training.matrix import Floats
from pipeline.training.result import FitResult
from pipeline.training.scorers import score, score_all
from pipeline.training.segments import Run
from pipeline.training.settings import FitSettings

AND = "&"
"""Between the names of the two candidates: ``ridge&boosting-pooled``."""


def blend_name(own: str, pooled: str) -> str:
    return f"{own}{AND}{pooled}"


def parts_of_blend(name: str) -> tuple[str, str] | None:
    """The candidates of a blend, own and pooled; None for the name of a candidate."""
    own, is_blend, pooled = name.partition(AND)
    return (own, pooled) if is_blend else None


@dataclass(frozen=True)
class BlendPlan:
    """The pooled candidate of all blends.

    Attributes:
        pooled: its name.
        keys: of its fits, by fold; what blends depend on.
        files: its predictions, by fold; see :func:`write_outputs`.
    """

    pooled: str
    keys: tuple[bytes, ...]
    files: tuple[Path, ...]


def outputs_file(folder: Path, key: bytes) -> Path:
    """Where the predictions of a pooled fit lie."""
    return folder / f"{key.hex()}.npz"


def write_outputs(path: Path, runs: Sequence[Run], valid_rows: Rows, predictions: Floats) -> None:
    """Keep a pooled fit's predictions, whole or not at all.

    Args:
        path: see :func:`outputs_file`.
        runs: where each segment's rows lie in the matrix of all rows.
        valid_rows: (n_valid,) ascending positions in it.
        predictions: (n_valid,).
    """
    bounds = [[run.start, run.stop] for run in runs]
    places = np.searchsorted(valid_rows, np.array(bounds, dtype=np.int64).reshape(-1, 2))
    keys = np.array([run.key for run in runs], dtype=np.str_)
    content = io.BytesIO()
    np.savez(content, keys=keys, places=places, predictions=predictions)
    write_bytes(path, content.getvalue())


@lru_cache(maxsize=8)  # a fold each; a worker does many packs
def _read_outputs(path: Path) -> tuple[dict[str, tuple[int, int]], Floats]:
    with np.load(path) as found:
        places = [(start, stop) for start, stop in found["places"].tolist()]
        return dict(zip(found["keys"].tolist(), places, strict=True)), found["predictions"]


def pooled_outputs(path: Path, segment: str) -> Floats:
    """(n_valid,) the pooled predictions for a segment's validation rows of a fold."""
    places, predictions = _read_outputs(path)
    return predictions[slice(*places[segment])]


def fit_blend(
    settings: FitSettings, plan: BlendPlan, segment: str, name: str, fold: int, data: FoldData
) -> FitResult:
    """The own candidate of a blend on one fold, and the score of its mean with the pooled one.

    Args:
        settings: of the training.
        plan: the pooled part.
        segment: its key.
        name: of the own candidate.
        fold: its number.
        data: the segment's rows.
    """
    options = replace(settings.options(segment, fold), keep_predictions=True)
    (own,) = fit_fold(data, {name: settings.train.candidates[name]}, options)
    blank = replace(own, scope="blend", candidate=blend_name(name, plan.pooled), predictions=None)
    if own.predictions is None:
        return blank
    predictions = (own.predictions + pooled_outputs(plan.files[fold], segment)) / 2
    given = (data.y[data.valid_rows], predictions, data.weights(data.valid_rows))
    return replace(
        blank,
        score=score(settings.objective, *given),
        also=tuple(score_all(settings.objective, *given).values()),
    )


def blended(own: Pipeline, pooled: Pipeline) -> VotingRegressor:
    """A model that predicts the mean of two fitted ones."""
    model = VotingRegressor([("own", own), ("pooled", pooled)])
    # What fit() would set; both are fitted already, each on rows of its own.
    model.estimators_ = [own, pooled]
    model.named_estimators_ = Bunch(own=own, pooled=pooled)
    return model
