"""New rows through the champions in the registry, in batches of bounded size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from sklearn.base import BaseEstimator

from pipeline.config import PipelineConfig
from pipeline.errors import ConfigError, DataRefused, StageFailed
from pipeline.models.admin import registry_of
from pipeline.models.entry import ModelEntry, load_entry
from pipeline.models.version import Version
from pipeline.scoring.predict import score_table


def predict_file(config: PipelineConfig, source: Path, target: Path) -> dict[str, Any]:
    """Score a Parquet or CSV file that has the feature columns; returns counts.

    Writes ``target`` (the key and segment columns that are there, ``segment``, ``prediction``,
    ``model``) and, if rows could not be scored, ``target`` with ``.quarantine.parquet``.

    Raises:
        ConfigError: the file is missing or of another kind, or the output is the input.
        DataRefused: a column is missing or has another type than in training.
        StageFailed: there is no champion yet.
    """
    version = registry_of(config).champions()
    if version is None:
        raise StageFailed(
            f"pipeline {config.name!r} has no champion yet", hint="Run the pipeline first."
        )
    if source.resolve() == target.resolve():
        raise ConfigError("--output must not be the input file")
    aside = target.with_suffix(".quarantine.parquet")
    rows_in = 0
    models = _Models(config.store_path)
    with _ParquetFile(target) as good, _ParquetFile(aside) as bad:
        for batch in _batches(source, config.infer.batch_rows):
            rows_in += batch.num_rows
            predicted, refused = _score(config, version, models, batch)
            good.write(predicted)
            if refused.num_rows:
                bad.write(refused)
    if good.rows + bad.rows != rows_in:
        raise StageFailed(f"{rows_in} rows in, {good.rows} predicted, {bad.rows} quarantined")
    return {
        "model_version": version.name,
        "rows_in": rows_in,
        "rows_out": good.rows,
        "rows_quarantined": bad.rows,
        "output": str(target),
    }


def _score(
    config: PipelineConfig, version: Version, models: _Models, batch: pa.Table
) -> tuple[pa.Table, pa.Table]:
    roles = config.preprocess
    keep = dict.fromkeys((*roles.key, roles.time, *roles.segment, roles.target))
    return score_table(
        batch,
        version.entries,
        models.load,
        roles.features,
        config.infer.batch_rows,
        segment=roles.segment,
        keep=[name for name in keep if name in batch.column_names],
    )


@dataclass
class _Models:
    """Each model is read once, however many batches need it."""

    store: Path
    known: dict[Any, BaseEstimator] = field(default_factory=dict)

    def load(self, entry: ModelEntry) -> BaseEstimator:
        if entry.identity not in self.known:
            self.known[entry.identity] = load_entry(entry, self.store)
        return self.known[entry.identity]


def _batches(source: Path, rows: int) -> Iterator[pa.Table]:
    if not source.is_file():
        raise ConfigError(f"--input {source}: no such file")
    try:
        if source.suffix == ".parquet":
            with pq.ParquetFile(source) as file:
                for batch in file.iter_batches(batch_size=rows):
                    yield pa.Table.from_batches([batch])
        elif ".csv" in source.suffixes:
            for batch in pa.csv.open_csv(source):
                yield pa.Table.from_batches([batch])
        else:
            raise ConfigError(f"--input {source}: must be a .parquet or .csv file")
    except pa.ArrowInvalid as error:
        raise DataRefused(f"{source}: cannot be read: {error}") from error


class _ParquetFile:
    """A file that appears under its name when it is whole, or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._writer: pq.ParquetWriter | None = None
        self.rows = 0

    def write(self, table: pa.Table) -> None:
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._temporary, table.schema, compression="zstd")
        self._writer.write_table(table.cast(self._writer.schema))
        self.rows += table.num_rows

    def __enter__(self) -> _ParquetFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer is None:
            return
        self._writer.close()
        if kind is None:
            os.replace(self._temporary, self._path)
        else:
            self._temporary.unlink(missing_ok=True)
