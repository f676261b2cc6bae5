"""``pipeline quarantine``: which rows were set aside and why, and corrected rows fed back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline import driver
from pipeline.config import PipelineConfig
from pipeline.dataprep.units import shown_path
from pipeline.errors import ConfigError, DataRefused
from pipeline.store import Store
from pipeline.store.artifact import Artifact, open_artifact, published
from pipeline.store.corrections import (
    Correction,
    corrections_path,
    merged,
    read_corrections,
    write_corrections,
)
from pipeline.store.lock import exclusive
from pipeline.store.runlog import list_runs

_BATCH = 10_000


@dataclass(frozen=True)
class BrokenRule:
    """One rule that a quarantined row breaks.

    Attributes:
        file: the raw file, from the project's root where it lies below.
        row: the record's number in it from 1, headers and blank lines not counted.
        value: what broke the rule.
        raw: the record's text, cut at 10,000 characters.
    """

    source: str
    rule: str
    column: str | None
    value: str | None
    file: str
    row: int
    raw: str | None


@dataclass(frozen=True)
class Shown:
    """What ``show`` found.

    Attributes:
        of: where: the artifact's fingerprint, or the run that was refused.
        rows: quarantined rows, each counted once.
        rules: rows by rule, the most frequent first.
        broken: the rules that the first rows break, one by one.
    """

    of: str
    rows: int
    rules: list[dict[str, Any]]
    broken: list[BrokenRule]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def show(
    config: PipelineConfig,
    *,
    source: str | None = None,
    rule: str | None = None,
    limit: int | None = 20,
) -> Shown:
    """The quarantine of the last run's ingest, or of the run that was refused since.

    Args:
        source, rule: only of this source, only rows that break this rule.
        limit: at most so many rows are listed; all are counted.

    Raises:
        ConfigError: there is no such source.
        DataRefused: nothing was ingested yet.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    broken: list[BrokenRule] = []
    rows = 0
    for found in _rows(config, source):
        own = [item for item in found if rule is None or item.rule == rule]
        counts.update({(item.source, item.rule, item.column or "") for item in own})
        rows += bool(own)
        if own and (limit is None or rows <= limit):
            broken += own
    rules = [
        {"source": of, "rule": name, "column": column, "rows": count}
        for (of, name, column), count in sorted(counts.items(), key=lambda item: -item[1])
    ]
    return Shown(_place(config), rows, rules, broken)


def export(config: PipelineConfig, source: str, rule: str | None, path: Path) -> dict[str, Any]:
    """Write a source's quarantined rows to a CSV file to correct; says how many and where.

    Raises:
        ConfigError, DataRefused: as ``show``.
    """
    rows = []
    for found in _rows(config, source):
        if rule is None or any(item.rule == rule for item in found):
            problem = "; ".join(_problem(item) for item in found)
            raw = found[0].raw or ""
            rows.append(Correction(found[0].file, found[0].row, raw, raw, problem))
    write_corrections(path, rows)
    return {"source": source, "rows": len(rows), "output": str(path)}


def replay(
    config: PipelineConfig, source: str, corrected: Path | None, observer: driver.Observer
) -> dict[str, Any]:
    """Take corrected rows, and ingest again what they are about.

    Args:
        corrected: a file that ``export`` wrote, with corrected rows; without one, what the
            configuration or the corrections in the store have changed takes effect.

    Returns:
        How many rows were corrected, how many of these are good now, and the run.

    Raises:
        ConfigError: there is no such source.
        DataRefused: a row is not in the quarantine, or its text is not one record.
        LockedError, StageFailed, EngineError: as ``driver.run`` does.
    """
    _check_source(config, source)
    if corrected is not None and not config.ingest.sources[source].is_local:
        raise ConfigError(
            f"--input: rows of source {source!r} are corrected where they come from",
            hint="Correct the table or the object itself, and run again.",
        )
    new = read_corrections(corrected) if corrected is not None else []
    if corrected is not None:
        with exclusive(Store(config.store_path), config.name, "quarantine replay"):
            _register(config, source, new)
    record = driver.run(config, select=driver.Selection("ingest", "ingest"), observer=observer)
    left = {(item.file, item.row) for found in _rows(config, source) for item in found}
    still = sum((item.file, item.row) in left for item in new)
    return {
        "source": source,
        "corrected": len(new),
        "good": len(new) - still,
        "still_quarantined": still,
        "quarantined": len(left),
        "action": record["stages"][0]["action"],
        "run": record["run_id"],
        "corrections": str(corrections_path(config, source)),
    }


