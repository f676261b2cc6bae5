"""Read the files of artifacts, a bounded part of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

from pipeline.errors import StoreError


def read_json(path: Path | None) -> Any:
    """A JSON file; None where there is none."""
    if path is None:
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def read_columns(path: Path | None, columns: list[str]) -> pd.DataFrame | None:
    """Those of ``columns`` that the Parquet file has; None where there is no file."""
    if path is None:
        return None
    try:
        dataset = ds.dataset(path, format="parquet")
        present = [name for name in columns if name in dataset.schema.names]
        frame: pd.DataFrame = dataset.to_table(columns=present).to_pandas()
        return frame
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def first_rows(folder: Path | None, rows: int) -> list[dict[str, Any]]:
    """The first rows of a folder of Parquet files, by file name."""
    parts = sorted(folder.rglob("*.parquet")) if folder is not None else []
    if folder is None or not parts:
        return []
    try:
        # Small batches: a quarantined row may be a field of 100 MB.
        table = ds.dataset(parts, format="parquet").head(
            rows, batch_size=rows, use_threads=False, fragment_readahead=0, batch_readahead=0
        )
    except (OSError, pa.ArrowException) as error:
        raise _damaged(folder, error) from error
    return [dict(row) for row in table.to_pylist()]


def sample_rows(folder: Path, columns: list[str], limit: int) -> tuple[pd.DataFrame, int]:
    """Every k-th row of a folder of Parquet files, ``limit`` at most, and k.

    The same rows every time: the page of a rerun must be the same page.
    """
    parts = sorted(folder.rglob("*.parquet"))
    try:
        dataset = ds.dataset(parts, format="parquet")
        step = max(1, -(-dataset.count_rows() // limit))
        names = [name for name in columns if name in dataset.schema.names]
        kept: list[pa.RecordBatch] = []
        seen = 0
        for batch in dataset.to_batches(columns=names, fragment_readahead=1):
            picks: NDArray[np.int64] = np.arange(-seen % step, batch.num_rows, step)
            kept.append(batch.take(pa.array(picks)))
            seen += batch.num_rows
        schema = pa.schema([dataset.schema.field(name) for name in names])
        return pa.Table.from_batches(kept, schema).to_pandas(), step
    except (OSError, pa.ArrowException) as error:
        raise _damaged(folder, error) from error


def _damaged(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"The report could not read {path}: {error}",
        hint="Run `pipeline run` again: a damaged artifact is found and made anew.",
    )
