"""``pipeline models compare``: two versions on the same held-out rows."""

from __future__ import annotations

from typing import Any

from pipeline.config import PipelineConfig
from pipeline.errors import StoreError
from pipeline.models.admin import registry_of
from pipeline.models.version import DEFAULT
from pipeline.scoring.compare import Compared, compare
from pipeline.scoring.contest import contest, decided, latest_card, read_scores, trained_on
from pipeline.training.segments import segment_label


def compare_versions(
    config: PipelineConfig, champion: str | None, challenger: str | None
) -> dict[str, Any]:
    """Per segment both scores, their difference with its interval, and the verdict.

    Args:
        champion: a version; the champion when left out.
        challenger: a version; the newest other one when left out.

    Raises:
        StoreError: there are no two versions to compare, or one cannot be loaded.
        DataRefused: the held-out rows lack a feature of one of them.
    """
    registry = registry_of(config)
    first = registry.show(champion) if champion else registry.champions()
    if first is None:
        raise StoreError(
            f"Pipeline {config.name!r} has no champion yet.",
            hint="Run the pipeline first, or name two versions.",
        )
    others = [name for name in registry.versions() if name != first.name]
    if challenger is None and not others:
        raise StoreError(
            f"{first.name} is the only version of pipeline {config.name!r}.",
            hint="Train another one: there is nothing to compare it with.",
        )
    second = registry.show(challenger or others[-1])
    meeting = contest(config, first, second, latest_card(config), trained_on(read_scores(config)))
    rows = decided(compare(meeting), config.promotion, second)
    return {
        "champion": first.name,
        "challenger": second.name,
        "scorer": config.train.scorer,
        "rows": rows[0].rows if rows else 0,
        "segments": [_record(row) for row in rows],
    }


def shown(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The comparison as lines of a terminal: all rows first, then most rows first."""
    columns = ("champion_score", "challenger_score", "baseline_score", "difference", "low", "high")
    everything, *segments = found["segments"] or [None]
    ordered = [everything, *sorted(segments, key=lambda s: -s["rows"])] if everything else []
    return [
        {
            "segment": row["label"],
            "rows": row["rows"],
            **{name.removesuffix("_score"): row[name] for name in columns},
            "verdict": row["verdict"],
        }
        for row in ordered
    ]


def _record(row: Compared) -> dict[str, Any]:
    assert row.decision is not None
    return {
        "segment": row.segment,
        "label": "all rows" if row.segment == DEFAULT else segment_label(row.segment),
        "rows": row.rows,
        "champion": row.champion,
        "challenger": row.challenger,
        "champion_score": row.champion_score,
        "challenger_score": row.challenger_score,
        "baseline_score": row.baseline_score,
        "difference": row.difference,
        "low": row.low,
        "high": row.high,
        "verdict": "same" if row.same else "promote" if row.decision.promote else "keep",
        "reason": row.decision.reason,
    }
