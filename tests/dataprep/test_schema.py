"""Every rule of a declared column, on literal rows."""

from __future__ import annotations

import json
import random
import re
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.ingest import ingest_all, ingest_source
from pipeline.dataprep.read import read_source
from pipeline.dataprep.schema import enforce
from pipeline.errors import ConfigError, DataRefused
from tests.dataprep.ingesting import read_rows

Cell = tuple[Any, list[str]]


def declared(columns: dict[str, Any], **settings: Any) -> SourceConfig:
    """As from YAML: lists become tuples, and nothing else is converted."""
    return SourceConfig.model_validate_json(
        json.dumps({"path": "x", "columns": columns} | settings)
    )


def checked(
    spark: SparkSession, folder: Path, column: dict[str, Any], cells: list[str], **source: Any
) -> list[Cell]:
    """(typed value, rules broken) of each cell, in a table of one declared column."""
    file = folder / "cells.csv"
    lines = [f'{number},"{cell}"' for number, cell in enumerate(cells)]
    file.write_text("n,cell\n" + "\n".join(lines) + "\n", encoding="utf-8")
    config = declared({"cell": column}, **source)
    rows = enforce(read_source(spark, config, "cells", [str(file)]), config).orderBy("_line")
    without_header = rows.collect()[1:]
    return [(row["cell"], [reason["rule"] for reason in row["_reasons"]]) for row in without_header]


NOT = "not_a_"
UTC = timezone.utc
CASTS: dict[str, list[tuple[str, Any]]] = {
    "int": [
        ("12", 12), (" -3 ", -3), ("517.0", 517), ("", None), ("NA", None),
        ("12.7", ...), ("x", ...), ("2147483648", ...), ("1e3", ...),
    ],
    "long": [("2147483648", 2147483648), ("9223372036854775808", ...)],
    "double": [
        ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("NaN", ...), ("inf", ...), ("-Infinity", ...),
        ("1e999", ...), ("1d", ...), ("0x1p3", ...), ("1,5", ...),
    ],
    "float": [("1.5", 1.5), ("1e39", ...)],
    "boolean": [
        ("TRUE", True), ("t", True), ("1", True), ("yes", True), ("False", False), ("n", False),
        ("0", False), ("2", ...), ("on", ...),
    ],
    "date": [
        ("2013-02-28", date(2013, 2, 28)), ("0001-01-01", date(1, 1, 1)), ("2013-02-29", ...),
        ("0000-01-01", ...), ("99999-01-01", ...), ("2013", ...), ("2013-1-1", ...),
    ],
    "timestamp": [
        ("2013-01-01T10:00:00Z", datetime(2013, 1, 1, 10)),
        ("2013-01-01T10:00:00+05:30", datetime(2013, 1, 1, 4, 30)),
        ("2013-01-01T10:00:00-0500", datetime(2013, 1, 1, 15)),
        ("2013-01-01 10:00:00", datetime(2013, 1, 1, 10)),
        ("2013-01-01T10:00Z", datetime(2013, 1, 1, 10)),
        ("2013-01-01", datetime(2013, 1, 1)),
        ("2013-01-01T10:00:00.123456789Z", datetime(2013, 1, 1, 10, 0, 0, 123456)),
        ("2013-03-10T02:30:00Z", datetime(2013, 3, 10, 2, 30)),
        ("0000-01-01T00:00:00Z", ...), ("99999-01-01T00:00:00Z", ...), ("10:00", ...),
        ("2013-01-01T25:00:00Z", ...), ("2013-01-01T10:00:00 Europe/Berlin", ...),
    ],
    "decimal(20,2)": [
        ("0.10", Decimal("0.10")), ("123456789012345678.91", Decimal("123456789012345678.91")),
        ("1.500", Decimal("1.50")), ("7", Decimal("7.00")), ("1.505", ...), ("1e2", ...),
        ("1234567890123456789.00", ...),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", CASTS)
def test_a_text_is_one_value_of_its_type_or_has_a_reason(
    spark: SparkSession, tmp_path: Path, kind: str
) -> None:
    cases = CASTS[kind]
    found = checked(spark, tmp_path, {"type": kind}, [text for text, _ in cases])
    expected = [
        (None, [NOT + kind]) if value is ... else (_as_collected(value), []) for _, value in cases
    ]
    assert found == expected


def test_times_in_the_usual_form_are_read_as_all_others(
    spark: SparkSession, tmp_path: Path
) -> None:
    numbers = random.Random(0)
    texts = set()
    for text in ["2013-01-01T05:00:00Z", "0000-12-31T23:59:59Z", "0001-02-28T00:10:09Z"] * 700:
        for _ in range(numbers.randint(0, 2)):
            place = numbers.randrange(len(text))
            text = text[:place] + numbers.choice("0159-+T :.Zz,") + text[place + 1 :]
        texts.add(text)
    times = sorted(texts)
    found = checked(spark, tmp_path, {"type": "timestamp"}, times)
    assert [value for value, _ in found] == [_as_collected(_iso(text)) for text in times]


def _iso(text: str) -> datetime | None:
    form = re.fullmatch(
        r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(\.\d+)?(Z|[+-]\d\d(?::?\d\d)?)?)?",
        text.strip(" "),
        re.ASCII,
    )
    if form is None or (form[4] and not form[3]):
        return None
    day, minutes, seconds, fraction, zone = form.groups()
    offset = "+00:00" if zone in (None, "Z") else zone
    offset = f"{offset[:3]}:{offset[3:].lstrip(':') or '00'}"
    if offset[1:] > "18:00" or offset[4:] > "59":  # as java.time has it
        return None
    try:
        time = datetime.fromisoformat(f"{day}T{minutes or '00:00'}{seconds or ':00'}")
    except ValueError:
        return None
    sign = -1 if offset[0] == "-" else 1
    ahead = sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[4:]))
    micros = timedelta(microseconds=int((fraction or ".0")[1:7].ljust(6, "0")))
    return time + micros - ahead


