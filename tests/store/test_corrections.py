"""Corrections go to a spreadsheet and come back as they were, but for what was corrected."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DataRefused
from pipeline.store.corrections import (
    Correction,
    merged,
    neutral,
    original,
    read_corrections,
    write_corrections,
)

ITEM = Correction("raw/a.csv", 3, "=1,x\x1b[2J", "1,2", "price: not_a_double: =x")


@given(st.text())
def test_cells_are_neutral_and_come_back(text: str) -> None:
    assert original(neutral(text)) == text
    assert not neutral(text).startswith(("=", "+", "-", "@"))


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    items = [ITEM, Correction("raw/-b.csv", 1, '-5,"two\nlines"', "'-5,x"), ITEM]
    items[2] = dataclasses.replace(ITEM, row=4, corrected=ITEM.raw)  # left as it was
    path = tmp_path / "rows.csv"
    write_corrections(path, items)
    assert read_corrections(path) == items[:2]
    cells = [cell for line in csv.reader(path.open(newline="")) for cell in line]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


def test_the_later_correction_of_a_row_counts() -> None:
    later = dataclasses.replace(ITEM, corrected="3,4")
    first = dataclasses.replace(ITEM, file="raw/0.csv")
    assert merged([ITEM, first], [later]) == [first, later]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("file,row\na,1\n", "It lacks raw, corrected"),
        ("file,row,raw,corrected\na,one,x,y\n", "record 2: must have"),
        ("file,row,raw,corrected\na,1,x,y\na,1,x,z\n", "record 3: row 1 of a is corrected twice"),
        ("file,row,raw,corrected\na,1,\xff,y\n", "cannot be read as corrections"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataRefused, match=message):
        read_corrections(path)
