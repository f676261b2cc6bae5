"""What a fit depends on, as one hash: a finished fit with the same key need not be done again."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import sklearn

from pipeline.config.train import CandidateConfig
from pipeline.training.folds import Period
from pipeline.training.scorers import Scorer

FIT_VERSION = 1
"""Raise it when the meaning of a fit changes while its configuration does not."""


def fit_key(
    *,
    data: str,
    segment: str,
    name: str,
    candidate: CandidateConfig,
    period: Period | None,
    scorer: Scorer,
    seed: int,
) -> str:
    """SHA-256 over everything that shapes the result of a fit.

    Args:
        data: :func:`~pipeline.training.matrix.digest` of the segment's rows.
        segment: key of the segment; part of the fit's seed.
        name: the candidate's name; part of the fit's seed.
        candidate: its configuration.
        period: bounds of the fold; None for the final fit on all training rows.
        scorer: ``rmse`` or ``mae``.
        seed: the configuration's seed.
    """
    parts = {
        "fit_version": FIT_VERSION,
        "data": data,
        "segment": segment,
        "name": name,
        "candidate": candidate.model_dump(mode="json"),
        "period": [instant.isoformat() for instant in period] if period else None,
        "scorer": scorer,
        "seed": seed,
        "versions": {"numpy": np.__version__, "scikit-learn": sklearn.__version__},
    }
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
