"""What the columns of a feature table look like, for train and test rows apart.

Computed from the written files with Arrow and NumPy: no job has to be planned for the sixty
aggregates of each of sixty columns. One column at a time is read, a batch of rows at a time, and
its values are counted; everything said of it follows from the counts. So all figures are exact, the
same for any way to cut the rows into files, and made in bounded memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.config.preprocess import SPLIT, PreprocessConfig
from pipeline.dataprep.batches import read_batches
from pipeline.dataprep.describe import (
    Spread,
    Statistics,
    describe_numbers,
    describe_texts,
    histogram_edges,
    total_numbers,
)
from pipeline.dataprep.sums import Floats
from pipeline.dataprep.suspicious import categorical_suspicions, numeric_suspicions
from pipeline.dataprep.value_counts import HELD_BYTES, ValueCounts

SPLITS = ("train", "test")


def profile_features(
    files: Sequence[str | Path], config: PreprocessConfig, held_bytes: int = HELD_BYTES
) -> Statistics:
    """Describe every feature and the target.

    Args:
        files: local Parquet files of a feature table, in one folder. A column of more distinct
            values than ``held_bytes`` hold is sorted on disk in there.
        config: the roles of the columns.
        held_bytes: of a column's values in each split that are in memory at once.

    Returns:
        ``rows`` (train, test), ``columns`` (name → role, kind, constant, all_null, train, test) and
        ``suspicious`` (feature, why, value).

        A numeric column has, for each split: ``count`` of values, ``nulls``, ``distinct``,
        ``mean``, ``std`` (n - 1), ``min``, ``q05 q25 q50 q75 q95`` (interpolated), ``max`` and
        ``histogram`` {edges, counts}, whose 20 bins span train and test together, so that both
        can be compared. A categorical one: ``count, nulls, distinct`` and ``top``, the ten most
        frequent [value, count], ties by value. Statistics of no value are null.
    """
    table = _Files(files, held_bytes)
    described, target = _target(table, config.target)
    columns = {config.target: described | {"role": "target"}}
    suspicious: list[Statistics] = []
    for name in config.features.names:
        pairs = table.pairs(name, config.target)
        if name in config.features.numeric:
            column, spread = _numeric(table, name)
            numbers = ((_floats(x), target.values(y)) for x, y in pairs)
            reasons = numeric_suspicions(numbers, spread, target.spread)
        else:
            column = _categorical(table, name)
            texts = ((_texts(x), target.values(y)) for x, y in pairs)
            reasons = categorical_suspicions(texts, target.spread)
        columns[name] = column | {"role": "feature"}
        suspicious += [{"feature": name, **reason} for reason in reasons]
    rows = {split: described[split]["count"] + described[split]["nulls"] for split in SPLITS}
    return {"rows": rows, "columns": columns, "suspicious": suspicious}


@dataclass(frozen=True)
class _Files:
    """The files of a feature table, and how much of a column may be in memory."""

    files: Sequence[str | Path]
    held_bytes: int

    def pairs(self, first: str, second: str) -> Iterator[tuple[pa.Array, pa.Array]]:
        """Two columns, batch by batch."""
        for batch in read_batches(self.files, [first, second]):
            yield batch.column(0), batch.column(1)

    def counted(self, name: str, values: Callable[[pa.Array], pa.Array], scratch: str) -> _Counted:
        """The values of a column, by split."""
        found = {split: ValueCounts(Path(scratch), self.held_bytes) for split in SPLITS}
        nulls = dict.fromkeys(SPLITS, 0)
        for column, splits in self.pairs(name, SPLIT):
            whole = values(column)
            for split in SPLITS:
                part = whole.filter(pc.equal(splits, split))
                nulls[split] += part.null_count
                found[split].add(part.drop_null())
        return _Counted(found, nulls)

    def scratch(self) -> tempfile.TemporaryDirectory[str]:
        """A folder beside the files; Spark and Arrow do not see one that begins with ``_``."""
        return tempfile.TemporaryDirectory(prefix="_profile", dir=Path(self.files[0]).parent)


@dataclass(frozen=True)
class _Counted:
    values: dict[str, ValueCounts]
    nulls: dict[str, int]


@dataclass(frozen=True)
class _Target:
    """The target as numbers, and how far they are spread; None without values."""

    values: Callable[[pa.Array], Floats]
    spread: Spread | None


def _target(table: _Files, name: str) -> tuple[Statistics, _Target]:
    kind = pq.read_schema(table.files[0]).field(name).type
    if not (pa.types.is_string(kind) or pa.types.is_boolean(kind)):
        described, spread = _numeric(table, name)
        return described, _Target(_floats, spread)
    described = _categorical(table, name)
    most = _most_frequent(described)

    def is_most_frequent(classes: pa.Array) -> Floats:
        return _floats(pc.equal(_texts(classes), pa.scalar(most, pa.string())).cast(pa.int8()))

    # Of classes, whether a row has the most frequent one: what gives that away is suspicious.
    return described, _Target(is_most_frequent, None if most is None else Spread(0.5, 0))


def _most_frequent(described: Statistics) -> str | None:
    rows: dict[str, int] = {}
    for value, count in [pair for split in SPLITS for pair in described[split]["top"]]:
        rows[value] = rows.get(value, 0) + count
    return min(rows, key=lambda value: (-rows[value], value)) if rows else None


def _numeric(table: _Files, name: str) -> tuple[Statistics, Spread | None]:
    with table.scratch() as scratch:
        counted = table.counted(name, _numbers, scratch)
        totals = {split: total_numbers(values) for split, values in counted.values.items()}
        both = totals["train"] + totals["test"]
        edges = histogram_edges(both.low, both.high)
        splits = {
            split: {
                "count": totals[split].count,
                "nulls": counted.nulls[split],
                **describe_numbers(counted.values[split], totals[split], edges),
            }
            for split in SPLITS
        }
    about = {"kind": "numeric", "all_null": not both.count, "constant": both.low == both.high}
    return about | splits, Spread.of(both) if both.count else None


def _categorical(table: _Files, name: str) -> Statistics:
    with table.scratch() as scratch:
        counted = table.counted(name, _texts, scratch)
        found = {split: describe_texts(values) for split, values in counted.values.items()}
    # All distinct values are among the most frequent where they are few.
    few = {value for split in SPLITS for value, _ in found[split]["top"]}
    splits = {
        split: {"count": found[split]["count"], "nulls": counted.nulls[split], **found[split]}
        for split in SPLITS
    }
    return {"kind": "categorical", "all_null": not few, "constant": len(few) == 1} | splits


def _numbers(column: pa.Array) -> pa.Array:
    """As float64; NaN, which the feature table does not hold, is null."""
    values = column.cast(pa.float64())
    return pc.if_else(pc.is_nan(values), None, values)


def _floats(column: pa.Array) -> Floats:
    """(n_rows,) with NaN for null."""
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _texts(column: pa.Array) -> pa.Array:
    return column.cast(pa.string())
