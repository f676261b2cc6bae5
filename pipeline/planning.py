"""What would run, what would be skipped, and why. Starts no engine and imports none."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pipeline.config.pipeline import STAGES, PipelineConfig, StageName
from pipeline.config.steps import PythonStep, SqlStep
from pipeline.config.train import EXTRAS
from pipeline.engines.tables import raw_tables
from pipeline.errors import ConfigError, StoreError
from pipeline.store import Artifact, Store
from pipeline.store.artifact import open_artifact, published
from pipeline.store.corrections import corrections_path
from pipeline.store.days import Days
from pipeline.store.fingerprint import (
    HashCache,
    code_version,
    fingerprint,
    library_versions,
    sha256_file,
)
from pipeline.store.inputs import find_inputs
from pipeline.store.modules import find_module_files
from pipeline.training.expand import expand_candidates


@dataclass(frozen=True)
class StageSpec:
    """What shapes a stage's output besides its configuration."""

    needs: tuple[StageName, ...]
    code: tuple[str, ...]
    libraries: tuple[str, ...]


SPECS: Mapping[StageName, StageSpec] = {
    "ingest": StageSpec(
        (),
        ("dataprep", "stages/ingest.py", "stages/increments.py", "stages/raw.py"),
        ("pyspark",),
    ),
    "preprocess": StageSpec(
        ("ingest",),
        ("dataprep", "stages/preprocess.py", "handoff/checksum.py", "handoff/verify.py"),
        ("pyspark",),
    ),
    "convert": StageSpec(
        ("preprocess",), ("handoff", "stages/convert.py"), ("pyarrow", "raydp", "ray")
    ),
    "train": StageSpec(
        ("convert",),
        ("training", "models", "stages/train.py"),
        ("scikit-learn", "numpy", "scipy", "pandas", "skops"),
    ),
    "infer": StageSpec(
        ("convert", "train"),
        ("scoring", "models", "stages/infer.py"),
        ("scikit-learn", "numpy", "pyarrow", "pandas", "scipy"),
    ),
    "report": StageSpec(
        ("ingest", "preprocess", "convert", "train", "infer"),
        ("report", "models/card.py", "stages/report.py"),
        ("matplotlib", "jinja2"),
    ),
}

_PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class StagePlan:
    """One stage's part of a plan. ``identity`` is what its manifest will repeat."""

    stage: StageName
    action: Literal["run", "skip"]
    reason: str
    fingerprint: str
    code_version: str
    config: dict[str, Any]
    inputs: dict[str, str]
    versions: dict[str, str]
    artifact: Artifact | None


def plan(
    config: PipelineConfig,
    *,
    force: Iterable[StageName] = (),
    again: Days | None = None,
    reread: bool = True,
    found: Mapping[str, str] | None = None,
) -> list[StagePlan]:
    """Plan all six stages, in order.

    A stage runs when no intact artifact with its fingerprint is published; the reason says what
    differs from the last artifact that this pipeline made.

    Args:
        config: the pipeline.
        force: stages to run though nothing has changed.
        again: days of a backfill, for which ingest runs.
        reread: whether ingest runs for tables alone that say nothing of whether they changed.
            What follows it is planned as if they had not.
        found: what ingest has found in such tables now; left out, what it found last.

    Raises:
        DataRefused: a raw file is missing or cannot be read.
        ConfigError: an SQL file or a function's module is missing.
        StageFailed: a database does not say whether a table changed.
    """
    store = Store(config.store_path)
    raw = _raw_files(config, store)
    tables = raw_tables(config, store, found)
    raw |= tables.hashes
    forced = dict.fromkeys(force, "forced")
    if again is not None:
        forced.setdefault("ingest", f"backfill of {again}")
    plans: dict[StageName, StagePlan] = {}
    for stage in STAGES:
        plans[stage] = _plan_stage(stage, config, store, raw, plans, forced.get(stage))
        if stage == "ingest" and reread and tables.unsure and plans[stage].action == "skip":
            plans[stage] = replace(plans[stage], action="run", reason=tables.reason)
    return list(plans.values())


def with_found(
    config: PipelineConfig, planned: StagePlan, found: Mapping[str, str], *, keep: bool
) -> StagePlan:
    """A plan that was carried out, under what its inputs turned out to be.

    With ``keep`` its artifact is the published one that is the same, if there is one.
    """
    identity: dict[str, Any] = {
        "code_version": planned.code_version,
        "config": planned.config,
        "inputs": planned.inputs | dict(found),
        "versions": planned.versions,
    }
    name = fingerprint(stage=planned.stage, **identity)
    artifact, damage = _look_up(Store(config.store_path), planned.stage, name)
    kept = artifact if keep and not damage else None
    return replace(planned, fingerprint=name, inputs=identity["inputs"], artifact=kept)


def planned_candidates(config: PipelineConfig) -> dict[str, Any]:
    """Every candidate that train would fit, by name: presets and searches expanded.

    Raises:
        ConfigError: a search makes too many candidates.
    """
    train = expand_candidates(config.train, config.preprocess.features)
    return {name: c.model_dump(mode="json") for name, c in train.candidates.items()}


