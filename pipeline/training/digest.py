"""A hash over the values of rows: rows with the same digest give the same fits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.training.matrix import floats, is_number, named_column

Hasher = Callable[[int, int], bytes]
"""(start, stop) of some rows → SHA-256 of their values, 32 bytes."""


def digest(table: pa.Table, columns: Sequence[str]) -> str:
    """SHA-256 of the values of some columns, in hex.

    It depends on names, types and values alone, not on chunks and slices.
    """
    return row_hasher(table, columns)(0, table.num_rows).hex()


def row_hasher(table: pa.Table, columns: Sequence[str]) -> Hasher:
    """Hashes any range of a table's rows.

    The columns are laid out once, so that a range of a few rows costs microseconds: there may be
    10⁵ segments in a table.
    """
    heads = []
    parts: list[Callable[[hashlib._Hash, int, int], None]] = []
    for name in columns:
        column = named_column(table, name)
        heads.append(f"{name}\0{column.type}\0")
        if is_number(column.type):
            parts.append(_numbers(floats(table, name)))
        elif pa.types.is_timestamp(column.type):
            parts.append(_instants(column))
        else:
            parts.append(_texts(column))
    head = "".join(heads)

    def hashed(start: int, stop: int) -> bytes:
        total = hashlib.sha256(f"{head}{stop - start}\0".encode())
        for update in parts:
            update(total, start, stop)
        return total.digest()

    return hashed


def _numbers(values: npt.NDArray[np.float64]) -> Callable[[hashlib._Hash, int, int], None]:
    data = np.ascontiguousarray(values)
    return lambda total, start, stop: total.update(data[start:stop].data)


def _instants(column: pa.ChunkedArray) -> Callable[[hashlib._Hash, int, int], None]:
    # As text they would be equally exact, and take a second a million.
    valid = np.ascontiguousarray(pc.is_valid(column).to_numpy())
    values = np.ascontiguousarray(column.cast(pa.int64()).fill_null(0).to_numpy())

    def update(total: hashlib._Hash, start: int, stop: int) -> None:
        total.update(valid[start:stop].data)
        total.update(values[start:stop].data)

    return update


def _texts(column: pa.ChunkedArray) -> Callable[[hashlib._Hash, int, int], None]:
    text = column.cast(pa.large_string())
    valid = np.ascontiguousarray(pc.is_valid(text).to_numpy())
    lengths = pc.binary_length(text).fill_null(0).to_numpy().astype(np.int64)
    ends = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    # Concatenated anew, so that the bytes lie as the lengths say whatever the chunks were.
    data = memoryview(b"".join(_bytes_of(chunk.drop_null()) for chunk in text.chunks))

    def update(total: hashlib._Hash, start: int, stop: int) -> None:
        total.update(valid[start:stop].data)
        total.update(lengths[start:stop].data)
        total.update(data[ends[start] : ends[stop]])

    return update


def _bytes_of(chunk: pa.LargeStringArray) -> bytes:
    _, offsets, data = chunk.buffers()
    if not len(chunk) or data is None:
        return b""
    ends = np.frombuffer(offsets, dtype=np.int64)
    return memoryview(data)[ends[chunk.offset] : ends[chunk.offset + len(chunk)]].tobytes()
