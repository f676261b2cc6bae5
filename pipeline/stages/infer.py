"""``infer``: score the held-out rows with the champions, and measure them once."""

from __future__ import annotations

import dataclasses
import heapq
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from pipeline.config.train import Task
from pipeline.models.champions import ChampionRecord, model_entries, read_champions
from pipeline.scoring.bootstrap import merge
from pipeline.scoring.classes import Reliability
from pipeline.scoring.drift import Profile, drift, merge_counts
from pipeline.scoring.importance import Rises, importance
from pipeline.scoring.intervals import Intervals, by_segment, overall
from pipeline.scoring.metrics import BlockStats
from pipeline.scoring.parallel import BlockWork, held_out_scores, score_blocks, timeline
from pipeline.scoring.permuting import Permuted, permute_features
from pipeline.scoring.permuting import timeline as permutations
from pipeline.scoring.tasks import Scored, ScoreSettings
from pipeline.stages.context import StageContext
from pipeline.stages.dataset import open_dataset
from pipeline.store.artifact import Outcome
from pipeline.store.card import DatasetCard
from pipeline.store.fingerprint import digest
from pipeline.store.layout import write_text
from pipeline.training.objective import Objective
from pipeline.training.segments import ALL

Results = list[tuple[BlockWork, Scored]]


def run(context: StageContext, folder: Path) -> Outcome:
    """One task and one file of predictions a block; finished blocks survive a kill."""
    started = time.time()
    card, handed = open_dataset(context)
    settings = _settings(context, card)
    parts = context.store.parts("infer") / context.config.name
    results = score_blocks(
        settings,
        handed.blocks,
        _keys(context, card, len(handed.blocks)),
        parts,
        tasks=context.config.engines.tasks,
        cpus=context.engines.plan.ray_cpus,
        progress=context.progress,
        watch=context.engines.spill.check,
    )
    scores = held_out_scores(settings, results, context.config.engines.tasks)
    permuted = permute_features(
        settings,
        context.config.infer.importance,
        results,
        handed.blocks,
        tasks=context.config.engines.tasks,
        cpus=context.engines.plan.ray_cpus,
        progress=context.progress,
        watch=context.engines.spill.check,
    )
    for item, _ in results:
        _place(item.predictions, folder / "predictions" / f"part-{item.number:05d}.parquet")
        if item.quarantine.exists():
            _place(item.quarantine, folder / "quarantine" / f"part-{item.number:05d}.parquet")
    write_text(
        folder / "tasks.json",
        json.dumps([*timeline(results, started), *permutations(permuted, started)]),
    )
    shutil.rmtree(parts)
    return Outcome(
        rows_in=sum(scored.rows_in for _, scored in results),
        rows_out=sum(scored.rows_out for _, scored in results),
        rows_quarantined=sum(scored.rows_quarantined for _, scored in results),
        metrics={
            **_metrics(context, settings, results, scores),
            **_importance(context, settings, permuted),
        },
    )


def _settings(context: StageContext, card: DatasetCard) -> ScoreSettings:
    train = context.artifacts["train"]
    champions = read_champions(train.folder)
    objective = Objective.of(context.config.train, champions[ALL].classes)
    weight = (objective.weight,) if objective.weight else ()
    roles = (*card.key, card.time, *card.segment, card.target)
    test = (card.test_column,) if card.test_column else ()
    profile = json.loads((train.folder / "profile.json").read_text(encoding="utf-8"))
    return ScoreSettings(
        store=context.store.root,
        champions=model_entries(train),
        baselines={key: champion.baseline for key, champion in champions.items()},
        keep=tuple(dict.fromkeys((*roles, *test, *weight))),
        key=card.key,
        segment=card.segment,
        target=card.target,
        time=card.time,
        features=context.config.preprocess.features,
        profile=Profile.from_record(profile),
        rows=context.config.infer.rows,
        test_from=card.test_micros,
        test_column=card.test_column,
        batch_rows=context.config.infer.batch_rows,
        intervals=context.config.infer.intervals,
        tracked=largest(champions, context.config.infer.intervals.segments),
        threads=max(1, int(context.config.engines.tasks.num_cpus)),
        objective=objective,
    )


