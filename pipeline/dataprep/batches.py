"""Some columns of Parquet files, a batch of rows at a time, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds

BATCH_ROWS = 1 << 17


def read_batches(files: Sequence[str | Path], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The columns, in this order, of local files of one schema."""
    dataset = ds.dataset([str(file) for file in files], format="parquet")
    # One file ahead, not Arrow's four files and sixteen batches.
    scanner = dataset.scanner(
        list(columns), batch_size=BATCH_ROWS, batch_readahead=2, fragment_readahead=1
    )
    yield from scanner.to_batches()
