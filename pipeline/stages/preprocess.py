"""``preprocess``: typed tables to one table of features, by the configuration's steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from pipeline.config import PipelineConfig
from pipeline.config.preprocess import FOLD, SplitConfig
from pipeline.dataprep.disguise import find_disguises
from pipeline.dataprep.profile import profile_features
from pipeline.dataprep.steps import make_features
from pipeline.dataprep.write_features import write_features
from pipeline.errors import DataRefused
from pipeline.handoff.blocks import plan_blocks, read_block
from pipeline.handoff.verify import table_checksums
from pipeline.stages.context import StageContext
from pipeline.store import Artifact
from pipeline.store.artifact import Outcome
from pipeline.store.layout import write_text
from pipeline.training.folds import microseconds, numbered_folds, time_folds
from pipeline.training.matrix import fold_numbers


def run(context: StageContext, folder: Path) -> Outcome:
    """Run the steps over the ingested sources; write, describe and sum up their result."""
    config, ingest = context.config, context.artifacts["ingest"]
    features = folder / "features"
    context.progress(0, 0, f"{len(config.preprocess.steps)} steps")
    written = write_features(
        _frame(context.engines.spark(), config, ingest), config.preprocess, features
    )
    rows_in = _rows_in(config, ingest, written.rows)
    context.progress(0, 0, f"profile of {written.rows:,} rows")
    files = sorted(features.glob("part-*.parquet"))
    split = _split(config, features)
    write_text(folder / "split.json", json.dumps(split, indent=1) + "\n")
    profile = profile_features(files, config.preprocess)
    blocks = plan_blocks([str(path) for path in files])
    return Outcome(
        rows_in=rows_in,
        rows_out=written.rows,
        metrics={
            "steps": [s.summary for s in config.preprocess.steps],
            "rows_dropped_by_sql": rows_in - written.rows if config.preprocess.main else None,
            "split": split,
            "segments": _segments(config, features),
            "suspicious": profile["suspicious"] + _disguises(files, config, profile),
            "profile": profile["columns"],
            "columns": {field.name: str(field.type) for field in blocks.schema},
            # Of the files as they are read back, so that convert can prove what arrives in Ray.
            "checksums": table_checksums(read_block(s, blocks.schema) for s in blocks.specs),
        },
    )


def _disguises(
    files: list[Path], config: PipelineConfig, profile: dict[str, Any]
) -> list[dict[str, Any]]:
    suspected = {item["feature"] for item in profile["suspicious"]}
    return find_disguises(files, config.preprocess, suspected)


def _frame(spark: SparkSession, config: PipelineConfig, ingest: Artifact) -> DataFrame:
    views = {
        source: spark.read.parquet(*(str(path) for path in ingest.files(source)))
        for source in config.ingest.sources
    }
    return make_features(spark, config.preprocess, config.path("."), views)


def _rows_in(config: PipelineConfig, ingest: Artifact, rows_out: int) -> int:
    sources = ingest.manifest.metrics["sources"]
    main = config.preprocess.main
    if main is None:
        return sum(int(source["rows_out"]) for source in sources.values())
    rows_in = int(sources[main]["rows_out"])
    if rows_out > rows_in:
        raise DataRefused(
            f"preprocess makes {rows_out:,} rows of the {rows_in:,} of {main!r}: "
            "a join in the SQL multiplies rows",
            hint="Join on columns that are unique in the other table, or aggregate it first.",
        )
    return rows_in


def _split(config: PipelineConfig, folder: Path) -> dict[str, Any]:
    """The plan of the split, with the rows on each side of every border."""
    plan, split = config.preprocess, config.preprocess.split
    own = () if split.kind == "time" else (FOLD, *split.group)
    table = pq.read_table(folder, columns=list(dict.fromkeys((plan.time, plan.target, *own))))
    labelled = table.column(plan.target).is_valid().to_numpy()  # infinite ones were refused
    times = table.column(plan.time).cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    test = times >= microseconds(split.test_from)
    trained = ~test & labelled
    if split.kind == "time":
        folds = _time_folds(split, times[trained])
    else:
        folds = _numbered_folds(split, table.filter(pa.array(trained)))
    return {
        "kind": split.kind,
        "test_from": split.test_from.isoformat(),
        "train_rows": int(np.count_nonzero(~test)),
        "train_rows_with_target": int(np.count_nonzero(trained)),
        "test_rows": int(np.count_nonzero(test)),
        "test_rows_with_target": int(np.count_nonzero(test & labelled)),
        **({"group": list(split.group)} if split.group else {}),
        "folds": folds,
    }


def _time_folds(split: SplitConfig, times: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    folds = zip(split.periods(), time_folds(times, split.periods()), strict=True)
    return [
        {
            "train_until": until.isoformat(),
            "valid_from": start.isoformat(),
            "valid_until": end.isoformat(),
            "rows_train": len(train_rows),
            "rows_valid": len(valid_rows),
        }
        for (until, start, end), (train_rows, valid_rows) in folds
    ]


def _numbered_folds(split: SplitConfig, rows: pa.Table) -> list[dict[str, Any]]:
    """The rows of each fold, and of folds by group the groups that it validates on.

    Raises:
        DataRefused: a fold has no row to validate on.
    """
    by_fold = numbered_folds(fold_numbers(rows, FOLD), split.folds)
    folds: list[dict[str, Any]] = [
        {"rows_train": len(train), "rows_valid": len(valid)} for train, valid in by_fold
    ]
    found = f"{rows.num_rows:,} rows"
    if split.group:
        groups = _groups(split, rows)
        found = f"{sum(groups):,} groups of {', '.join(split.group)}"
        folds = [fold | {"groups_valid": n} for fold, n in zip(folds, groups, strict=True)]
    if empty := [str(n) for n, fold in enumerate(folds, 1) if not fold["rows_valid"]]:
        raise DataRefused(
            f"preprocess.split: each of {split.folds} folds must have training rows to validate "
            f"on. Got {found}, and none of them in fold {', '.join(empty)} instead",
            hint="Set fewer folds or another seed, or group by columns with more values.",
        )
    return folds


def _groups(split: SplitConfig, rows: pa.Table) -> list[int]:
    """How many groups each fold validates on."""
    each = rows.group_by(list(dict.fromkeys((FOLD, *split.group)))).aggregate([])
    counts: list[int] = np.bincount(each.column(FOLD).to_numpy(), minlength=split.folds).tolist()
    return counts


def _segments(config: PipelineConfig, folder: Path) -> dict[str, int]:
    columns = list(config.preprocess.segment)
    counts = pq.read_table(folder, columns=columns).group_by(columns).aggregate([([], "count_all")])
    rows = counts.column("count_all").to_pylist()
    return {"count": len(rows), "largest": max(rows), "smallest": min(rows)}
