"""``report``: one HTML page over everything that was published."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from pipeline.models.card import model_card
from pipeline.report.inputs import ReportInputs
from pipeline.report.page import render
from pipeline.stages.context import StageContext
from pipeline.store.artifact import Outcome
from pipeline.store.layout import write_text


def run(context: StageContext, folder: Path) -> Outcome:
    """Render the page from the manifests, the artifacts' files and this run's events."""
    config, log = context.config, context.log
    lines = (log.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    inputs = ReportInputs(
        title=config.report.title or config.description or config.name,
        pipeline=config.name,
        run=log.record("running"),
        events=[json.loads(line) for line in lines],
        manifests={s: dataclasses.asdict(a.manifest) for s, a in context.artifacts.items()},
        folders={stage: artifact.folder for stage, artifact in context.artifacts.items()},
        card=model_card({stage: a.manifest for stage, a in context.artifacts.items()}),
        segments_shown=config.report.segments_shown,
        profile_columns=config.report.profile_columns,
    )
    write_text(folder / "report.html", render(inputs))
    rows = context.artifacts["infer"].manifest.rows_out
    return Outcome(rows_in=rows, rows_out=rows)
