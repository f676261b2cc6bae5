"""Parquet files with stable names out of a Spark write."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import DataFrame

from pipeline.dataprep.footer import sort_footer

_SCRATCH = "_spark_write"  # Spark and Arrow do not see names that begin with an underscore


def write_parts(frame: DataFrame, folder: str | Path) -> list[Path]:
    """Write a frame as ``folder/part-00000.parquet`` and on, one file a non-empty partition.

    Spark puts a random name into each file's and leaves marker and checksum files behind; the
    names here, and the bytes, depend on the partitions alone. Without rows there is one file, with
    the schema. The folder is the caller's to publish.

    Raises:
        FileExistsError: the folder holds part files already.
    """
    folder = Path(folder)
    if any(folder.glob("part-*.parquet")):
        raise FileExistsError(f"{folder} holds part files already")
    scratch = folder / _SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)  # left by a crash of this folder's last writer
    # Not as_uri(): Spark takes a path as it is written, and "%20" for a name with a percent sign.
    uri = f"file://{scratch}" if scratch.is_absolute() else str(scratch)
    frame.write.mode("error").parquet(uri)
    parts = sorted(scratch.glob("part-*.parquet"), key=lambda path: path.name[:10])
    filled = [part for part in parts if _rows(part)] or parts[:1]
    targets = [folder / f"part-{index:05d}.parquet" for index in range(len(filled))]
    for part, target in zip(filled, targets, strict=True):
        sort_footer(part)
        part.rename(target)
    shutil.rmtree(scratch)
    return targets


def count_rows(files: list[Path]) -> int:
    """Rows of Parquet files, from their footers."""
    return sum(_rows(file) for file in files)


def _rows(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)
