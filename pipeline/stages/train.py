"""``train``: fit every candidate on every fold, choose each segment's champion, and save it."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.config import PipelineConfig
from pipeline.config.train import Select
from pipeline.engines.bounded import task_memory
from pipeline.errors import ConfigError, DataRefused
from pipeline.models.champions import ChampionRecord, write_champions
from pipeline.models.entry import Prediction
from pipeline.scoring.parallel import profile_blocks
from pipeline.stages.context import StageContext
from pipeline.stages.dataset import open_dataset
from pipeline.store.artifact import Outcome
from pipeline.store.card import DatasetCard
from pipeline.store.layout import write_text
from pipeline.training.candidates import check_candidates
from pipeline.training.eligible import HALVED, NO_TIME
from pipeline.training.expand import declared_candidates, expand_candidates
from pipeline.training.failures import check_failures, error_counts, made_fits
from pipeline.training.finals import SavedModel, Winner
from pipeline.training.folds import FoldColumn
from pipeline.training.index import SegmentIndex
from pipeline.training.journal import FitJournal
from pipeline.training.objective import Objective, greater_is_better
from pipeline.training.parallel import ParallelTraining
from pipeline.training.parents import Levels
from pipeline.training.result import GLOBAL_BASELINE, LEADERBOARD, from_table, in_order, published
from pipeline.training.scorers import check_scorers
from pipeline.training.segments import ALL, is_group, segment_id, segment_label
from pipeline.training.selection import Champion, Parents, choose_champions, choose_parents
from pipeline.training.settings import FitSettings
from pipeline.training.survey import survey_blocks


def check(config: PipelineConfig) -> None:
    """Find what cannot be built or does not fit the task before any stage starts to work.

    Raises:
        ConfigError: with every problem.
    """
    train, features = config.train, config.preprocess.features
    problems = []
    try:
        check_candidates(
            declared_candidates(train, features),
            features,
            train.seed,
            task=train.task,
            weighted=train.weight is not None,
        )
    except ConfigError as error:
        problems.append(str(error))
    try:
        check_scorers(train)
    except ConfigError as error:
        problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))


def run(context: StageContext, folder: Path) -> Outcome:
    """Train over the blocks in Ray; finished fits survive a kill in the store's ``parts``."""
    card, handed = open_dataset(context)
    parts = context.store.parts("train") / context.config.name
    journal = FitJournal(parts / "fits.journal")
    _refuse_text(context.config, card)
    settings = _settings(context, card)
    settings = dataclasses.replace(settings, classes=survey_blocks(settings, handed.blocks))
    check_scorers(context.config.train, len(settings.classes) or None)
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
    constants = training.baselines()
    training.fits(parts / "models")
    results = training.leaderboard()
    check_failures(results, context.config.train.max_failed_share)
    champions = _choose(results, index, settings, folder)
    fitted = [c for c in champions.values() if c.scope != "baseline"]
    saved = training.champions((c.fit for c in fitted), parts / "models")
    records = {
        key: _record(champion, training.rows(key), saved, folder, constants, settings.objective)
        for key, champion in champions.items()
    }
    write_champions(folder, records)
    write_text(folder / "profile.json", json.dumps(profile.record()))
    write_text(folder / "tasks.json", json.dumps(training.timeline))
    metrics = _metrics(context, training, results, champions, sum(handed.rows))
    journal.keep_only(training.plan.keys)
    _forget_models(parts / "models", saved, training.kept_files)
    return Outcome(rows_in=sum(handed.rows), rows_out=int(index.rows.sum()), metrics=metrics)


def _choose(
    results: pa.Table, index: SegmentIndex, settings: FitSettings, folder: Path
) -> dict[str, Champion]:
    """Choose the champions, and write the leaderboard on the way: both go segment by segment."""
    train = settings.train
    of_all = from_table(results.filter(pc.equal(results.column("segment"), ALL)))
    of_groups = from_table(results.filter(pc.starts_with(results.column("segment"), "{")))
    rows = dict(index.rows_by_segment())
    rule: _Rule = {
        "select": train.select,
        "order": tuple(train.candidates),
        "greater_is_better": greater_is_better(train.scorer),
    }
    parents = Parents(Levels(settings.segment, train.parents), choose_parents(of_groups, **rule))
    choose = partial(choose_champions, min_rows=train.min_rows, parents=parents, **rule)
    champions = choose(of_all, {})
    also = settings.train.also_score
    schema = published(LEADERBOARD.empty_table(), also).schema
    with pq.ParquetWriter(folder / "leaderboard.parquet", schema) as writer:
        for piece in in_order(results):
            writer.write_table(published(piece, also))
            here = {
                key: rows[key]
                for key in pc.unique(piece.column("segment")).to_pylist()
                if key != ALL and not is_group(key)
            }
            champions |= choose([*of_all, *from_table(piece)], here)
    return champions


class _Rule(TypedDict):
    """How winners are chosen, of groups and of segments."""

    select: Select
    order: tuple[str, ...]
    greater_is_better: bool