def _as_collected(value: Any) -> Any:
    """PySpark gives timestamps in the time zone of the Python process, without saying so."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
    return value


LIMITS: list[tuple[dict[str, Any], list[str], list[list[str]]]] = [
    ({"type": "int", "min": 1, "max": 3}, ["0", "1", "3", "4", ""],
     [["below_min"], [], [], ["above_max"], []]),
    ({"type": "string", "nullable": False}, ["", "NA", " ", "x"], [["null"], ["null"], [], []]),
    ({"type": "string", "allowed": ["a", "b"]}, ["a", "A", ""], [[], ["not_allowed"], []]),
    ({"type": "int", "allowed": [1, 2]}, ["1", "3"], [[], ["not_allowed"]]),
    ({"type": "string", "pattern": "[A-Z]{2}|x"}, ["AB", "ABC", "x", "xx"],
     [[], ["pattern"], [], ["pattern"]]),
    ({"type": "decimal(5,2)", "max": 1.5}, ["1.50", "1.51"], [[], ["above_max"]]),
    ({"type": "string", "pattern": "a", "allowed": ["a"]}, ["b"], [["not_allowed", "pattern"]]),
]  # fmt: skip


@pytest.mark.parametrize(("column", "cells", "rules"), LIMITS)
def test_a_row_has_a_reason_for_each_rule_it_breaks(
    spark: SparkSession,
    tmp_path: Path,
    column: dict[str, Any],
    cells: list[str],
    rules: list[list[str]],
) -> None:
    assert [broken for _, broken in checked(spark, tmp_path, column, cells)] == rules


def test_null_values_are_the_sources_to_say(spark: SparkSession, tmp_path: Path) -> None:
    cells = ["", "NA", "-", "NaN"]
    found = checked(spark, tmp_path, {"type": "string"}, cells, null_values=["-"])
    assert found == [("", []), ("NA", []), (None, []), ("NaN", [])]
    found = checked(spark, tmp_path, {"type": "double"}, ["NaN", "nan"], null_values=["NaN"])
    assert found == [(None, []), (None, ["not_a_double"])]


def test_a_declared_format_is_used(spark: SparkSession, tmp_path: Path) -> None:
    column = {"type": "timestamp", "format": "dd.MM.yyyy HH:mm"}
    found = checked(spark, tmp_path, column, ["31.01.2013 10:30", "2013-01-31T10:30:00Z"])
    assert found == [
        (_as_collected(datetime(2013, 1, 31, 10, 30)), []),
        (None, ["not_a_timestamp"]),
    ]


def test_a_limit_that_does_not_fit_its_type_is_a_config_error(
    spark: SparkSession, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="min and max are for numbers, not string"):
        checked(spark, tmp_path, {"type": "string", "min": 1}, ["x"])


def test_the_first_good_row_of_a_key_is_kept(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("k,v\n1,x\n1,1\n2,2\n1,3\n,4\n,5\n")
    (tmp_path / "b.csv").write_text("k,v\n2,6\n3,7\n")
    columns = {"k": {"type": "int"}, "v": {"type": "int"}}
    source = declared(columns, key=["k"], max_quarantined_share=0.9)
    files = [str(tmp_path / name) for name in ("b.csv", "a.csv")]
    result = ingest_source(spark, source, "t", files, tmp_path / "good", tmp_path / "bad")
    good = sorted((row["k"], row["v"]) for row in read_rows(tmp_path / "good"))
    assert good == [(1, 1), (2, 2), (3, 7)]
    assert result.reasons == {"k: null": 2, "k: duplicate_key": 2, "v: not_a_int": 1}
    bad = [(Path(r["file"]).name, r["row"], r["raw"]) for r in read_rows(tmp_path / "bad")]
    assert bad == [
        ("a.csv", 1, "1,x"),
        ("a.csv", 4, "1,3"),
        ("a.csv", 5, ",4"),
        ("a.csv", 6, ",5"),
        ("b.csv", 1, "2,6"),
    ]


_CELL = st.one_of(
    st.integers(-5, 5).map(str),
    st.sampled_from(["", "NA", "x", "1.5", '"', '""', "a,b", "\0", "é", "9" * 12]),
)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(rows=[["\0"], ["0", "0"]])  # once lost
@given(rows=st.lists(st.lists(_CELL, min_size=1, max_size=4), min_size=1, max_size=12))
def test_rows_in_are_rows_out_and_quarantined(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("property")
    lines = [",".join(cells) for cells in rows]
    (folder / "a.csv").write_text("\n".join(["k,v", *lines]) + "\n", encoding="utf-8")
    columns = {"k": {"type": "int"}, "v": {"type": "string"}}
    source = declared(columns, key=["k"], max_quarantined_share=1.0)
    good, bad = folder / "good", folder / "bad"
    read = sum(1 for line in lines if line.strip(" \t"))
    try:
        result = ingest_source(spark, source, "t", [str(folder / "a.csv")], good, bad)
    except DataRefused as refused:
        assert "no row" in refused.message
        return
    keys = [row["k"] for row in read_rows(good)]
    assert result.rows_in == read == len(keys) + len(read_rows(bad))
    assert len(set(keys)) == len(keys) and None not in keys


def test_sources_are_ingested_side_by_side(spark: SparkSession, tmp_path: Path) -> None:
    sources, files = {}, {}
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.csv").write_text(f"{name}\n1\nx\n2\n")
        sources[name] = declared({name: {"type": "int"}}, max_quarantined_share=0.5)
        files[name] = [str(tmp_path / f"{name}.csv")]
    results = ingest_all(spark, sources, files, tmp_path / "out", threads=3)
    assert {(r.rows_in, r.rows_out, r.rows_quarantined) for r in results.values()} == {(3, 2, 1)}
    assert [row["two"] for row in read_rows(tmp_path / "out" / "two")] == [1, 2]
    quarantine = read_rows(tmp_path / "out" / "quarantine" / "two")
    assert [(row["source"], row["row"], row["raw"]) for row in quarantine] == [("two", 2, "x")]


def test_all_refused_sources_are_named_at_once(spark: SparkSession, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text("other\n1\n")
    columns = {"a": {"type": "int"}}
    source = declared(columns)
    files = {name: [str(tmp_path / f"{name}.csv")] for name in ("one", "two")}
    with pytest.raises(DataRefused, match=r"(?s)source one: .*source two: "):
        ingest_all(spark, dict.fromkeys(files, source), files, tmp_path / "out")


def test_times_without_an_offset_are_read_in_the_declared_zone(
    spark: SparkSession, tmp_path: Path
) -> None:
    cases: dict[str, Any] = {
        "2013-07-01T12:00:00": datetime(2013, 7, 1, 16),
        "2013-01-01 12:00": datetime(2013, 1, 1, 17),
        "2013-01-05": datetime(2013, 1, 5, 5),
        "2013-01-01T12:00:00Z": datetime(2013, 1, 1, 12),
        "2013-01-01T12:00:00.5+0530": datetime(2013, 1, 1, 6, 30, 0, 500_000),
        "2013-11-03T01:30:00": datetime(2013, 11, 3, 5, 30),  # shown twice: the earlier
        "2013-03-10T02:30:00": "skipped_by_clocks",
        "2013-03-10T02:30:00-05:00": datetime(2013, 3, 10, 7, 30),
        "0000-01-01T00:00:00": "not_a_timestamp",
    }
    column = {"type": "timestamp", "zone": "America/New_York"}
    found = checked(spark, tmp_path, column, list(cases))
    assert found == [
        (None, [value]) if isinstance(value, str) else (_as_collected(value), [])
        for value in cases.values()
    ]


@pytest.mark.parametrize(("pattern", "hour"), [("dd.MM.yyyy HH:mm", 16), ("dd.MM.yyyy HH:mmX", 12)])
def test_a_declared_format_may_have_an_offset(
    spark: SparkSession, tmp_path: Path, pattern: str, hour: int
) -> None:
    column = {"type": "timestamp", "zone": "America/New_York", "format": pattern}
    cells = ["01.07.2013 12:00" + ("Z" if pattern.endswith("X") else "")]
    assert checked(spark, tmp_path, column, cells) == [
        (_as_collected(datetime(2013, 7, 1, hour)), [])
    ]


DEFAULTS: list[tuple[str, Any, Any]] = [
    ("int", 7, 7),
    ("double", 0.5, 0.5),
    ("decimal(5,2)", 1.5, Decimal("1.50")),
    ("boolean", False, False),
    ("date", "2013-01-01", date(2013, 1, 1)),
    ("string", "none", "none"),
]


def test_a_default_stands_where_a_value_is_missing(spark: SparkSession, tmp_path: Path) -> None:
    columns = {
        f"c{place}": {"type": kind, "default": default, "nullable": False}
        for place, (kind, default, _) in enumerate(DEFAULTS)
    }
    header = ",".join(columns)
    (tmp_path / "a.csv").write_text(f"{header}\n,NA,,,,\nx,x,x,x,x,x\n")
    source = declared(columns)
    rows = enforce(read_source(spark, source, "t", [str(tmp_path / "a.csv")]), source)
    _, filled, broken = rows.orderBy("_line").collect()
    assert [filled[name] for name in columns] == [value for _, _, value in DEFAULTS]
    assert not filled["_broken"] and len(broken["_reasons"]) == 5
