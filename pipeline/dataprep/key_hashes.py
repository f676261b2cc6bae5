"""Which rows may have the same key: a number a row, without a shuffle.

Memory is bounded by looking at a part of the numbers at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROWS_AT_ONCE = 50_000_000
_BATCH_ROWS = 1 << 18
_THREADS = 4
_MIX = np.uint64(0x9E3779B97F4A7C15)
Hashes = npt.NDArray[np.uint64]


def repeated_hashes(files: Sequence[Path], key: Sequence[str], rows: int) -> Hashes:
    """Hashes that more than one row of Parquet files has; rows with a null in the key have none.

    Rows with equal keys are among them; that others are is as likely as not for 5 billion rows.

    Args:
        files: Parquet files.
        key: columns.
        rows: how many rows the files hold.
    """
    passes = 1 + rows // ROWS_AT_ONCE
    found = []
    for number in range(passes):
        with ThreadPoolExecutor(_THREADS) as pool:
            of_files = pool.map(
                lambda file, n=number: _part(file, key, np.uint64(passes), np.uint64(n)), files
            )
            ordered = np.sort(np.concatenate(list(of_files)))
        found.append(ordered[1:][ordered[1:] == ordered[:-1]])
    return np.unique(np.concatenate(found))


def _part(file: Path, key: Sequence[str], passes: np.uint64, number: np.uint64) -> Hashes:
    found = [np.zeros(0, np.uint64)]
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(_BATCH_ROWS, columns=list(key), use_threads=False):
            hashes = hashes_of(pa.table(batch).drop_null())
            found.append(hashes if passes == 1 else hashes[hashes % passes == number])
    return np.concatenate(found)


def hashes_of(table: pa.Table) -> Hashes:
    """(n_rows,) a number of each row; equal rows have equal ones."""
    found = np.zeros(table.num_rows, np.uint64)
    for column in table.columns:
        found = found * _MIX + _hashes(column)
    return found


def _hashes(column: pa.ChunkedArray) -> Hashes:
    if pa.types.is_integer(column.type):
        return pd.util.hash_array(column.to_numpy().astype(np.int64))
    if pa.types.is_floating(column.type):
        # -0.0 and 0.0 are one key.
        return pd.util.hash_array(column.to_numpy().astype(np.float64) + 0.0)
    if pa.types.is_temporal(column.type):
        ticks = column.cast(pa.int32() if column.type.bit_width == 32 else pa.int64())
        return pd.util.hash_array(ticks.to_numpy().astype(np.int64))
    texts = pc.dictionary_encode(column.cast(pa.string())).combine_chunks()
    if not len(texts):
        return np.zeros(0, np.uint64)
    values = texts.dictionary.to_numpy(zero_copy_only=False)
    places: npt.NDArray[np.int32] = texts.indices.to_numpy()
    return pd.util.hash_array(values, categorize=False)[places]
