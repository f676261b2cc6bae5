"""Checksums of columns that do not depend on the order of rows and add up over blocks.

A column's checksum is the sum, modulo 2**64, of a 64-bit hash of each value. Blocks can be summed
in any order and grouping, so each Ray task computes its own and the driver adds them.

What counts as equal: all NaN are one value; -0.0 and 0.0 are two; 1 (int) and 1.0 (float) are two;
an integer is the same in every width, a float32 equals its float64, a string its bytes, a
dictionary its values, a timestamp its instant in microseconds; null and "" are two.

The hash is splitmix64's finaliser (Steele, Lea, Flood 2014), which finds accidents, not attackers:
files are protected by SHA-256 in their manifest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as kinds

Hashes: TypeAlias = npt.NDArray[np.uint64]

_SLICE_ROWS = 1 << 18  # small enough that a slice's arrays stay in the processor's cache
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLY = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_ONE = np.uint64(1)
_NULL = np.uint64(0x5851F42D4C957F2D)
_FLOAT = np.uint64(0x2545F4914F6CDD1D)


@dataclass(frozen=True, slots=True)
class ChecksumPart:
    """The checksum of some rows of a column: how many, how many null, and the sum of hashes."""

    rows: int
    nulls: int
    total: int

    def __add__(self, other: ChecksumPart) -> ChecksumPart:
        """The checksum of both sets of rows together."""
        return ChecksumPart(
            self.rows + other.rows, self.nulls + other.nulls, (self.total + other.total) % 2**64
        )

    def __iter__(self) -> Iterator[int]:
        """``rows, nulls, total``: for JSON."""
        return iter((self.rows, self.nulls, self.total))

    def __str__(self) -> str:
        return f"{self.rows}:{self.nulls}:{self.total:016x}"

    @classmethod
    def parse(cls, text: str) -> ChecksumPart:
        """The inverse of ``str``: for manifests and cards.

        Raises:
            ValueError: the text is not a checksum.
        """
        rows, nulls, total = text.split(":")
        return cls(int(rows), int(nulls), int(total, 16))


NOTHING = ChecksumPart(0, 0, 0)


def column_checksums(table: pa.Table) -> dict[str, ChecksumPart]:
    """The checksum of each column.

    Raises:
        TypeError: a column has a type that Parquet does not have (an interval, a union).
    """
    return {name: _column(table.column(i)) for i, name in enumerate(table.column_names)}


def merge(*parts: Mapping[str, ChecksumPart]) -> dict[str, ChecksumPart]:
    """Add the checksums of blocks column by column; no block gives no column."""
    merged: dict[str, ChecksumPart] = {}
    for part in parts:
        for name, checksum in part.items():
            merged[name] = merged.get(name, NOTHING) + checksum
    return merged


def differing(
    found: Mapping[str, ChecksumPart], wanted: Mapping[str, ChecksumPart]
) -> dict[str, tuple[ChecksumPart, ChecksumPart]]:
    """The columns that differ, as ``{name: (found, wanted)}``; an absent one counts as empty."""
    names = dict.fromkeys([*wanted, *found])
    pairs = {name: (found.get(name, NOTHING), wanted.get(name, NOTHING)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def value_hashes(values: pa.Array) -> Hashes:
    """A 64-bit hash of each value, shape (n,); every null has the same."""
    hashes = _hashes(values)
    if values.null_count:
        hashes = np.where(_valid(values), hashes, _NULL)
    return hashes


def _column(column: pa.ChunkedArray) -> ChecksumPart:
    total = 0
    for values in _slices(column):
        hashes = _hashes(values)
        if values.null_count:
            hashes = hashes[_valid(values)]
        total += int(hashes.sum(dtype=np.uint64))
    return ChecksumPart(len(column), column.null_count, total % 2**64)


def _slices(column: pa.ChunkedArray) -> Iterator[pa.Array]:
    for chunk in column.chunks:
        for start in range(0, len(chunk), _SLICE_ROWS):
            yield chunk.slice(start, _SLICE_ROWS)


def _hashes(values: pa.Array) -> Hashes:
    """Hash each value; what a null's hash is does not matter, its callers replace or drop it."""
    kind = values.type
    if len(values) == 0 or kinds.is_null(kind):
        return np.zeros(len(values), np.uint64)
    if kinds.is_dictionary(kind):
        return _of_dictionary(values)
    if _is_text(kind):
        return _of_dictionary(values.dictionary_encode())
    if kinds.is_decimal(kind):
        return _of_decimals(values)
    if kinds.is_struct(kind):
        return _of_structs(values)
    if kinds.is_map(kind):
        return _of_lists(values.cast(pa.list_(_entries(kind))))
    if kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind):
        return _of_lists(values)
    return _of_fixed_width(values)


def _entries(kind: pa.MapType) -> pa.DataType:
    return pa.struct([kind.key_field, kind.item_field])


