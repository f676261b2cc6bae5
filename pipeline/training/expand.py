"""The candidates that are fitted: the preset's, the configuration's own, and their searches'."""

from __future__ import annotations

from pipeline.config.preprocess import FeaturesConfig
from pipeline.config.train import CandidateConfig, TrainConfig
from pipeline.training.presets import preset_candidates
from pipeline.training.search import expand_search


def declared_candidates(train: TrainConfig, features: FeaturesConfig) -> dict[str, CandidateConfig]:
    """The preset's candidates and the configuration's own; of equal names the own one wins."""
    preset = preset_candidates(train.preset, features, train.task) if train.preset else {}
    return {**preset, **train.candidates}


def expand_candidates(train: TrainConfig, features: FeaturesConfig) -> TrainConfig:
    """The section with every candidate plain: no preset, no search.

    Raises:
        ConfigError: a search makes too many candidates.
    """
    candidates = expand_search(declared_candidates(train, features), train.seed)
    return train.model_copy(update={"candidates": candidates, "preset": None})
