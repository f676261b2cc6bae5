"""Columns that tell the rows of a table apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pipeline.starter.column import Column
from pipeline.starter.table import Table

_ID = re.compile(
    r"(^|_)(id|ids|key|uuid|guid|no|nr|number|num|code|index|idx|pk)$|Id$|ID$|^id", re.I
)
_MOST_BYTES = 1 << 30
_MOST_COLUMNS = 12
_MOST_TOGETHER = 4


def is_id_name(name: str) -> bool:
    """Whether a name says that the column identifies something."""
    return _ID.search(name) is not None


def find_key(table: Table, apart: Sequence[str]) -> tuple[str, ...]:
    """The columns that are unique together and never null: none, if there are none.

    A column that is named like a key comes before the first one, that before what is unique in
    time, and that before others: in a small table many are unique by accident.

    Args:
        table: the table.
        apart: columns that are no part of a key, such as the target.
    """
    arrow = table.arrow
    usable = [c for c in table.columns if c.name not in apart and _may_be_key(c)]
    for names in _candidates(usable, table):
        if _is_unique(arrow, names) and (table.whole or _is_unique_in_files(table, names)):
            return names
    return ()


def _may_be_key(column: Column) -> bool:
    floats = column.type in ("float", "double", "boolean")
    return not floats and not column.values.null_count


def _candidates(usable: Sequence[Column], table: Table) -> Iterator[tuple[str, ...]]:
    names = [column.name for column in usable]
    named = [column.name for column in usable if is_id_name(column.origin)]
    times = [column.name for column in usable if column.is_time]
    yield from ((name,) for name in named)
    first = [name for name in names[:1] if name == table.columns[0].name]
    yield from ((name,) for name in first)
    yield from ((name,) for name in times)
    distinct = {c.name: pc.count_distinct(c.values).as_py() for c in usable}
    few = sorted(usable, key=lambda c: (c.name not in named, distinct[c.name]))
    others = [c.name for c in few if not c.is_time and distinct[c.name] > 1][:_MOST_COLUMNS]
    for size in (1, 2):
        for time in times:
            yield from ((*more, time) for more in combinations(others, size))
    yield from ((name,) for name in names)
    likely = sorted(others, key=names.index)
    for size in range(2, _MOST_TOGETHER + 1):
        yield from combinations(likely, size)


def _is_unique(rows: pa.Table, names: Sequence[str]) -> bool:
    if len(names) == 1:
        return bool(pc.count_distinct(rows.column(names[0])).as_py() == rows.num_rows)
    # What is unique in all rows is so in the first ones, which are quicker to see.
    head = rows.slice(0, 2_000)
    return all(
        part.group_by(list(names)).aggregate([]).num_rows == part.num_rows for part in (head, rows)
    )


def _is_unique_in_files(table: Table, names: Sequence[str]) -> bool:
    """Whether it holds in all rows; above a gigabyte the sample has to do."""
    files = table.group.files
    origins = [column.origin for column in table.columns if column.name in names]
    if table.group.format == "json" or sum(f.stat().st_size for f in files) > _MOST_BYTES:
        return True
    try:
        whole = pa.concat_tables([_read(table, str(file), origins) for file in files])
    except (pa.ArrowException, OSError, KeyError):
        return True  # rows that Arrow cannot read are quarantined by the run
    return bool(whole.group_by(origins).aggregate([]).num_rows == whole.num_rows)


def _read(table: Table, file: str, origins: Sequence[str]) -> pa.Table:
    if table.group.format == "parquet" or table.dialect is None:
        return pq.read_table(file, columns=list(origins))
    dialect = table.dialect
    names = None if table.header else [column.origin for column in table.columns]
    return pa_csv.read_csv(
        file,
        pa_csv.ReadOptions(encoding=dialect.encoding, column_names=names),
        pa_csv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char=dialect.quote,
            newlines_in_values=table.multiline,
            invalid_row_handler=lambda row: "skip",
        ),
        pa_csv.ConvertOptions(
            include_columns=list(origins), column_types=dict.fromkeys(origins, pa.string())
        ),
    )
