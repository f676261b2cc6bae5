"""Typed, frozen settings: one file a section, and the loader that layers them."""

from pipeline.config.loader import load_config
from pipeline.config.pipeline import STAGES, PipelineConfig, StageName

__all__ = ["STAGES", "PipelineConfig", "StageName", "load_config"]
