"""The model card of a train artifact: what its models were made from, how they do, their limits.

::

    STORE/registry/<pipeline>/cards/<train fingerprint>.json

After Mitchell and others, Model cards for model reporting, 2019.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.config.pipeline import StageName
from pipeline.models.version import Version, registry_folder
from pipeline.store import Manifest
from pipeline.store.layout import write_text

MANY_NULLS = 0.3
"""Share of nulls in the training rows from which on a feature is among the limits."""

SHIFTED = 0.25
"""Population stability index from which on a feature counts as shifted."""

_IMPORTANT = 10
"""Features of which a card says how much they matter."""

_LISTED = 50
"""Entries of a list in a card; the artifacts hold all of them."""


def model_card(manifests: Mapping[StageName, Manifest]) -> dict[str, Any]:
    """The card of a train artifact, from its manifest and those of the stages around it.

    Args:
        manifests: of all stages from ``ingest`` to ``infer``; a report's is no part of a card.
    """
    manifests = {stage: m for stage, m in manifests.items() if stage != "report"}
    train, infer = manifests["train"], manifests["infer"]
    return {
        "train": train.fingerprint,
        "trained_at": train.started_at,
        "data": _data(manifests),
        "features": _features(manifests["preprocess"], infer),
        "candidates": train.config["candidates"],
        "models": {
            "segments": train.metrics["segments"],
            "fits": train.metrics["fits"],
            "fits_failed": train.metrics["fits_failed"],
            "champions_by_candidate": train.metrics["champions_by_candidate"],
        },
        "task": _task(train),
        "baseline": _baseline(train),
        "held_out": {"scorer": train.metrics["scorer"], **infer.metrics["overall"]},
        "limits": _limits(manifests),
        "versions": {name: v for m in manifests.values() for name, v in m.versions.items()},
    }


def write_card(store: Path, pipeline: str, card: Mapping[str, Any]) -> None:
    """Keep a card beside the versions; an equal one is replaced by itself."""
    text = json.dumps(card, indent=1, ensure_ascii=False)
    write_text(_file(store, pipeline, card["train"]), text + "\n")


def read_cards(store: Path, pipeline: str, version: Version) -> list[dict[str, Any]]:
    """The cards of a version, one for each train artifact that its models come from.

    ``serves`` counts the segments; a train artifact from before there were cards has no more.
    """
    counts: dict[str, int] = {}
    for entry in version.entries.values():
        counts[entry.fingerprint] = counts.get(entry.fingerprint, 0) + 1
    cards = []
    for fingerprint, serves in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        path = _file(store, pipeline, fingerprint)
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        cards.append({"version": version.name, "serves": serves, "train": fingerprint, **known})
    return cards


def _file(store: Path, pipeline: str, fingerprint: str) -> Path:
    return registry_folder(store, pipeline) / "cards" / f"{fingerprint}.json"


def _data(manifests: Mapping[StageName, Manifest]) -> dict[str, Any]:
    roles, split = manifests["preprocess"].config, manifests["preprocess"].metrics["split"]
    return {
        "sources": dict(list(manifests["ingest"].inputs.items())[:_LISTED]),
        "fingerprints": {stage: manifest.fingerprint for stage, manifest in manifests.items()},
        "target": roles["target"],
        "segment": roles["segment"],
        "time": roles["time"],
        "test_from": split.get("test_from"),  # None of a test that is not by time
        "test": split.get("test", {}).get("rule"),
        "rows": manifests["train"].metrics["rows"],
    }


def _features(preprocess: Manifest, infer: Manifest) -> dict[str, Any]:
    return {
        **preprocess.config["features"],
        "sql": [step["sql"] for step in preprocess.config["steps"] if "sql" in step],
        **_importance(infer),
    }


def _importance(infer: Manifest) -> dict[str, Any]:
    """By how much the error rises with each of the first features permuted; see ``infer``."""
    found = infer.metrics.get("importance")
    if found is None:
        return {}
    rises = {f["name"]: f["mean"] for f in found["features"][:_IMPORTANT]}
    return {
        "most_important": {"rise_of": found["measure"], "rows": found["rows"], "features": rises}
    }


def _task(train: Manifest) -> str:
    return str(train.metrics.get("task", "regression"))


def _baseline(train: Manifest) -> str:
    said = {"classification": "the shares of the classes", "quantile": "the quantiles"}
    return said.get(_task(train)) or str(train.config["baseline"])


def _limits(manifests: Mapping[StageName, Manifest]) -> dict[str, Any]:
    fallbacks = manifests["train"].metrics["fallbacks"]
    infer = manifests["infer"].metrics
    is_regression = _task(manifests["train"]) == "regression"
    drift = infer["drift"]
    periods = [period["period"] for period in infer["by_period"]]
    return {
        "segments_without_a_model_of_their_own": len(fallbacks),
        "of_these": [f"{f['segment']}: {f['reason']}" for f in fallbacks[:_LISTED]],
        # Only errors of regressions have the intervals that tell this from chance.
        **({"worse_than_the_baseline": _worse(infer["by_segment"])} if is_regression else {}),
        "shifted_features": _above(drift, "psi", SHIFTED),
        "features_with_many_nulls": _above(drift, "null_share_train", MANY_NULLS),
        "tested_only_on": [periods[0], periods[-1]] if periods else [],
    }


def _worse(segments: Mapping[str, Any]) -> list[str]:
    """The segments whose champion does worse than the baseline by more than chance explains."""
    found = [
        part["label"]
        for part in segments.values()
        if part.get("intervals", {}).get("difference_rmse", [0])[0] > 0
    ]
    return found[:_LISTED]


def _above(drift: Mapping[str, Any], measure: str, limit: float) -> dict[str, float]:
    found = {name: d[measure] for name, d in drift.items() if (d[measure] or 0) >= limit}
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return dict(ordered[:_LISTED])
