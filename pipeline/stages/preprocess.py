"""``preprocess``: typed tables to one table of features, by the configuration's steps."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from pipeline.config import PipelineConfig
from pipeline.dataprep.check_features import check_features
from pipeline.dataprep.disguise import find_disguises
from pipeline.dataprep.last_runs import last_runs
from pipeline.dataprep.profile import profile_features
from pipeline.dataprep.split_plan import plan_split
from pipeline.dataprep.steps import make_features
from pipeline.dataprep.write_features import FeatureCounts, write_features
from pipeline.errors import DataRefused
from pipeline.handoff.blocks import plan_blocks, read_block
from pipeline.handoff.verify import table_checksums
from pipeline.stages.context import StageContext
from pipeline.store import Artifact
from pipeline.store.artifact import Outcome, published
from pipeline.store.layout import write_text

_log = logging.getLogger(__name__)


def run(context: StageContext, folder: Path) -> Outcome:
    """Run the steps over the ingested sources; write, describe and sum up their result."""
    config, ingest = context.config, context.artifacts["ingest"]
    features = folder / "features"
    context.progress(0, 0, f"{len(config.preprocess.steps)} steps")
    written = write_features(
        _frame(context.engines.spark(), config, ingest), config.preprocess, features
    )
    rows_in = _rows_in(config, ingest, written.rows + written.gap)
    checked = _check(context, features)
    context.progress(0, 0, f"profile of {written.rows:,} rows")
    files = sorted(features.glob("part-*.parquet"))
    split = plan_split(files, config.preprocess, written.gap)
    write_text(folder / "split.json", json.dumps(split, indent=1) + "\n")
    profile = profile_features(files, config.preprocess)
    _warn_of_useless(profile["columns"])
    blocks = plan_blocks([str(path) for path in files])
    return Outcome(
        rows_in=rows_in,
        rows_out=written.rows,
        metrics={
            "steps": [s.summary for s in config.preprocess.steps],
            "rows_dropped_by_sql": _dropped_by_sql(config, rows_in, written),
            **(
                {"rows_dropped_by_gap": written.gap}
                if config.preprocess.split.test.gap_days
                else {}
            ),
            "split": split,
            "segments": {
                "count": written.segments,
                "largest": written.largest,
                "smallest": written.smallest,
                "without_training_rows": written.untrained,
                "without_test_rows": written.untested,
            },
            **checked,
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


def _check(context: StageContext, features: Path) -> dict[str, Any]:
    """What became of the rules over the written table; without rules nothing is read."""
    config = context.config
    if not config.preprocess.rules:
        return {"rules": []}
    table = context.engines.spark().read.parquet(str(features))
    earlier = published(context.store, "preprocess", config.name)
    last = last_runs(earlier, context.fingerprint, lambda metrics: metrics.get("statistics"))
    return asdict(check_features(table, config.preprocess, last))


def _warn_of_useless(columns: dict[str, Any]) -> None:
    for key, words in (("all_null", "no value in"), ("constant", "one value alone in")):
        names = [n for n, c in columns.items() if c["role"] == "feature" and c[key]]
        if names:
            _log.warning("the feature table has %s %s", words, ", ".join(names))


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


def _dropped_by_sql(config: PipelineConfig, rows_in: int, written: FeatureCounts) -> int | None:
    return rows_in - written.rows - written.gap if config.preprocess.main else None
