"""Fitted models, kept for the next block: reading one costs as much as scoring many rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator

from pipeline.models.entry import ModelEntry, load_entry

_models: dict[tuple[Any, ...], BaseEstimator] = {}

_KEPT = 32


def loaded_model(store: Path, entry: ModelEntry) -> BaseEstimator:
    """The model of an entry, read and checked once as long as it is among the last few.

    Raises:
        StoreError: see :func:`~pipeline.models.entry.load_entry`.
    """
    key = (store, entry.identity, entry.sha256)
    if key not in _models:
        if len(_models) >= _KEPT:
            del _models[next(iter(_models))]
        _models[key] = load_entry(entry, store)
    return _models[key]
