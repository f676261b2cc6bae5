"""A source's part of an ingest artifact, put together of its units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store.units import Unit, link

_ROWS_AT_ONCE = 10_000
_REASON = pa.struct([("rule", pa.string()), ("column", pa.string()), ("value", pa.string())])
QUARANTINE = pa.schema(
    [
        ("source", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("raw", pa.string()),
        ("reasons", pa.list_(_REASON)),
    ]
)


def assemble(units: Sequence[Unit], good_path: Path, bad_path: Path) -> list[Path]:
    """Link the units' good rows, and write their quarantines as one file, which is returned.

    The good rows are the units' own files, in the order of the units: what did not change keeps
    its bytes, and takes no room again.
    """
    filled = [file for unit in units if unit.record.rows_out for file in unit.good]
    for number, file in enumerate(filled or units[0].good[:1]):
        link(file, good_path / f"part-{number:05d}.parquet")
    bad_path.mkdir(parents=True, exist_ok=True)
    target = bad_path / "part-00000.parquet"
    with pq.ParquetWriter(target, QUARANTINE, compression="zstd") as writer:
        for table in _pieces(file for unit in units for file in unit.bad):
            writer.write_table(table)
    return [target]


def read_quarantine(files: Iterable[Path]) -> pa.Table:
    """The rows of quarantine files, by file and row."""
    tables = [pq.read_table(file, columns=QUARANTINE.names).cast(QUARANTINE) for file in files]
    table = pa.concat_tables([QUARANTINE.empty_table(), *tables])
    return table.sort_by([("file", "ascending"), ("row", "ascending")])


def places_of(quarantine: pa.Table) -> list[tuple[str, int]]:
    """File and row of each quarantined row."""
    columns = (quarantine.column(name).to_pylist() for name in ("file", "row"))
    return list(zip(*columns, strict=True))


def _pieces(files: Iterable[Path]) -> Iterator[pa.Table]:
    """Tables of some thousand rows, of however many small files."""
    held: list[pa.Table] = []
    for file in files:
        held.append(pq.read_table(file, columns=QUARANTINE.names).cast(QUARANTINE))
        if sum(table.num_rows for table in held) >= _ROWS_AT_ONCE:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)
