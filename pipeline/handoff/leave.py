"""What runs in the Python workers of Spark's executors: leaving rows as Arrow files.

This package may be missing there. So the functions that run are nested ones, which travel by value,
and they name nothing of this module but what they were given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from pipeline.handoff.blocks import ARROW_SCHEMES, BATCH_ROWS


class Left(NamedTuple):
    """One Arrow file that an executor left: which piece of which partition, where, how large.

    A partition without rows answers with one that has no path.
    """

    partition: int
    piece: int
    path: str
    host: str
    rows: int
    bytes: int


def leave_files(columns: list[str], folder: str) -> Callable[[Iterable[Any]], Iterator[Any]]:
    """For lists of (number, Parquet file, its row groups): read and leave each as an Arrow file."""
    new_file, arrow_schemes, batch_rows = _new_file(folder), ARROW_SCHEMES, BATCH_ROWS

    def leave(lists: Iterable[Any]) -> Iterator[Any]:
        import os
        import socket

        import pyarrow as pa
        import pyarrow.parquet as pq
        from pyarrow import fs

        for number, file, row_groups in (piece for pieces in lists for piece in pieces):
            target = new_file()
            if not row_groups:
                yield (number, 0, "", "", 0, 0)
                continue
            uri = "://" in file
            if not uri:
                system, path = fs.LocalFileSystem(), file
            elif file.partition("://")[0] in arrow_schemes:
                system, path = fs.FileSystem.from_uri(file)
            else:
                from fsspec.core import url_to_fs

                other, path = url_to_fs(file)
                system = fs.PyFileSystem(fs.FSSpecHandler(other))
            rows = 0
            with pq.ParquetFile(path, filesystem=system, pre_buffer=uri) as parquet:
                schema = pa.schema([parquet.schema_arrow.field(name) for name in columns])
                # A stream, not a file: that allows no second dictionary for a coded column.
                with pa.OSFile(target, "wb") as output, pa.ipc.new_stream(output, schema) as sink:
                    for group in row_groups:  # each apart, see read_block
                        for batch in parquet.iter_batches(
                            batch_rows, [group], columns, use_threads=False
                        ):
                            sink.write_batch(batch.select(columns))
                            rows += batch.num_rows
            yield (number, 0, target, socket.gethostname(), rows, os.path.getsize(target))

    return leave


def leave_batches(folder: str, most_bytes: int) -> Callable[[Iterable[Any]], Iterator[Any]]:
    """For ``mapInArrow``: leave a partition's batches as Arrow files of about ``most_bytes``."""
    new_file = _new_file(folder)

    def leave(batches: Iterable[Any]) -> Iterator[Any]:
        import socket

        import pyarrow as pa
        from pyspark import TaskContext

        def answer(*values: Any) -> Any:
            names = ["partition", "piece", "path", "host", "rows", "bytes"]
            return pa.RecordBatch.from_arrays([pa.array([value]) for value in values], names)

        context = TaskContext.get()
        assert context is not None  # Spark sets it in every task
        partition, host = context.partitionId(), socket.gethostname()
        filled = (batch for batch in batches if batch.num_rows)
        batch, piece = next(filled, None), 0
        if batch is None:
            yield answer(partition, 0, "", "", 0, 0)
        while batch is not None:
            target, rows, size = new_file(), 0, 0
            with pa.OSFile(target, "wb") as output, pa.ipc.new_stream(output, batch.schema) as sink:
                while batch is not None and size < most_bytes:
                    sink.write_batch(batch)
                    rows, size = rows + batch.num_rows, size + batch.nbytes
                    batch = next(filled, None)
            yield answer(partition, piece, target, host, rows, size)
            piece += 1

    return leave


def _new_file(folder: str) -> Callable[[], str]:
    """Names in a folder that no other task or try has; the folder is made where it is missing."""

    def new_file() -> str:
        import os
        import sys
        from uuid import uuid4

        # Spark has each task read the directory of each archive on Python's path anew. Its own jar
        # is there, which has no Python in it and costs 0.1 s; the next tasks of this worker do
        # without.
        sys.path[:] = [entry for entry in sys.path if not entry.endswith(".jar")]
        for entry in [entry for entry in sys.path_importer_cache if ".jar" in entry]:
            del sys.path_importer_cache[entry]
        os.makedirs(folder, exist_ok=True)
        return os.path.join(folder, f"{uuid4().hex}.arrow")

    return new_file
