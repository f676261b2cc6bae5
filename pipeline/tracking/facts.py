"""What MLflow is told, as plain text and numbers, from what the artifacts say."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline.config.pipeline import StageName
from pipeline.models.champions import ChampionRecord
from pipeline.store import Manifest
from pipeline.training.segments import segment_values

LONGEST = 6000
"""Characters that MLflow keeps of a parameter."""

MOST_PARAMS = 500
"""Of a run; all of the configuration is in its ``config.json``."""

_NO_KEY = re.compile(r"[^A-Za-z0-9_./ -]")


class Measure(NamedTuple):
    """One value of a metric; ``step`` is the fold, or 0."""

    key: str
    value: float
    step: int = 0


@dataclass(frozen=True)
class Facts:
    """All of one run of MLflow but its files."""

    name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: tuple[Measure, ...]


def identity(manifests: Mapping[StageName, Manifest]) -> str:
    """What a parent run is found again by: the models and their test."""
    return f"{manifests['train'].fingerprint}-{manifests['infer'].fingerprint}"


def run_facts(record: Mapping[str, Any], manifests: Mapping[StageName, Manifest]) -> Facts:
    """The facts of a whole run.

    Args:
        record: the run's ``run.json``.
        manifests: of the six artifacts that it made or used.
    """
    fingerprints = {stage: manifest.fingerprint for stage, manifest in manifests.items()}
    settings = {name: manifests[name].config for name in ("train", "preprocess")}
    # Parameters cannot change, and a report may be made again of what is tracked already.
    made = {stage: found for stage, found in fingerprints.items() if stage != "report"}
    flat = {**flatten("fingerprint", made), **flatten("", settings)}
    tags = {
        "pipeline.name": record["pipeline"],
        "pipeline.run_id": record["run_id"],
        "pipeline.last_run_id": record["run_id"],
        "pipeline.tracked": identity(manifests),
        "pipeline.kind": "run",
        **{f"pipeline.fingerprint.{stage}": found for stage, found in fingerprints.items()},
    }
    return Facts(
        name=record["run_id"],
        params=dict(list(flat.items())[:MOST_PARAMS]),
        tags=tags,
        metrics=tuple(_run_metrics(record, manifests)),
    )


def _run_metrics(
    record: Mapping[str, Any], manifests: Mapping[StageName, Manifest]
) -> Iterator[Measure]:
    train = manifests["train"].metrics
    yield from measures("test", manifests["infer"].metrics["overall"])
    yield from measures("", {key: train[key] for key in ("segments", "fits", "fits_failed")})
    yield Measure("fallbacks", len(train["fallbacks"]))
    for stage, manifest in manifests.items():
        keys = ("rows_in", "rows_out", "rows_quarantined", "seconds")
        yield from measures(stage, {key: getattr(manifest, key) for key in keys})
    run = {"seconds": record["seconds"], "peak_memory_bytes": record.get("peak_memory_bytes")}
    yield from measures("run", run)


def segment_facts(
    key: str,
    champion: ChampionRecord,
    record: Mapping[str, Any],
    manifests: Mapping[StageName, Manifest],
) -> Facts:
    """The facts of one segment: its champion, how it did on its folds, and in the test."""
    scorer = manifests["train"].metrics["scorer"]
    columns = manifests["preprocess"].config["segment"]
    values = dict(zip(columns, segment_values(key), strict=True))
    params = {
        "candidate": champion.candidate,
        "scope": champion.scope,
        "fallback": champion.fallback,
        "segment": values,
        "constant": champion.constant,
    }
    tags = {
        "pipeline.name": record["pipeline"],
        "pipeline.run_id": record["run_id"],
        "pipeline.kind": "segment",
        "pipeline.segment": key,
        "pipeline.fingerprint.train": manifests["train"].fingerprint,
    }
    tested = manifests["infer"].metrics["by_segment"].get(key, {})
    return Facts(
        name=champion.label,
        params=flatten("", params),
        tags=tags,
        metrics=tuple((*_folds(champion, scorer), *measures("test", tested))),
    )


def _folds(champion: ChampionRecord, scorer: str) -> Iterator[Measure]:
    found = {
        scorer: champion.mean_score,
        f"{scorer}_std": champion.std_score,
        f"baseline_{scorer}": champion.baseline_score,
    }
    yield from measures("folds", found)
    yield Measure("rows_train", champion.rows_train)
    for fold, score in zip(champion.folds, champion.fold_scores, strict=False):
        yield from measures("fold", {scorer: score}, step=fold)


def measures(at: str, values: Mapping[str, Any], step: int = 0) -> Iterator[Measure]:
    """The finite numbers below a mapping; a pair is a low and a high end."""
    for name, value in values.items():
        key = f"{at}_{name}" if at else name
        if isinstance(value, Mapping):
            yield from measures(f"{at}_{name}" if name != "intervals" else at, value, step)
        elif isinstance(value, list) and len(value) == 2:
            yield from measures(key, dict(zip(("low", "high"), value, strict=True)), step)
        elif _is_number(value):
            yield Measure(_NO_KEY.sub("_", key), float(value), step)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def flatten(at: str, value: Any) -> dict[str, str]:
    """Leaves by dotted path, as text; what is not set is left out."""
    if isinstance(value, Mapping):
        parts = (flatten(f"{at}.{key}" if at else str(key), child) for key, child in value.items())
        return {key: text for part in parts for key, text in part.items()}
    if value is None or value in ((), []):
        return {}
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    shown = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return {_NO_KEY.sub("_", at)[:250]: shown}


def batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Consecutive pieces of at most ``size``, for MLflow's limits of a request."""
    held = list(items)
    for start in range(0, len(held), size):
        yield held[start : start + size]
