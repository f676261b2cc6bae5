"""After ``infer``: the models become a version in the registry, and champion where they win."""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass
from typing import Any

from pipeline.config.train import TrainConfig
from pipeline.errors import DataRefused, StoreError
from pipeline.models.card import model_card, write_card
from pipeline.models.champions import model_entries
from pipeline.models.promotion import Decision, decide
from pipeline.models.registry import Registry
from pipeline.models.version import Version
from pipeline.scoring.compare import compare
from pipeline.scoring.contest import (
    Trained,
    contest,
    decided,
    decided_by_scores,
    hold_out_alike,
    is_contested,
    read_scores,
    scores_file,
    trained_on,
    winners,
)
from pipeline.stages.context import StageContext
from pipeline.store import Manifest
from pipeline.store.card import read_card
from pipeline.store.layout import write_text
from pipeline.training.objective import Objective, greater_is_better

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Verdict:
    """What becomes of a version. ``segments`` are those that it wins; None for all."""

    decision: Decision
    segments: list[str] | None = None


def register_version(context: StageContext) -> None:
    """Register the train artifact's models; promote them where they win on the held-out rows.

    Does nothing for a version that was decided upon before, so it is safe to repeat.
    """
    train, infer = context.artifacts["train"], context.artifacts["infer"]
    registry = Registry(context.store.root, context.config.name)
    scores = read_scores(context.config)
    name = train.manifest.fingerprint
    if name in scores:
        return
    card = model_card({stage: found.manifest for stage, found in context.artifacts.items()})
    write_card(context.store.root, context.config.name, card)
    version = registry.register(model_entries(train).values())
    score = _score(context, infer.manifest, train.manifest)
    verdict = _decide(context, registry, version, {**scores, name: score}, score)
    if verdict.decision.promote:
        registry.promote(version.name, segments=verdict.segments, reason=verdict.decision.reason)
    decision = verdict.decision
    _log.info("%s: promoted: %s: %s", version.name, decision.promote, decision.reason)
    context.log.event(
        "version_registered",
        version=version.name,
        promoted=decision.promote,
        reason=decision.reason,
    )
    scores[name] = {**score, "version": version.name, "reason": decision.reason}
    write_text(scores_file(context.config), json.dumps(scores, indent=1) + "\n")


def _score(context: StageContext, infer: Manifest, train: Manifest) -> dict[str, Any]:
    scorer = train.metrics["scorer"]
    overall = infer.metrics["overall"]
    return {
        "scorer": scorer,
        "objective": _identity(context.config.train, train),
        "score": overall[scorer],
        "baseline": overall[f"baseline_{scorer}"],
        "rows": overall["rows_scored_against_truth"],
        "data": infer.inputs["convert"],
        **dataclasses.asdict(Trained.of(read_card(context.artifacts["convert"].folder))),
    }


def _identity(settings: TrainConfig, train: Manifest) -> str:
    """Scores with another identity do not compare."""
    objective = Objective.of(settings, tuple(train.metrics["classes"]))
    return dataclasses.replace(objective, also=()).identity


def _decide(
    context: StageContext,
    registry: Registry,
    version: Version,
    scores: dict[str, dict[str, Any]],
    score: dict[str, Any],
) -> _Verdict:
    champion = registry.champions()
    train, promotion = context.config.train, context.config.promotion
    if champion is None:
        if score["score"] is None:
            return _Verdict(Decision(True, "no held-out row has a target to compare on"))
        more = greater_is_better(train.scorer)
        decision = decide(None, score["score"], score["baseline"], greater_is_better=more)
        return _Verdict(decision)
    card = read_card(context.artifacts["convert"].folder)
    if not is_contested(train) or not hold_out_alike(champion, card, trained_on(scores)):
        known = {found.get("version"): found for found in scores.values()}
        return _Verdict(decided_by_scores(known.get(champion.name), score, promotion.margin))
    try:
        meeting = contest(context.config, champion, version, card, trained_on(scores))
        rows = decided(compare(meeting), promotion, version)
    except (DataRefused, StoreError) as error:
        # A champion that cannot predict today's rows would fail at the next scoring.
        return _Verdict(Decision(True, f"the champion cannot be compared: {error.message}"))
    if not rows:
        return _Verdict(Decision(False, "no held-out row has a target to compare on"))
    won = winners(rows, champion, version)
    overall = rows[0].decision
    assert overall is not None
    said = f"{len(won)} of {len(version.entries)} segments; over all rows: {overall.reason}"
    everything = len(won) == len(version.entries) and champion.entries.keys() <= set(won)
    return _Verdict(Decision(bool(won), said), None if everything else won)