def _plan_stage(
    stage: StageName,
    config: PipelineConfig,
    store: Store,
    raw: dict[str, str],
    before: Mapping[StageName, StagePlan],
    forced: str | None,
) -> StagePlan:
    spec = SPECS[stage]
    inputs: dict[str, str] = {name: before[name].fingerprint for name in spec.needs}
    if stage == "ingest":
        inputs |= raw
    if stage == "preprocess":
        inputs |= _step_files(config)
    identity: dict[str, Any] = {
        "code_version": code_version(_PACKAGE, spec.code),
        "config": json.loads(json.dumps(config.stage(stage))),
        "inputs": inputs,
        "versions": library_versions(spec.libraries) | _extra_versions(config, stage),
    }
    name = fingerprint(stage=stage, **identity)
    artifact, damage = _look_up(store, stage, name)
    if forced:
        reason = forced
    elif damage:
        reason = f"the published artifact is damaged: {damage}"
    elif artifact is not None:
        reason = f"unchanged since {artifact.manifest.started_at[:19].replace('T', ' ')} UTC"
    else:
        remade = [n for n in spec.needs if before[n].action == "run"]
        reason = _difference(store, stage, config.name, identity, remade)
    kept = artifact if artifact is not None and not (forced or damage) else None
    action: Literal["run", "skip"] = "skip" if kept is not None else "run"
    return StagePlan(stage, action, reason, name, artifact=kept, **identity)


def _extra_versions(config: PipelineConfig, stage: StageName) -> dict[str, str]:
    """Of the optional packages that candidates come from, which shape what train makes."""
    if stage != "train":
        return {}
    used = {c.estimator.partition(".")[0] for c in config.train.candidates.values()}
    found: dict[str, str] = {}
    for name in used & set(EXTRAS):
        with contextlib.suppress(metadata.PackageNotFoundError):  # the run will say so
            found |= library_versions([name])
    return found


def _look_up(store: Store, stage: str, name: str) -> tuple[Artifact | None, str | None]:
    try:
        artifact = open_artifact(store, stage, name)
    except StoreError as error:
        return None, error.message
    return artifact, artifact.damage() if artifact is not None else None


def _raw_files(config: PipelineConfig, store: Store) -> dict[str, str]:
    """Path relative to the project, or URI → content hash, of every raw file of every source."""
    cache = HashCache(store)
    hashes: dict[str, str] = {}
    for name, source in config.ingest.sources.items():
        found = find_inputs(Path(config.root), source, name, cache)
        hashes |= {f"{name}: {file}": value for file, value in found.hashes.items()}
        corrections = corrections_path(config, name)
        if corrections.is_file():
            hashes[f"corrections: {name}"] = cache.hashes([corrections])[corrections]
    with contextlib.suppress(OSError):  # a plan of a store that this user may only read
        cache.save()
    return hashes


def _step_files(config: PipelineConfig) -> dict[str, str]:
    """Content hashes of the SQL files and of the project's own modules that steps run."""
    found: dict[str, str] = {}
    for step in config.preprocess.steps:
        if isinstance(step, SqlStep):
            found[f"sql: {step.sql}"] = sha256_file(_sql_file(config, step))
        elif isinstance(step, PythonStep):
            root = config.path(".")
            where = f"preprocess step {step.name!r}"
            for path in find_module_files(root, step.module, step.function, where):
                found[f"python: {path.relative_to(root)}"] = sha256_file(path)
    return found


def _sql_file(config: PipelineConfig, step: SqlStep) -> Path:
    path = config.path(step.sql)
    if not path.is_file():
        raise ConfigError(
            f"preprocess step {step.name!r}: no such file: {step.sql}",
            hint=f"Paths are relative to {config.root}.",
        )
    return path


def _difference(
    store: Store, stage: StageName, pipeline: str, identity: dict[str, Any], remade: Sequence[str]
) -> str:
    earlier = published(store, stage, pipeline)
    if not earlier:
        return "not made yet"
    last = earlier[-1].manifest
    changes = [f"{name} is made again" for name in remade]
    changes += _changes("", last.config, identity["config"])
    changes += _changed_inputs(last.inputs, identity["inputs"], remade)
    changes += _changes("", last.versions, identity["versions"])
    if last.code_version != identity["code_version"]:
        changes.append("the stage's code changed")
    shown = "; ".join(changes[:3]) or "no artifact with this fingerprint"
    return shown if len(changes) <= 3 else f"{shown}; and {len(changes) - 3} more"


def _changed_inputs(
    last: Mapping[str, str], now: Mapping[str, str], remade: Sequence[str]
) -> list[str]:
    changes = []
    for name in dict.fromkeys((*last, *now)):
        shown = name.removeprefix("sql: ").removeprefix("python: ")
        shown = shown.replace("corrections: ", "corrected rows of ", 1)
        if name in remade or last.get(name) == now.get(name):
            continue
        if name not in now:
            changes.append(f"{shown} is gone")
        else:
            changes.append(f"{shown} {'changed' if name in last else 'is new'}")
    return changes


def _changes(at: str, last: Any, now: Any) -> list[str]:
    """Leaves that differ, as "path: old → new"."""
    if isinstance(last, dict) and isinstance(now, dict):
        return [
            line
            for key in dict.fromkeys((*last, *now))
            for line in _changes(f"{at}.{key}" if at else key, last.get(key), now.get(key))
        ]
    return [] if last == now else [f"{at}: {_shown(last)} → {_shown(now)}"]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}…"
