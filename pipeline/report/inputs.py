"""What the page is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.report.pick import listing, mapping, text

_MEASURES = {
    "regression": ("rmse", "RMSE"),
    "classification": ("log_loss", "Log loss"),
    "quantile": ("pinball", "Pinball loss"),
}

STAGES = ("ingest", "preprocess", "convert", "train", "infer", "report")


@dataclass(frozen=True)
class ReportInputs:
    """Everything that the page shows. Any part may be empty: the page then says so.

    Args:
        title: heading of the page.
        pipeline: the pipeline's name.
        run: content of ``run.json``.
        events: lines of ``events.jsonl``, in order.
        manifests: manifest by stage.
        folders: artifact folder by stage.
        card: the model card of the train artifact.
        segments_shown: rows at most in a table or plot of segments.
        profile_columns: columns at most in the data profile.
    """

    title: str
    pipeline: str
    run: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    segments_shown: int = 40
    profile_columns: int = 60

    def metrics(self, stage: str) -> dict[str, Any]:
        return mapping(self.manifests.get(stage), "metrics")

    def config(self, stage: str) -> dict[str, Any]:
        return mapping(self.manifests.get(stage), "config")

    def file(self, stage: str, name: str) -> Path | None:
        """A file or folder of a stage's artifact; None where it is not there."""
        folder = self.folders.get(stage)
        path = folder / name if folder is not None else None
        return path if path is not None and path.exists() else None

    @property
    def target(self) -> str | None:
        return text(self.config("preprocess"), "target")

    @property
    def time_column(self) -> str | None:
        return text(self.config("preprocess"), "time")

    @property
    def units(self) -> dict[str, str]:
        """Unit by column name, as the sources declare them."""
        found: dict[str, str] = {}
        for source in mapping(self.config("ingest"), "sources").values():
            for name, column in mapping(source, "columns").items():
                unit = text(column, "unit")
                if unit:
                    found.setdefault(name, unit)
        return found

    @property
    def target_unit(self) -> str:
        return self.units.get(self.target or "", "")

    @property
    def task(self) -> str:
        """``regression``, ``classification`` or ``quantile``."""
        return text(self.metrics("train"), "task") or "regression"

    @property
    def measure(self) -> tuple[str, str]:
        """The error that sums up the held-out test: its key in the metrics, and its name."""
        return _MEASURES.get(self.task, _MEASURES["regression"])

    @property
    def measure_unit(self) -> str:
        return "" if self.task == "classification" else self.target_unit

    @property
    def greater_is_better(self) -> bool:
        """Of the scores that decided in training."""
        return self.metrics("train").get("greater_is_better") is True

    @property
    def scorer(self) -> str:
        """The scorer's name as readers know it: RMSE, MAE."""
        name = text(self.metrics("train"), "scorer") or text(self.config("train"), "scorer")
        return (name or "score").upper() if name in ("rmse", "mae") else (name or "score")

    @property
    def stage_rows(self) -> dict[str, dict[str, Any]]:
        """The run's record of each stage, by name."""
        rows = listing(self.run, "stages")
        return {str(row.get("stage")): row for row in rows if isinstance(row, dict)}
