"""Parquet footers in one fixed order, so that equal rows give equal bytes in every process.

parquet-mr lists a column chunk's encodings in the order of a Java ``HashSet`` of enums, which
differs from one JVM to the next. The lists mean the same in any order, and sorting their elements
in place changes no length: the data, and everything that points into the file, stays as it is.

The footer is Thrift's compact protocol:
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
with the structures of https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
# FileMetaData.row_groups → RowGroup.columns → ColumnChunk.meta_data → ColumnMetaData …
_COLUMN = (4, 1, 3)
_SORTED = {(*_COLUMN, 2), (*_COLUMN, 13)}  # … encodings, encoding_stats


def sort_footer(path: str | Path) -> None:
    """Sort the encodings in the footer of a Parquet file, in place."""
    with Path(path).open("r+b") as file:
        file.seek(-8, 2)
        end = file.tell()
        size = int.from_bytes(file.read(4), "little")
        file.seek(end - size)
        footer = bytearray(file.read(size))
        _Footer(footer).struct(0, ())
        file.seek(end - size)
        file.write(footer)


class _Footer:
    """Walks a footer; each method takes a position and returns the one after what it read."""

    def __init__(self, data: bytearray) -> None:
        self._data = data

    def struct(self, at: int, path: tuple[int, ...]) -> int:
        field = 0
        while kind := self._data[at]:
            at += 1
            if kind >> 4:
                field += kind >> 4
            else:
                raw, at = self._varint(at)
                field = raw >> 1 ^ -(raw & 1)
            at = self._value(at, kind & 15, (*path, field))
        return at + 1

    def _value(self, at: int, kind: int, path: tuple[int, ...]) -> int:
        if kind in (_TRUE, _FALSE):  # a field's boolean is its type
            return at
        if kind == _STRUCT:
            return self.struct(at, path)
        if kind in (_LIST, _SET):
            return self._list(at, path)
        if kind == _BINARY:
            size, at = self._varint(at)
            return at + size
        if kind == _DOUBLE:
            return at + 8
        if kind == _BYTE:
            return at + 1
        if kind in (_I16, _I32, _I64):
            return self._varint(at)[1]
        raise ValueError(f"Parquet's footer has no Thrift type {kind}")

    def _list(self, at: int, path: tuple[int, ...]) -> int:
        head, at = self._data[at], at + 1
        kind, size = head & 15, head >> 4
        if size == 15:
            size, at = self._varint(at)
        bounds = [at]
        for _ in range(size):
            # In a list a boolean takes a byte.
            one_byte = kind in (_TRUE, _FALSE)
            bounds.append(bounds[-1] + 1 if one_byte else self._value(bounds[-1], kind, path))
        if path in _SORTED:
            items = [bytes(self._data[a:b]) for a, b in pairwise(bounds)]
            self._data[at : bounds[-1]] = b"".join(sorted(items))
        return bounds[-1]

    def _varint(self, at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = self._data[at]
            value |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                return value, at
