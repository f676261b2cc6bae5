"""``infer``: score the held-out rows with the champions, and measure them once."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from pipeline.models.champions import model_entries, read_champions
from pipeline.scoring.drift import Profile, drift, merge_counts
from pipeline.scoring.metrics import BlockStats
from pipeline.scoring.parallel import BlockWork, score_blocks, timeline
from pipeline.scoring.tasks import Scored, ScoreSettings
from pipeline.stages.context import StageContext
from pipeline.stages.dataset import open_dataset
from pipeline.store.artifact import Outcome
from pipeline.store.card import DatasetCard
from pipeline.store.fingerprint import digest
from pipeline.store.layout import write_text
from pipeline.training.folds import microseconds

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
    for item, _ in results:
        _place(item.predictions, folder / "predictions" / f"part-{item.number:05d}.parquet")
        if item.quarantine.exists():
            _place(item.quarantine, folder / "quarantine" / f"part-{item.number:05d}.parquet")
    write_text(folder / "tasks.json", json.dumps(timeline(results, started)))
    shutil.rmtree(parts)
    return Outcome(
        rows_in=sum(scored.rows_in for _, scored in results),
        rows_out=sum(scored.rows_out for _, scored in results),
        rows_quarantined=sum(scored.rows_quarantined for _, scored in results),
        metrics=_metrics(context, settings, results),
    )


def _settings(context: StageContext, card: DatasetCard) -> ScoreSettings:
    train = context.artifacts["train"]
    champions = read_champions(train.folder)
    profile = json.loads((train.folder / "profile.json").read_text(encoding="utf-8"))
    return ScoreSettings(
        store=context.store.root,
        champions=model_entries(train),
        baselines={key: champion.baseline for key, champion in champions.items()},
        keep=tuple(dict.fromkeys((*card.key, card.time, *card.segment, card.target))),
        segment=card.segment,
        target=card.target,
        time=card.time,
        features=context.config.preprocess.features,
        profile=Profile.from_record(profile),
        rows=context.config.infer.rows,
        test_from=microseconds(card.test_start),
        batch_rows=context.config.infer.batch_rows,
        threads=max(1, int(context.config.engines.tasks.num_cpus)),
    )


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


def _metrics(context: StageContext, settings: ScoreSettings, results: Results) -> dict[str, Any]:
    stats = sum((scored.stats for _, scored in results), BlockStats())
    baseline = sum((scored.baseline for _, scored in results), BlockStats())
    labels = {k: c.label for k, c in read_champions(context.artifacts["train"].folder).items()}
    overall, plain = stats.overall().metrics(), baseline.overall().metrics()
    moved = drift(settings.profile, merge_counts([scored.drift for _, scored in results]))
    return {
        "overall": {
            "rows": sum(scored.rows_out for _, scored in results),
            "rows_scored_against_truth": overall.pop("rows"),
            **overall,
            "baseline_rmse": plain["rmse"],
            "baseline_mae": plain["mae"],
        },
        "by_segment": {
            key: {
                "label": labels.get(key, key),
                **segment.metrics(),
                "baseline_rmse": baseline.segments[key].metrics()["rmse"],
            }
            for key, segment in stats.segments.items()
        },
        "by_period": _by_period(results),
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


def _by_period(results: Results) -> list[dict[str, Any]]:
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
                "rmse": model["rmse"],
                "mae": model["mae"],
                "baseline_rmse": plain["rmse"],
            }
        )
    return rows
