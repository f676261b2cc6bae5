"""Corrected rows: a CSV file that people edit, and that an ingest takes as one of its inputs.

::

    file,row,problem,raw,corrected
    data/sales.csv,7,price: not_a_double,"3,abc,x","3,12.5,x"

``raw`` is the row as it stands in its file, and says whether the correction still belongs there.
Cells that a spreadsheet would take for a formula have an apostrophe in front, which reading takes
away again.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.pipeline import PipelineConfig
from pipeline.errors import DataRefused
from pipeline.store.layout import Store, write_text

COLUMNS = ("file", "row", "problem", "raw", "corrected")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
_MAX_CELL = 1 << 20


@dataclass(frozen=True, order=True)
class Correction:
    """One row of a raw file, and what should stand there.

    Attributes:
        file: the raw file's path, from the project's root where it lies below.
        row: the record's number in its file from 1, headers and blank lines not counted.
        raw, corrected: the record's text before and after.
        problem: why it was quarantined, for people.
    """

    file: str
    row: int
    raw: str
    corrected: str
    problem: str = ""


def corrections_path(config: PipelineConfig, source: str) -> Path:
    """Where the corrections of a source are; the file need not exist."""
    declared = config.ingest.sources[source].corrections
    if declared is not None:
        return config.path(declared)
    return Store(config.store_path).corrections(source, config.name)


def neutral(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def original(text: str) -> str:
    """What ``neutral`` was given."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text


def write_corrections(path: Path, corrections: Iterable[Correction]) -> None:
    """Write the file at once, so that a reader sees all of it or the one before."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for item in corrections:
        cells = (item.file, str(item.row), item.problem, item.raw, item.corrected)
        writer.writerow([neutral(cell) for cell in cells])
    write_text(path, text.getvalue())


def read_corrections(path: Path) -> list[Correction]:
    """The rows of the file that differ from what stands there, each once.

    Raises:
        DataRefused: the file cannot be read as such; one row has two corrections.
    """
    lines = _lines(path)
    missing = [name for name in ("file", "row", "raw", "corrected") if name not in lines[0]]
    if missing:
        raise DataRefused(
            f"{path}: its header must have {', '.join(COLUMNS)}. It lacks {', '.join(missing)}",
            hint="Begin with the file that pipeline quarantine show --output writes.",
        )
    found: dict[tuple[str, int], Correction] = {}
    for number, cells in enumerate(lines[1:], 2):
        item = _correction(path, number, dict(zip(lines[0], map(original, cells), strict=False)))
        if item.corrected.strip() in ("", item.raw.strip()):
            continue
        if found.setdefault((item.file, item.row), item) != item:
            raise DataRefused(
                f"{path}, record {number}: row {item.row} of {item.file} is corrected twice",
                hint="Leave one of the two.",
            )
    return list(found.values())


def _lines(path: Path) -> list[list[str]]:
    before = csv.field_size_limit(_MAX_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [cells for cells in csv.reader(file) if cells]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataRefused(
            f"{path} cannot be read as corrections: {error}", hint="Save it as CSV in UTF-8."
        ) from error
    finally:
        csv.field_size_limit(before)
    if not lines:
        raise DataRefused(f"{path} is empty", hint=f"Its header is {','.join(COLUMNS)}.")
    return lines


def _correction(path: Path, number: int, cells: dict[str, str]) -> Correction:
    try:
        return Correction(
            cells["file"], int(cells["row"]), cells["raw"], cells["corrected"],
            cells.get("problem", ""),
        )  # fmt: skip
    except (KeyError, ValueError) as error:
        raise DataRefused(
            f"{path}, record {number}: must have {', '.join(COLUMNS)}, and a whole number as row. "
            f"Got {list(cells.values())} instead",
            hint="Change only the column 'corrected'.",
        ) from error


def merged(before: Sequence[Correction], more: Sequence[Correction]) -> list[Correction]:
    """Both, by file and row; of two corrections of one row the later one."""
    of_row = {(item.file, item.row): item for item in (*before, *more)}
    return [of_row[place] for place in sorted(of_row)]
