"""``train``: fit every candidate on every fold, choose each segment's champion, and save it."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.config import PipelineConfig
from pipeline.models.champions import ChampionRecord, write_champions
from pipeline.scoring.parallel import profile_blocks
from pipeline.stages.context import StageContext
from pipeline.stages.dataset import open_dataset
from pipeline.store.artifact import Outcome
from pipeline.store.card import DatasetCard
from pipeline.store.layout import write_text
from pipeline.training.candidates import check_candidates
from pipeline.training.failures import check_failures, error_counts
from pipeline.training.folds import microseconds
from pipeline.training.journal import FitJournal
from pipeline.training.parallel import ParallelTraining
from pipeline.training.result import GLOBAL_BASELINE, FitResult, leaderboard
from pipeline.training.segments import ALL, segment_id, segment_values
from pipeline.training.selection import Champion, choose_champions
from pipeline.training.settings import FitSettings


def check(config: PipelineConfig) -> None:
    """Find candidates that cannot be built before any stage starts to work.

    Raises:
        ConfigError: with every problem.
    """
    check_candidates(config.train.candidates, config.preprocess.features)


def run(context: StageContext, folder: Path) -> Outcome:
    """Train over the blocks in Ray; finished fits survive a kill in the store's ``parts``."""
    card, handed = open_dataset(context)
    parts = context.store.parts("train") / context.config.name
    journal = FitJournal(parts / "fits.jsonl")
    settings = _settings(context, card)
    training = ParallelTraining(
        settings=settings,
        blocks=handed.blocks,
        tasks=context.config.engines.tasks,
        cpus=context.engines.plan.ray_cpus,
        journal=journal,
        progress=context.progress,
        watch=context.engines.spill.check,
    )
    index = training.read_index()
    profile = profile_blocks(settings, handed.blocks)
    baselines, constants = training.baselines()
    results = [*baselines, *training.fits(parts / "models")]
    check_failures(results, context.config.train.max_failed_share)
    rows = {key: segment.rows for key, segment in index.items()}
    champions = choose_champions(results, rows, context.config.train.min_rows)
    fitted = [c for c in champions.values() if c.scope != "baseline"]
    saved = training.champions(fitted, parts / "models")
    records = {
        key: _record(champion, training, saved, parts / "models", folder, constants)
        for key, champion in champions.items()
    }
    write_champions(folder, records)
    pq.write_table(leaderboard(results), folder / "leaderboard.parquet")
    write_text(folder / "profile.json", json.dumps(profile.record()))
    write_text(folder / "tasks.json", json.dumps(training.timeline))
    journal.keep_only(training.keys)
    _forget_models(parts / "models", training, saved)
    return Outcome(
        rows_in=sum(handed.rows),
        rows_out=sum(rows.values()),
        metrics=_metrics(context, training, results, champions, rows, sum(handed.rows)),
    )


def _settings(context: StageContext, card: DatasetCard) -> FitSettings:
    return FitSettings(
        train=context.config.train,
        numeric=card.numeric,
        categorical=card.categorical,
        segment=card.segment,
        target=card.target,
        time=card.time,
        periods=card.periods,
        test_from=microseconds(card.test_start),
        threads=max(1, int(context.config.engines.tasks.num_cpus)),
    )


def _record(
    champion: Champion,
    training: ParallelTraining,
    saved: dict[tuple[str, str], str],
    models: Path,
    folder: Path,
    constants: dict[str, float],
) -> ChampionRecord:
    key = champion.segment
    own = constants.get(key, constants[ALL])
    file = sha256 = constant = None
    if champion.scope == "baseline":
        constant = constants[ALL] if champion.candidate == GLOBAL_BASELINE else own
    else:
        segment = ALL if champion.scope == "pooled" else champion.segment
        file = _model_file(segment, champion.candidate)
        sha256 = saved[segment, champion.candidate]
        _place(training.saved_model(models, segment, champion.candidate), folder / file)
    return ChampionRecord(
        label=label(key),
        candidate=champion.candidate,
        scope=champion.scope,
        fallback=champion.fallback,
        mean_score=champion.mean_score,
        std_score=champion.std,
        baseline_score=champion.baseline_score,
        folds=champion.folds,
        rows_train=training.rows(key),
        baseline=own,
        file=file,
        sha256=sha256,
        constant=constant,
    )


def _model_file(segment: str, candidate: str) -> str:
    name = f"pooled-{candidate}" if segment == ALL else segment_id(segment)
    return f"models/{name}.skops"


def _place(source: Path, target: Path) -> None:
    if target.exists():
        return  # a pooled model serves many segments
    target.parent.mkdir(exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _forget_models(
    folder: Path, training: ParallelTraining, saved: dict[tuple[str, str], str]
) -> None:
    kept = {training.saved_model(folder, *key) for key in saved}
    for path in folder.glob("*.skops"):
        if path not in kept:
            path.unlink()


def label(key: str) -> str:
    """A segment's name for people: ``EWR · UA``."""
    if key == ALL:
        return "all other segments"
    return " · ".join("null" if v is None else str(v) for v in segment_values(key))


def _metrics(
    context: StageContext,
    training: ParallelTraining,
    results: list[FitResult],
    champions: dict[str, Champion],
    rows: dict[str, int],
    rows_in: int,
) -> dict[str, Any]:
    own = {key: champion for key, champion in champions.items() if key != ALL}
    fits = [r for r in results if r.scope == "own" or (r.scope == "pooled" and r.segment == ALL)]
    split = context.artifacts["preprocess"].manifest.metrics["split"]
    return {
        "segments": len(own),
        "fits": sum(r.status != "skipped" for r in fits),
        "fits_failed": sum(r.status == "failed" for r in fits),
        "fits_skipped": sum(r.status == "skipped" for r in fits),
        "fits_reused": training.reused,
        "scorer": context.config.train.scorer,
        "rows": {
            "in": rows_in,
            "trained_on": sum(rows.values()),
            "held_out_for_the_test": split["test_rows"],
            "without_target": rows_in - split["test_rows"] - sum(rows.values()),
        },
        "errors": [
            {"candidate": e.candidate, "error": e.error, "count": e.count, "example": e.segment}
            for e in error_counts(results)
        ],
        "champions_by_candidate": dict(
            Counter(champion.candidate for champion in own.values()).most_common()
        ),
        "fallbacks": [
            {"segment": label(key), "reason": champion.fallback, "model": champion.candidate}
            for key, champion in own.items()
            if champion.fallback
        ],
        "default": dataclasses.asdict(champions[ALL]),
    }
