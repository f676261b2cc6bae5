"""Lines of text by a regular expression: its named groups are the columns."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from pipeline.errors import DataRefused
from tests.dataprep.ingesting import Ingest

SETTINGS: dict[str, Any] = {
    "format": "text",
    "pattern": r'(?P<host>\S+) \[(?P<at>[^\]]+)\] "[^"]*" (?P<status_code>\d{3}|-)( (?P<ms>\d+))?',
    "comment": "#",
    "null_values": ["-"],
    "columns": {
        "host": {"type": "string"},
        "at": {"type": "timestamp", "format": "dd/MMM/yyyy:HH:mm:ss Z"},
        "status": {"type": "int", "from": "status_code"},
        "ms": {"type": "int"},
    },
}  # fmt: skip


def line(host: str, status: str, rest: str = "") -> str:
    return f'{host} [01/Jan/2013:10:00:00 +0100] "GET /" {status}{rest}'


def test_groups_are_columns_and_other_lines_have_a_reason(ingest: Ingest) -> None:
    good, bad = [line("a", "200", " 17"), line("b", "-")], ["garbage", line("c", "999 x")]
    text = "\r\n".join(["#Version: 1.0", good[0], "", bad[0], good[1], bad[1]])
    other = gzip.compress(line("d", "204").encode())
    found = ingest({"a.log": text, "b.log.gz": other}, **SETTINGS)
    assert sorted((row["host"], row["status"], row["ms"]) for row in found.good) == [
        ("a", 200, 17),
        ("b", None, None),
        ("d", 204, None),
    ]
    assert {row["at"].isoformat() for row in found.good} == {"2013-01-01T09:00:00+00:00"}
    assert found.rules == [(2, "no_match", "garbage"), (4, "no_match", bad[1])]
    assert found.result.rows_in == 5


def test_a_pattern_that_matches_no_line_of_a_file_is_refused(ingest: Ingest) -> None:
    with pytest.raises(DataRefused, match=r"b\.log: pattern .* matches no line.*'a,b'"):
        ingest({"a.log": line("a", "200"), "b.log": "a,b\n"}, **SETTINGS)
