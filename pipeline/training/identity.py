"""What a fit depends on, as one hash: a finished fit with the same key need not be done again."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from importlib import metadata

import numpy as np
import sklearn

from pipeline.config.train import EXTRAS, CandidateConfig
from pipeline.training.folds import FoldBounds
from pipeline.training.settings import FitSettings

FIT_VERSION = 2
"""Raise it when the meaning of a fit changes while its configuration does not."""

KEY_BYTES = 16


def fit_recipe(
    *, name: str, candidate: CandidateConfig, period: FoldBounds | None, scorer: str, seed: int
) -> bytes:
    """SHA-256 over what shapes a fit apart from its rows.

    Args:
        name: the candidate's name; part of the fit's seed.
        candidate: its configuration.
        period: bounds of the fold, or its kind, the number of folds and which of them it is, in
            which case the rows' values say which row is in it; None for the final fit on all
            training rows.
        scorer: what is predicted and scored: ``Objective.identity``.
        seed: the configuration's seed.
    """
    parts = {
        "fit_version": FIT_VERSION,
        "name": name,
        "candidate": candidate.model_dump(mode="json"),
        "period": [_json(part) for part in period] if period else None,
        "scorer": scorer,
        "seed": seed,
        "versions": {
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
            **_extra_version(candidate),
        },
    }
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).digest()


def fit_key(recipe: bytes, segment: str, data: bytes) -> bytes:
    """16 bytes for the fit of a recipe on a segment's rows.

    Args:
        recipe: :func:`fit_recipe`.
        segment: key of the segment; part of the fit's seed.
        data: hash of the segment's training rows.
    """
    return hashlib.sha256(recipe + data + segment.encode()).digest()[:KEY_BYTES]


class FitKeys:
    """The keys of all fits of a training; each candidate's part of them is hashed once."""

    def __init__(self, settings: FitSettings) -> None:
        self._settings = settings
        self._recipes: dict[tuple[str, int | None], bytes] = {}

    def key(self, segment: str, data: bytes, name: str, fold: int | None) -> bytes:
        """The key of one fit; fold None is the final fit on all training rows."""
        recipe = self._recipes.get((name, fold))
        if recipe is None:
            recipe = self._recipes[name, fold] = self._recipe(name, fold)
        return fit_key(recipe, segment, data)

    def _recipe(self, name: str, fold: int | None) -> bytes:
        train = self._settings.train
        return fit_recipe(
            name=name,
            candidate=train.candidates[name],
            period=None if fold is None else self._settings.fold_bounds(fold),
            scorer=self._settings.objective.identity,
            seed=train.seed,
        )


def _json(part: datetime | str | int) -> str | int:
    return part.isoformat() if isinstance(part, datetime) else part


def _extra_version(candidate: CandidateConfig) -> dict[str, str]:
    package = candidate.estimator.partition(".")[0]
    return {package: metadata.version(package)} if package in EXTRAS else {}