def largest(champions: dict[str, ChampionRecord], number: int) -> frozenset[str]:
    """The segments with most training rows, known before any row is scored."""
    own = (key for key in champions if key != ALL)
    return frozenset(heapq.nsmallest(number, own, key=lambda k: (-champions[k].rows_train, k)))


def _keys(context: StageContext, card: DatasetCard, blocks: int) -> list[str]:
    """Per block, a hash of what its predictions depend on: the data, the models, the settings."""
    models = context.artifacts["train"].manifest.fingerprint
    section = context.config.stage("infer")
    return [
        digest([card.artifact, list(card.sha256), i, models, section])[:32] for i in range(blocks)
    ]


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    os.replace(source, target)


_COMPARED: dict[Task, tuple[str, ...]] = {
    "regression": ("rmse", "mae"),
    "classification": ("log_loss", "accuracy", "balanced_accuracy", "brier"),
    "quantile": ("pinball", "coverage"),
}
"""Measures that the baseline has beside the champions; of segments and months the first alone."""


def _metrics(
    context: StageContext,
    settings: ScoreSettings,
    results: Results,
    scores: dict[str, float | None],
) -> dict[str, Any]:
    compared = _COMPARED[settings.objective.task]
    first = compared[0]
    stats = sum((scored.stats for _, scored in results), BlockStats())
    baseline = sum((scored.baseline for _, scored in results), BlockStats())
    labels = {k: c.label for k, c in read_champions(context.artifacts["train"].folder).items()}
    total, plain = stats.overall().metrics(), baseline.overall().metrics()
    moved = drift(settings.profile, merge_counts([scored.drift for _, scored in results]))
    sums, level = merge(scored.sums for _, scored in results), settings.intervals.level
    segments = by_segment(sums, level)
    return {
        "overall": {
            "rows": sum(scored.rows_out for _, scored in results),
            "rows_scored_against_truth": total.pop("rows"),
            **scores,
            **total,
            **{f"baseline_{name}": plain[name] for name in compared},
            **_intervals(overall(sums, level)),
        },
        "by_segment": {
            key: {
                "label": labels.get(key, key),
                **segment.metrics(),
                f"baseline_{first}": baseline.segments[key].metrics()[first],
                **_intervals(segments.get(key)),
            }
            for key, segment in stats.segments.items()
        },
        "by_period": _by_period(results, compared),
        **_reliability(results),
        "drift": {
            name: {
                "psi": column.psi,
                "null_share_train": column.null_share_training,
                "null_share_scored": column.null_share_scored,
            }
            for name, column in moved.items()
        },
        "blocks_reused": sum(scored.reused for _, scored in results),
    }


def _importance(
    context: StageContext, settings: ScoreSettings, permuted: list[Permuted]
) -> dict[str, Any]:
    total = sum((part.total for part in permuted), Rises())
    found = importance(total, settings.objective, context.config.infer.importance.repeats)
    return {} if found is None else {"importance": found}


def _reliability(results: Results) -> dict[str, Any]:
    found = [scored.reliability for _, scored in results if scored.reliability is not None]
    return {"reliability": sum(found, Reliability()).record()} if found else {}


def _intervals(found: Intervals | None) -> dict[str, Any]:
    """``{"intervals": {name: [low, high]}}``; nothing where there are too few rows."""
    if found is None:
        return {}
    return {"intervals": {name: list(pair) for name, pair in dataclasses.asdict(found).items()}}


def _by_period(results: Results, compared: tuple[str, ...]) -> list[dict[str, Any]]:
    months = sorted({month for _, scored in results for month in scored.periods})
    nothing = (BlockStats(), BlockStats())
    rows = []
    for month in months:
        parts = [scored.periods.get(month, nothing) for _, scored in results]
        model = sum((part[0] for part in parts), BlockStats()).overall().metrics()
        plain = sum((part[1] for part in parts), BlockStats()).overall().metrics()
        rows.append(
            {
                "period": month,
                "rows": model["rows"],
                **{name: model[name] for name in compared},
                f"baseline_{compared[0]}": plain[compared[0]],
            }
        )
    return rows
