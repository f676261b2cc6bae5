"""How often each value of a column occurs: exact, in bounded memory, however its rows are cut.

All that a profile says of a column follows from its values in ascending order and their counts. So
it is the same for every way to cut the rows into files and batches, and to order them.

Up to :data:`HELD_BYTES` are held. Beyond it, what is held goes to a scratch folder as a sorted run
with each value once, and in the end the runs are merged a few thousand values at a time: memory
stays as it is, and the disk holds at most one value and one count a row.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

HELD_BYTES = 64 << 20
"""Of values that are held at once."""

RUN_ROWS = 1 << 13
"""Values of a run in memory while runs are merged."""


class ValueCounts:
    """The values of one column, numbers or text, and how often each occurs.

    Args:
        scratch: a folder for runs, made when it is needed; the caller removes it.
        held_bytes: of values that are held at once.
    """

    def __init__(self, scratch: Path, held_bytes: int = HELD_BYTES) -> None:
        self._scratch = scratch
        self._limit = held_bytes
        self._raw: list[pa.Array] = []
        self._bytes = 0
        self._counted: list[pa.Table] = []
        self._runs: list[Path] = []

    def add(self, values: pa.Array) -> None:
        """Count more values: doubles without NaN, or strings; no nulls."""
        if len(values):
            self._raw.append(values)
            self._bytes += values.nbytes
            if self._bytes > self._limit:
                self._compact()

    def blocks(self) -> Iterator[pa.Table]:
        """``value`` and ``rows`` (int64), ascending through all blocks, each value once.

        Numbers ascend as numbers, text by the bytes of its UTF-8. There may be no block.
        """
        self._count()
        runs = [_read(path) for path in self._runs]
        return _merged([*runs, iter(self._counted)]) if runs else iter(self._counted)

    def _compact(self) -> None:
        """Count what is held; write it as a run if that did not make it small."""
        self._count()
        if self._bytes > self._limit // 2:
            self._scratch.mkdir(parents=True, exist_ok=True)
            path = self._scratch / f"{id(self)}-{len(self._runs)}.arrow"
            _write(self._counted[0], path)
            self._runs.append(path)
            self._counted, self._bytes = [], 0

    def _count(self) -> None:
        if self._raw:
            whole = pa.concat_arrays(self._raw)
            self._raw = []
            self._counted = [_joined([*self._counted, _count(whole)])]
            self._bytes = self._counted[0].nbytes


def _count(values: pa.Array) -> pa.Table:
    if pa.types.is_floating(values.type):
        # Plus zero, so that -0.0 is 0.0: which of the two equals is kept would depend on the order.
        found, rows = np.unique(values.to_numpy() + 0.0, return_counts=True)
        return pa.table({"value": found, "rows": rows.astype(np.int64)})
    found, rows = pc.value_counts(values).flatten()
    return pa.table({"value": found, "rows": rows}).sort_by("value")


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """One table of several, each of them ascending and with each value once."""
    if len(tables) == 1:
        return tables[0]
    whole = pa.concat_tables(tables)
    if not pa.types.is_floating(whole.schema.field("value").type):
        summed = whole.group_by("value").aggregate([("rows", "sum")])
        return summed.rename_columns(["value", "rows"]).sort_by("value")
    values = whole.column("value").to_numpy()
    order = np.argsort(values, kind="stable")
    values = values[order]
    starts = np.flatnonzero(np.diff(values, prepend=np.nan) != 0)
    rows = np.add.reduceat(whole.column("rows").to_numpy()[order], starts)
    return pa.table({"value": values[starts], "rows": rows})


def _merged(runs: Sequence[Iterator[pa.Table]]) -> Iterator[pa.Table]:
    """Several sorted runs as one; a block of each is in memory at a time."""
    heads = [(head, run) for run in runs if (head := next(run, None)) is not None]
    while heads:
        # Up to the lowest of the heads' last values nothing can come any more.
        border = min(_value(head, len(head) - 1) for head, _ in heads)
        parts, left = [], []
        for head, run in heads:
            n = _up_to(head, border)
            parts.append(head.slice(0, n))
            rest = head.slice(n) if n < len(head) else next(run, None)
            if rest is not None:
                left.append((rest, run))
        heads = left
        yield _joined(parts)


def _up_to(table: pa.Table, border: float | str) -> int:
    """How many of a block's values are at most the border."""
    return bisect.bisect_right(range(len(table)), border, key=lambda row: _value(table, row))


def _value(table: pa.Table, row: int) -> float | str:
    value: float | str = table.column("value")[row].as_py()
    return value


def _write(run: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, run.schema) as writer:
        writer.write_table(run, max_chunksize=RUN_ROWS)


def _read(path: Path) -> Iterator[pa.Table]:
    # Not through a memory map, whose pages would count as memory of this process.
    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_file(file) as run:
        for number in range(run.num_record_batches):
            yield pa.Table.from_batches([run.get_batch(number)])
