"""After ``infer``: the models become a version in the registry, and champion if they are better."""

from __future__ import annotations

import json
import logging
from typing import Any

from pipeline.models.champions import model_entries
from pipeline.models.promotion import Decision, decide
from pipeline.models.registry import Registry
from pipeline.stages.context import StageContext
from pipeline.store import Manifest
from pipeline.store.layout import write_text

_log = logging.getLogger(__name__)


def register_version(context: StageContext) -> None:
    """Register the train artifact's models; promote them if they win on the held-out rows.

    Does nothing for a version that was decided upon before, so it is safe to repeat.
    """
    train, infer = context.artifacts["train"], context.artifacts["infer"]
    registry = Registry(context.store.root, context.config.name)
    scores_file = context.store.registry / context.config.name / "scores.json"
    scores: dict[str, Any] = json.loads(scores_file.read_text()) if scores_file.exists() else {}
    name = train.manifest.fingerprint
    if name in scores:
        return
    version = registry.register(model_entries(train).values())
    score = _score(infer.manifest, train.manifest)
    decision = _decide(registry, scores, score)
    if decision.promote:
        registry.promote(version.name, reason=decision.reason)
    _log.info("%s: promoted: %s: %s", version.name, decision.promote, decision.reason)
    context.log.event(
        "version_registered",
        version=version.name,
        promoted=decision.promote,
        reason=decision.reason,
    )
    scores[name] = {**score, "version": version.name, "reason": decision.reason}
    write_text(scores_file, json.dumps(scores, indent=1) + "\n")


def _score(infer: Manifest, train: Manifest) -> dict[str, Any]:
    scorer = train.metrics["scorer"]
    overall = infer.metrics["overall"]
    return {
        "scorer": scorer,
        "score": overall[scorer],
        "baseline": overall[f"baseline_{scorer}"],
        "rows": overall["rows_scored_against_truth"],
        "data": infer.inputs["convert"],
    }


def _decide(registry: Registry, scores: dict[str, Any], score: dict[str, Any]) -> Decision:
    champion = registry.champions()
    by_version = {entry["version"]: entry for entry in scores.values()}
    last = by_version.get(champion.name) if champion else None
    if last is not None and (last["data"], last["scorer"]) != (score["data"], score["scorer"]):
        # Scores on other rows say nothing; models of newer data replace those of older data.
        return Decision(
            True, "trained on other data than the champion; their scores do not compare"
        )
    if score["score"] is None:
        return Decision(champion is None, "no held-out row has a target to compare on")
    return decide(last["score"] if last else None, score["score"], score["baseline"])
