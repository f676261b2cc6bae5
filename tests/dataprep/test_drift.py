"""CSV files whose columns differ from the declared ones, by policy; and CSV of other dialects."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.dataprep.drift import Drift
from pipeline.errors import DataRefused
from tests.dataprep.ingesting import HEADER, Ingest

RENAMED: dict[str, Any] = {
    "id": {"type": "int", "from": "Item No."},
    "price": {"type": "double", "default": 9.5},
    "note": {"type": "string"},
}


def test_what_differs_is_let_pass_by_policy_and_reported(ingest: Ingest) -> None:
    found = ingest(
        {
            "a.csv": "Item No.,price,note\n1,2,x\n2,,y\n3,bad,z\n",
            "b.csv": "note,Item No.,more\nv,4,5\n",
            "c.csv": "Item No.,more\n5,6\n",
        },
        columns=RENAMED,
        missing_columns="fill",
    )
    rows = sorted(tuple(row.values()) for row in found.good)
    assert rows == [(1, 2.0, "x"), (2, 9.5, "y"), (4, 9.5, "v"), (5, 9.5, None)]
    assert found.rules == [(3, "not_a_double", "bad")]
    assert found.result.drift == Drift({"more": 2}, {"price": 2, "note": 1}, {}, 1)


def test_a_column_that_must_not_be_null_cannot_be_filled(ingest: Ingest) -> None:
    with pytest.raises(DataRefused, match=r"a\.csv: no column 'id', which must not be null"):
        ingest({"a.csv": "price,note\n1,x\n"}, missing_columns="fill")


def test_files_without_a_header_have_the_declared_columns_in_order(ingest: Ingest) -> None:
    files: dict[str, str | bytes] = {"a.csv": '1,2,"a\nb"\n\n2,3\n3,x,c\n', "b.csv": "1,5,d\n"}
    found = ingest(files, header=False, multiline=True)
    assert [(row, rule) for row, rule, _ in found.rules] == [(2, "short_row"), (3, "not_a_double")]
    assert sorted(row["note"] for row in found.good) == ["a\nb", "d"]
    assert found.result.rows_in == 4
    with pytest.raises(DataRefused, match=r"first line is one column with delimiter ','.*';'"):
        ingest({"a.csv": "1;2;x\n"}, header=False)


def test_rows_are_numbered_from_1_without_a_header(ingest: Ingest) -> None:
    found = ingest({"a.csv": "1,2,x\n2,y,z\n"}, header=False)
    assert found.rules == [(2, "not_a_double", "y")]


def test_comments_are_no_rows(ingest: Ingest) -> None:
    found = ingest({"a.csv": f'# made "by hand\n{HEADER}1,2,x\n#2,3,y\n3,bad,#\n'}, comment="#")
    assert found.rules == [(2, "not_a_double", "bad")]
    assert found.result.rows_in == 2


@pytest.mark.parametrize("multiline", [False, True])
def test_a_declared_escape_takes_a_quotes_meaning(ingest: Ingest, multiline: bool) -> None:
    rows = '1,2,"a \\"b\\", c"\n2,3,"back\\\\"\n3,x,"\\""\n4,5,"open \\"\n'
    found = ingest({"a.csv": HEADER + rows}, escape="\\", multiline=multiline)
    assert [row["note"] for row in found.good] == ['a "b", c', "back\\"]
    assert [(row, rule) for row, rule, _ in found.rules] == [
        (3, "not_a_double"),
        (4, "unclosed_quote"),
    ]


def test_other_marks_are_the_sources_to_say(ingest: Ingest) -> None:
    text = "id||price||note\n1||'1.234,5'||'a||b'\n2||-1.000.000||c\n3||12.34||d\n4||,5||e\n"
    columns = {
        "id": {"type": "int"},
        "price": {"type": "double", "decimal": ",", "thousands": "."},
        "note": {"type": "string"},
    }
    found = ingest({"a.csv": text}, delimiter="||", quote="'", columns=columns)
    assert [(row["price"], row["note"]) for row in found.good] == [
        (1234.5, "a||b"),
        (-1000000.0, "c"),
        (0.5, "e"),
    ]
    assert found.rules == [(3, "not_a_double", "12.34")]
