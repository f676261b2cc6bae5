"""The registry as people ask for it: flat records, one a version or a model."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from pipeline.config import PipelineConfig
from pipeline.models.card import read_cards
from pipeline.models.registry import Registry
from pipeline.models.version import Version


def registry_of(config: PipelineConfig) -> Registry:
    return Registry(config.store_path, config.name)


def list_versions(config: PipelineConfig) -> list[dict[str, Any]]:
    """One record a version, oldest first."""
    registry = registry_of(config)
    champion = registry.champions()
    return [_about(registry.show(name), champion) for name in registry.versions()]


def show_version(config: PipelineConfig, name: str) -> list[dict[str, Any]]:
    """One record a segment of a version; ``champion`` is the version in use."""
    registry = registry_of(config)
    version = registry.champions() if name == "champion" else registry.show(name)
    if version is None:
        return []
    return [
        {
            "segment": key,
            "model": entry.model,
            "score": entry.metrics.get("mean_score"),
            "baseline": entry.metrics.get("baseline_score"),
            "fallback": entry.fallback,
            "file": entry.file,
        }
        for key, entry in sorted(version.entries.items())
    ]


def show_cards(config: PipelineConfig, name: str) -> list[dict[str, Any]]:
    """The model cards of a version; ``champion`` is the version in use."""
    registry = registry_of(config)
    version = registry.champions() if name == "champion" else registry.show(name)
    return read_cards(config.store_path, config.name, version) if version else []


def promote(
    config: PipelineConfig, version: str, segments: Collection[str] | None = None
) -> dict[str, Any]:
    """Make a version the champion by hand, of all segments or of some (their keys)."""
    some = list(segments) if segments else None
    return asdict(registry_of(config).promote(version, segments=some, reason="by hand"))


def rollback(config: PipelineConfig) -> dict[str, Any]:
    """Go back one champion."""
    return asdict(registry_of(config).rollback(reason="by hand"))


def _about(version: Version, champion: Version | None) -> dict[str, Any]:
    entries = version.entries.values()
    return {
        "version": version.name,
        "champion": champion is not None and champion.name == version.name,
        "models": len({entry.identity for entry in entries}),
        "segments": sum(key != "*" for key in version.entries),
        "created_at": max(entry.created_at for entry in entries),
        "train": max(entry.fingerprint for entry in entries),
    }