def _of_fixed_width(values: pa.Array) -> Hashes:
    kind = values.type
    if kinds.is_floating(kind):
        return _of_floats(values)
    if kinds.is_boolean(kind):
        values = values.cast(pa.uint8())
    elif kinds.is_timestamp(kind) or kinds.is_time(kind) or kinds.is_duration(kind):
        values = _in_microseconds(values)
    elif kinds.is_date64(kind):
        values = values.cast(pa.date32()).view(pa.int32())
    elif kinds.is_date32(kind):
        values = values.view(pa.int32())
    elif not kinds.is_integer(kind):
        raise TypeError(f"there is no checksum for Arrow type {kind}")
    return _mix(_numbers(values).astype(np.int64, copy=False).view(np.uint64))


def _in_microseconds(values: pa.Array) -> pa.Array:
    kind = values.type
    if kinds.is_timestamp(kind) and kind.unit != "us":
        values = values.cast(pa.timestamp("us", tz=kind.tz), safe=False)
    elif kinds.is_duration(kind) and kind.unit != "us":
        values = values.cast(pa.duration("us"), safe=False)
    elif kinds.is_time(kind) and kind.unit != "us":
        values = values.cast(pa.time64("us"), safe=False)
    return values.view(pa.int64())


def _of_floats(values: pa.Array) -> Hashes:
    numbers = _numbers(values).astype(np.float64, copy=False)
    bits = numbers.view(np.uint64)
    missing = np.isnan(numbers)
    if missing.any():  # there are 2**53 NaN; Java writes one, C libraries others
        bits = np.where(missing, np.float64(np.nan).view(np.uint64), bits)
    return _mix(bits ^ _FLOAT)


def _of_decimals(values: pa.Array) -> Hashes:
    wide = values
    if not (kinds.is_decimal128(values.type) or kinds.is_decimal256(values.type)):
        wide = values.cast(pa.decimal128(values.type.precision, values.type.scale))
    words = np.frombuffer(wide.buffers()[1], np.uint64).reshape(-1, wide.type.bit_width // 64)
    words = words[wide.offset : wide.offset + len(wide)]
    # Two's complement, lowest word first; the sign extension of a wider decimal is left out.
    return _mix(_mix(words[:, 0]) + words[:, 1] * _STEP)


def _of_dictionary(values: pa.DictionaryArray) -> Hashes:
    texts = values.dictionary
    of_each = _of_texts(texts) if _is_text(texts.type) else _hashes(texts)
    if not len(of_each):
        return np.zeros(len(values), np.uint64)
    hashes: Hashes = of_each[_numbers(values.indices)]
    return hashes


def _of_texts(texts: pa.Array) -> Hashes:
    """Hash strings and byte strings: the sum of a hash of each (position, byte), mixed."""
    lengths, data = _bytes_of(texts)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    position = np.arange(len(data), dtype=np.uint64) - np.repeat(starts, lengths).astype(np.uint64)
    sums = np.concatenate([[np.uint64(0)], np.cumsum(_mix((position << np.uint64(8)) | data))])
    return _mix(sums[ends] - sums[starts] + lengths.astype(np.uint64) * _STEP)


def _bytes_of(texts: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    binary = texts.cast(pa.large_binary())
    offsets = np.frombuffer(binary.buffers()[1], np.int64)
    offsets = offsets[binary.offset : binary.offset + len(binary) + 1]
    data = binary.buffers()[2]
    raw = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return np.diff(offsets), raw[offsets[0] : offsets[-1]]


def _of_structs(values: pa.StructArray) -> Hashes:
    total = np.zeros(len(values), np.uint64)
    for i, field in enumerate(values.flatten()):  # flatten hands the struct's nulls down
        total += _mix(value_hashes(field) + np.uint64((i + 1) * int(_STEP) % 2**64))
    return _mix(total)


def _of_lists(values: pa.Array) -> Hashes:
    lengths = _numbers(values.value_lengths().fill_null(0)).astype(np.int64)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    inner = value_hashes(values.flatten())  # flatten leaves out what lies under a null
    position = np.arange(len(inner), dtype=np.uint64) - np.repeat(starts, lengths).astype(np.uint64)
    sums = np.concatenate([[np.uint64(0)], np.cumsum(_mix(inner + (position + _ONE) * _STEP))])
    return _mix(sums[ends] - sums[starts] + lengths.astype(np.uint64) * _STEP + _ONE)


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        kinds.is_string(kind)
        or kinds.is_large_string(kind)
        or kinds.is_binary(kind)
        or kinds.is_large_binary(kind)
        or kinds.is_fixed_size_binary(kind)
    )


def _numbers(values: pa.Array) -> npt.NDArray[Any]:
    if values.null_count:
        values = values.fill_null(False if kinds.is_boolean(values.type) else 0)
    numbers: npt.NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return numbers


def _valid(values: pa.Array) -> npt.NDArray[np.bool_]:
    valid: npt.NDArray[np.bool_] = values.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _mix(words: Hashes) -> Hashes:
    """splitmix64 of each word; arithmetic on uint64 arrays wraps, as it must."""
    mixed = words + _STEP
    mixed ^= mixed >> np.uint64(30)
    mixed *= _MULTIPLY[0]
    mixed ^= mixed >> np.uint64(27)
    mixed *= _MULTIPLY[1]
    mixed ^= mixed >> np.uint64(31)
    return mixed