def _refuse_text(config: PipelineConfig, card: DatasetCard) -> None:
    kind = card.columns[card.target]
    if config.train.task != "classification" and "string" in kind:
        raise DataRefused(
            f"preprocess.target: {card.target} must be a number for train.task: "
            f"{config.train.task}. Got {kind} instead.",
            hint="Cast it in the SQL, or use train.task: classification.",
        )


def _settings(context: StageContext, card: DatasetCard) -> FitSettings:
    return FitSettings(
        train=expand_candidates(context.config.train, context.config.preprocess.features),
        numeric=card.numeric,
        categorical=card.categorical,
        segment=card.segment,
        target=card.target,
        time=card.time,
        periods=card.periods,
        test_from=card.test_micros,
        threads=max(1, int(context.config.engines.tasks.num_cpus)),
        memory_bytes=task_memory(context.config.engines.tasks),
        share=context.config.engines.tasks.share,
        fold_column=_fold_column(card),
        test_column=card.test_column,
    )


def _fold_column(card: DatasetCard) -> FoldColumn | None:
    if card.fold_column is None:
        return None
    return FoldColumn(card.fold_column, card.fold_kind, card.n_folds)


def _record(
    champion: Champion,
    rows: int,
    saved: dict[Winner, SavedModel],
    folder: Path,
    constants: dict[str, Prediction],
    objective: Objective,
) -> ChampionRecord:
    key = champion.segment
    own = constants.get(key, constants[ALL])
    file = digest = member = constant = None
    if champion.scope == "baseline":
        constant = constants[ALL] if champion.candidate == GLOBAL_BASELINE else own
    else:
        model = saved[champion.fit]
        file, digest, member = _model_file(champion, model), model.sha256, model.member
        _place(model.path, folder / file)
    return ChampionRecord(
        label=_label(key),
        candidate=champion.candidate,
        scope=champion.scope,
        fallback=champion.fallback,
        mean_score=champion.mean_score,
        std_score=champion.std,
        baseline_score=champion.baseline_score,
        folds=champion.folds,
        fold_scores=champion.fold_scores,
        rows_train=rows,
        baseline=own,
        file=file,
        sha256=digest,
        constant=constant,
        classes=objective.classes,
        quantiles=objective.quantiles,
        member=member,
    )


def _model_file(champion: Champion, model: SavedModel) -> str:
    if model.member is not None:
        return f"models/{model.path.name}"
    if champion.scope == "pooled":
        return f"models/pooled-{champion.candidate}.skops"
    if champion.parent is not None:
        return f"models/{segment_id(champion.parent)}-{champion.fit[1]}.skops"
    return f"models/{segment_id(champion.segment)}.skops"


def _place(source: Path, target: Path) -> None:
    if target.exists():
        return  # a pooled model and a bundle serve many segments
    target.parent.mkdir(exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _forget_models(
    folder: Path, saved: dict[Winner, SavedModel], kept_files: frozenset[Path]
) -> None:
    kept = {model.path for model in saved.values()} | kept_files
    for path in (file for kind in ("skops", "zip", "npz") for file in folder.glob(f"*.{kind}")):
        if path not in kept:
            path.unlink()


def _label(key: str) -> str:
    return "all other segments" if key == ALL else segment_label(key)


def _count_reason(skipped: pa.Table, reason: str) -> int:
    return int(pc.sum(pc.starts_with(skipped.column("error"), reason)).as_py() or 0)


def _metrics(
    context: StageContext,
    training: ParallelTraining,
    results: pa.Table,
    champions: dict[str, Champion],
    rows_in: int,
) -> dict[str, Any]:
    own = {key: champion for key, champion in champions.items() if key != ALL}
    made = Counter(made_fits(results).column("status").to_pylist())
    skipped = results.filter(
        pc.and_(
            pc.equal(results.column("status"), "skipped"), pc.equal(results.column("scope"), "own")
        )
    )
    halved, late = (_count_reason(skipped, reason) for reason in (HALVED, NO_TIME))
    trained_on = int(training.index.rows.sum())
    split = context.artifacts["preprocess"].manifest.metrics["split"]
    return {
        "segments": len(own),
        "fits": made.total(),
        "fits_failed": made["failed"],
        "fits_skipped": skipped.num_rows - halved - late,
        "fits_dropped_by_halving": halved,
        "fits_without_time": late,
        "fits_reused": training.plan.reused,
        "task": context.config.train.task,
        "scorer": context.config.train.scorer,
        "greater_is_better": greater_is_better(context.config.train.scorer),
        "classes": list(training.settings.classes),
        "rows": {
            "in": rows_in,
            "trained_on": trained_on,
            "held_out_for_the_test": split["test_rows"],
            "without_target": rows_in - split["test_rows"] - trained_on,
        },
        "errors": [
            {"candidate": e.candidate, "error": e.error, "count": e.count, "example": e.segment}
            for e in error_counts(results)
        ],
        "champions_by_candidate": dict(
            Counter(champion.candidate for champion in own.values()).most_common()
        ),
        "fallbacks": [
            {"segment": _label(key), "reason": champion.fallback, "model": champion.candidate}
            for key, champion in own.items()
            if champion.fallback
        ],
        "default": dataclasses.asdict(champions[ALL]),
    }
