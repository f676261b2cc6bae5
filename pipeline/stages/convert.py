"""``convert``: carry the features into Ray, prove that they arrived, and write the dataset card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.config.preprocess import FOLD, SPLIT, PreprocessConfig, SplitConfig
from pipeline.engines.session import Engines
from pipeline.errors import StageFailed
from pipeline.handoff.choose import estimate_seconds
from pipeline.handoff.to_ray import HandedOff, to_ray
from pipeline.handoff.verify import block_checksums
from pipeline.stages.context import StageContext
from pipeline.store import Artifact
from pipeline.store.artifact import Outcome
from pipeline.store.card import DatasetCard


def run(context: StageContext, folder: Path) -> Outcome:
    """Hand the feature files over and compare rows, schema and checksums with their manifest."""
    source = context.artifacts["preprocess"]
    files = source.files("features")
    handed = to_ray(
        [str(file) for file in files],
        columns=None,
        mode=context.config.convert.mode,
        engines=context.engines,
    )
    context.progress(0, 0, f"verifying {sum(handed.rows):,} rows")
    _verify(handed, source, context.engines)
    metrics = _metrics(handed, context)
    # The data is in Ray's object store now; Spark's cores and memory are Ray's from here on.
    context.engines.release_spark()
    context.handed_off = handed
    _card(context, source, handed).write(folder)
    rows = sum(handed.rows)
    return Outcome(rows, rows, metrics=metrics)


def _verify(handed: HandedOff, source: Artifact, engines: Engines) -> None:
    metrics = source.manifest.metrics
    if sum(handed.rows) != source.manifest.rows_out:
        raise StageFailed(
            f"{sum(handed.rows):,} rows arrived in Ray; the manifest of preprocess says "
            f"{source.manifest.rows_out:,}"
        )
    columns = {field.name: str(field.type) for field in handed.schema}
    if columns != metrics["columns"]:
        raise StageFailed(
            f"the columns that arrived are {columns}; the manifest says {metrics['columns']}"
        )
    with engines.handoff_deadline("verifying what arrived in Ray"):
        found = block_checksums(
            handed.blocks, in_flight=2 * engines.plan.ray_cpus, watch=engines.spill.check
        )
    wrong = [name for name, value in metrics["checksums"].items() if found.get(name) != value]
    if wrong:
        raise StageFailed(
            f"checksums of what arrived in Ray differ from the Parquet files': {', '.join(wrong)}",
            hint="Run again; if it stays so, use convert.mode: parquet and report it.",
        )


def _card(context: StageContext, source: Artifact, handed: HandedOff) -> DatasetCard:
    config = context.config.preprocess
    entries = [e for e in source.manifest.files if e.path.startswith("features/")]
    return DatasetCard(
        artifact=source.manifest.fingerprint,
        files=tuple(e.path for e in entries),
        sha256=tuple(e.sha256 for e in entries),
        rows=tuple(e.rows or 0 for e in entries),
        columns={field.name: str(field.type) for field in handed.schema},
        key=config.key,
        time=config.time,
        segment=config.segment,
        target=config.target,
        numeric=config.features.numeric,
        categorical=config.features.categorical,
        test_from=None if (start := config.split.test_from) is None else start.isoformat(),
        folds=tuple(
            (a.isoformat(), b.isoformat(), c.isoformat()) for a, b, c in config.split.periods()
        ),
        **_numbered_folds(config.split),
        **_drawn_test(config, source.manifest.fingerprint),
    )


def _numbered_folds(split: SplitConfig) -> dict[str, Any]:
    if split.kind == "time":
        return {}
    return {"fold_kind": split.kind, "fold_column": FOLD, "n_folds": split.folds}


def _drawn_test(config: PreprocessConfig, artifact: str) -> dict[str, Any]:
    test = config.split.test
    if test.by_time:
        return {}
    columns = test.group or test.key or config.key
    rule: list[Any] = [test.kind, test.share, test.seed, *columns]
    if test.kind == "stratified":  # a row may move when others are added
        rule = [test.kind, artifact]
    return {"test_column": SPLIT, "test_rule": json.dumps(rule)}


def _metrics(handed: HandedOff, context: StageContext) -> dict[str, Any]:
    other = "parquet" if handed.mode == "raydp" else "raydp"
    seconds, basis = estimate_seconds(other, handed.bytes, context.engines)
    return {
        "mode": handed.mode,
        "reason": handed.reason,
        "blocks": len(handed.blocks),
        "rows": sum(handed.rows),
        "bytes": handed.bytes,
        "seconds_transfer": round(handed.seconds, 3),
        "rows_per_second": round(sum(handed.rows) / max(handed.seconds, 1e-6)),
        "other_mode": {"mode": other, "estimated_seconds": round(seconds, 2), "basis": basis},
        "checksums": "verified",
    }
