"""``champions.json`` of a train artifact: which model each segment got, and why."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.models.entry import ModelEntry, Prediction, Scope
from pipeline.store import Artifact
from pipeline.store.layout import write_text

CHAMPIONS = "champions.json"


@dataclass(frozen=True)
class ChampionRecord:
    """One segment's champion. Scores are those of the scorer that decides.

    Attributes:
        label: the segment, for people.
        baseline: what the segment's baseline predicts.
        file: the model below the artifact's folder; None where a baseline is the champion.
        constant: what that baseline predicts.
        classes, quantiles: what the model's outputs stand for; none of a regression.
        member: the model's name, if the file is a bundle of many.
        fold_scores: the score on each of ``folds``; empty in files written before it was kept.
    """

    label: str
    candidate: str
    scope: Scope
    fallback: str | None
    mean_score: float | None
    std_score: float | None
    baseline_score: float | None
    folds: tuple[int, ...]
    rows_train: int
    baseline: Prediction
    file: str | None
    sha256: str | None
    constant: Prediction | None
    classes: tuple[str, ...] = ()
    quantiles: tuple[float, ...] = ()
    member: str | None = None
    fold_scores: tuple[float, ...] = ()

    @property
    def model(self) -> str:
        """Short name of the model, for people."""
        return self.candidate if self.scope == "baseline" else f"{self.scope}:{self.candidate}"


def write_champions(folder: Path, champions: dict[str, ChampionRecord]) -> None:
    text = json.dumps(
        {key: {**dataclasses.asdict(c), "model": c.model} for key, c in champions.items()},
        indent=1,
        ensure_ascii=False,
    )
    write_text(folder / CHAMPIONS, text + "\n")


def read_champions(folder: Path) -> dict[str, ChampionRecord]:
    """By segment key; ``*`` is for rows of segments that were not trained on."""
    found = json.loads((folder / CHAMPIONS).read_text(encoding="utf-8"))
    champions = {}
    for key, record in found.items():
        del record["model"]
        tuples = {name: tuple(v) for name, v in record.items() if isinstance(v, list)}
        champions[key] = ChampionRecord(**{**record, **tuples})
    return champions


def model_entries(train: Artifact) -> dict[str, ModelEntry]:
    """The champions of a train artifact as the registry and scoring take them."""
    manifest = train.manifest
    return {
        key: ModelEntry(
            segment=key,
            candidate=record.candidate,
            scope=record.scope,
            fingerprint=manifest.fingerprint,
            created_at=manifest.started_at,
            file=f"artifacts/train/{manifest.fingerprint}/{record.file}" if record.file else None,
            sha256=record.sha256,
            member=record.member,
            constant=record.constant,
            fallback=record.fallback,
            classes=record.classes,
            quantiles=record.quantiles,
            metrics={"mean_score": record.mean_score, "baseline_score": record.baseline_score},
        )
        for key, record in read_champions(train.folder).items()
    }