def _register(config: PipelineConfig, source: str, new: Sequence[Correction]) -> None:
    """Add corrections to those of the source, which every ingest takes from now on."""
    from pipeline.dataprep.replay import check_correction

    path = corrections_path(config, source)
    before = read_corrections(path) if path.is_file() else []
    known = {(item.file, item.row): item for item in before}
    aside = {(found[0].file, found[0].row): found[0].raw or "" for found in _rows(config, source)}
    taken = []
    for item in new:
        at = (item.file, item.row)
        if at not in aside and not (at in known and known[at].corrected == item.corrected):
            raise DataRefused(
                f"row {item.row} of {item.file} is not in the quarantine of {source}",
                hint="Begin with a new file of pipeline quarantine show --output.",
            )
        # A row that was corrected before is in the quarantine as it was corrected.
        raw = known[at].raw if at in known else aside[at]
        taken.append(Correction(item.file, item.row, raw, item.corrected, item.problem))
        check_correction(config.ingest.sources[source], taken[-1])
    write_corrections(path, merged(before, taken))


def _rows(config: PipelineConfig, source: str | None) -> Iterator[list[BrokenRule]]:
    """Each quarantined row, as the rules that it breaks."""
    if source is not None:
        _check_source(config, source)
    for name in config.ingest.sources if source is None else (source,):
        for file in _files(config, name):
            with pq.ParquetFile(file) as parquet:
                for batch in parquet.iter_batches(_BATCH):
                    for row in batch.to_pylist():
                        yield _broken_rules(config, row)


def _broken_rules(config: PipelineConfig, row: dict[str, Any]) -> list[BrokenRule]:
    file = shown_path(row["file"], Path(config.root))
    place = {"file": file, "row": row["row"], "raw": row["raw"]}
    return [BrokenRule(source=row["source"], **reason, **place) for reason in row["reasons"]]


def _problem(item: BrokenRule) -> str:
    where = f"{item.column}: {item.rule}" if item.column else item.rule
    return where if item.value is None else f"{where}: {item.value}"


def _files(config: PipelineConfig, source: str) -> list[Path]:
    refused = sorted(Store(config.store_path).refused(source, config.name).glob("*.parquet"))
    if refused:
        return refused
    artifact = _artifact(config)
    if artifact is None:
        raise DataRefused(
            f"pipeline {config.name!r} has ingested nothing in {config.store_path}",
            hint="Run pipeline ingest first.",
        )
    return artifact.files(f"quarantine/{source}")


def _place(config: PipelineConfig) -> str:
    if any(Store(config.store_path).root.glob(f"quarantine/*/refused/{config.name}")):
        return "the last ingest, which was refused"
    artifact = _artifact(config)
    return f"ingest {artifact.manifest.fingerprint}" if artifact else "no ingest"


def _artifact(config: PipelineConfig) -> Artifact | None:
    """The ingest that the last run made or used."""
    store = Store(config.store_path)
    for run in reversed(list_runs(store, config.name)):
        for stage in run["stages"]:
            if stage["stage"] == "ingest" and stage["action"] != "failed":
                found = open_artifact(store, "ingest", stage["fingerprint"])
                if found is not None:
                    return found
    return next(reversed(published(store, "ingest", config.name)), None)


def _check_source(config: PipelineConfig, source: str) -> None:
    sources = config.ingest.sources
    if source not in sources:
        raise ConfigError(f"--source must be one of {', '.join(sources)}. Got {source!r} instead")
