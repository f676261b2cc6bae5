"""Rows taken by Arrow where they are plainly good, against Spark's expressions as the oracle."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.dataprep import plain_rows
from pipeline.dataprep.read import open_source
from pipeline.errors import ConfigError
from tests.dataprep.ingesting import Ingested, Row, read_rows, source

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COLUMNS: dict[str, Row] = {
    "id": {"type": "int", "nullable": False, "min": 0},
    "big": {"type": "long", "max": 10**12},
    "share": {"type": "float", "min": -5, "max": 1e6},
    "price": {"type": "double", "max": 1e12},
    "day": {"type": "date"},
    "at": {"type": "timestamp", "from": "time of day"},
    "kind": {"type": "string", "allowed": ["a", "b", "é"]},
    "code": {"type": "string", "pattern": r"[A-Z]{2}\d*(-x|.)?"},
    "level": {"type": "int", "allowed": [1, 2, 30]},
    "note": {"type": "string", "nullable": False},
}
CLEAN = ["7", "-12", "0.5", "12.25", "2024-02-29", "2024-02-29T23:59:59Z", "a", "AB12", "30", "x y"]
# fmt: off
TEXTS = [
    "", "NA", " ", " 5", "5 ", "+5", "-5", "5-", "--5", "-", "05", "0x1F", "0x12", "1F", "1_000",
    "1,5",
    "5.", ".5", "517.0", "517.5", "-0", "-0.0", "1e3", "1E-3", "1e400", "nan", "NaN", "inf",
    "-Infinity", "1d", "2f", "0x1p3", "2147483647", "2147483648", "-2147483648", "999999999999",
    "1000000000001", "9007199254740993", "9223372036854775808", "123456789012345678901234567890",
    "0.1", "0.30000000000000004", "16777217", "1.17549435E-38", "3.4028236e38", "1" * 60, "\u0663",
    "\uff15",
    "2023-02-29", "2024-2-9", "0000-01-01", "0001-01-01", "9999-12-31", "10000-01-01", "20240229",
    "2024-02-29 ", "2024-02-30T00:00:00Z", "2024-02-29 12:00:00", "2024-02-29T12:00:00",
    "2024-02-29 12:00:00Z", "2024-02-29T12:00Z", "2024-02-29T12:00:00.5Z", "2024-02-29T24:00:00Z",
    "2024-02-29T12:60:00Z", "2024-02-29T12:00:60Z", "2024-02-29T12:00:00+02:00", "1e-320",
    "0000-12-31T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2024-02-29T1:00:00ZZ",
    "2024-02-29T12:00:0ZZ", "2024-02-29T12:00:0Z", "2024-02-29T12-00:00",
    "2024-02-29T12Z", "1582-10-10", "1582-10-10T00:00:00Z", "true", "a ",
    "é", "b", "ab", "AB", "ABC", "AB1x", "AB-x", "AB-x\x85", "AB\u2028", "AB\t", "AÉ", "1", "2",
    "3", "30", "x" * 70_000, "\ufffd", "n\0l", "tab\there", "\u00a0", "\x1f", "\ufeff5",
]
# fmt: on
QUOTED = ['"5"', '"a,b"', '"', '"x""y"', 'x"y', '""']


def _lines(seed: int) -> list[str]:
    """Each text in each column beside clean ones, rows of several such, and rows cut otherwise."""
    rows = []
    for place in range(len(CLEAN)):
        for text in [*TEXTS, *QUOTED]:
            if "," not in text or text in QUOTED:
                rows.append([*CLEAN[:place], text, *CLEAN[place + 1 :]])
    draw = random.Random(seed)
    texts = [text for text in TEXTS if len(text) < 100 and "," not in text]
    for _ in range(300):
        rows.append([draw.choice(texts) if draw.random() < 0.1 else text for text in CLEAN])
    rows += [CLEAN[:-1], [*CLEAN, "y"], [CLEAN[0]], [*CLEAN, "", ""]]
    rows += [CLEAN] * 2000
    draw.shuffle(rows)
    # A chunk may begin with what Arrow takes for the mark of an encoding.
    return ["\ufeff" + ",".join(CLEAN), *(",".join(row) for row in rows)]


def _file(path: Path, lines: list[str], encoding: str = "utf-8") -> str:
    names = [str(column.get("from", name)) for name, column in COLUMNS.items()]
    header = ",".join(names)
    too_long = ",".join([*CLEAN[:-1], "x" * 1_100_000])
    lines = [header, *lines[:700], header, "", "  ", too_long, *lines[700:]]
    # Line ends of both kinds; a lone surrogate for bytes that are no text in the encoding.
    text = "".join(line + ("\n", "\r\n")[number % 2] for number, line in enumerate(lines))
    path.write_bytes(text.encode(encoding, "replace") + b"1,\xff\xfe,,,,,,,,\n")
    return str(path)


def _both(spark: SparkSession, patch: Any, tmp_path: Path, **changes: Any) -> list[Ingested]:
    """Ingested by Spark's expressions alone, and with plain rows taken apart."""
    from pipeline.dataprep.ingest import ingest_source

    files = [_file(tmp_path / f"{seed}.csv", _lines(seed)) for seed in (1, 2)]
    settings = source(columns=COLUMNS, **changes)
    found = []
    for way, least in (("spark", 1 << 60), ("plain", 0)):
        patch.setattr(plain_rows, "MIN_BYTES", least)
        folder = tmp_path / way
        result = ingest_source(spark, settings, "t", files, folder / "good", folder / "bad")
        found.append(Ingested(result, folder))
    return found


def _sorted(rows: list[Row]) -> list[str]:
    return sorted(map(repr, rows))  # -0.0 and 0.0 differ so


@pytest.mark.parametrize("null_values", [["", "NA"], [], ["5", "x y"]])
def test_values_and_reasons_are_those_of_sparks_expressions(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, null_values: list[str]
) -> None:
    by_spark, with_plain = _both(spark, monkeypatch, tmp_path, null_values=null_values)
    assert _sorted(with_plain.good) == _sorted(by_spark.good)
    assert with_plain.bad == by_spark.bad
    assert with_plain.result == by_spark.result
    assert len(by_spark.bad) > 500
    files = [str(tmp_path / "1.csv"), str(tmp_path / "2.csv")]
    plain = open_source(spark, source(columns=COLUMNS, null_values=null_values), "t", files).plain
    assert plain is not None
    taken = plain.checked.filter("not _broken").count()
    assert taken > 0.6 * len(by_spark.good), "most good rows are plain"


def test_filters_and_repeated_keys_are_those_of_sparks_expressions(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = {
        "filters": {"cheap": "price < 100"},
        "max_quarantined_share": 1,
        "key": ["big", "share", "day", "kind", "code"],
        "rules": {"once": {"kind": "unique", "columns": ["at", "note"], "level": "warn"}},
    }
    by_spark, with_plain = _both(spark, monkeypatch, tmp_path, **settings)
    assert _sorted(with_plain.good) == _sorted(by_spark.good)
    assert with_plain.bad == by_spark.bad
    assert with_plain.result == by_spark.result
    assert any("duplicate_key" in str(row["reasons"]) for row in by_spark.bad)


def test_filters_count_plain_rows_and_the_rest_together(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    filters = {"cheap": "price < 100", "of_a": "kind <=> 'a'"}
    by_spark, with_plain = _both(spark, monkeypatch, tmp_path, filters=filters)
    assert all(by_spark.result.rows_dropped.values())
    assert with_plain.result == by_spark.result
    assert _sorted(with_plain.good) == _sorted(by_spark.good)


def test_clean_rows_are_plain(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(plain_rows, "MIN_BYTES", 0)
    file = _file(tmp_path / "t.csv", [",".join(CLEAN)] * 1500 + ["7,,,,,,,,,x"])
    plain = open_source(spark, source(columns=COLUMNS), "t", [file]).plain
    assert plain is not None
    assert plain.checked.filter("not _broken").count() == 1501
    assert plain.checked.filter("_is_header").count() == 2
    too_long, no_text = plain.rest.filter("not _is_header").collect()
    assert too_long["_problem"]["rule"] == "record_too_long"
    assert no_text["_raw"] == "1,\ufffd\ufffd,,,,,,,,"


@pytest.mark.parametrize(
    "changes",
    [
        {"multiline": True},
        {"delimiter": "||"},
        {"columns": {"id": {"type": "decimal(5,2)"}}},
        {"columns": {"id": {"type": "int", "default": 3}}},
        {"columns": {"id": {"type": "int", "allowed": [1, "x"]}}},
        {"columns": {"id": {"type": "double", "thousands": ","}}},
        {"columns": {"id": {"type": "date", "format": "dd.MM.yyyy"}}},
        {"columns": {"id": {"type": "timestamp", "zone": "Europe/Berlin"}}},
        {"columns": {"id": {"type": "string", "pattern": r"\p{L}+"}}},
        {"columns": {"id": {"type": "string", "pattern": "(?i)a"}}},
        {"columns": {"id": {"type": "string", "pattern": "[a-z&&[^b]]"}}},
    ],
)
def test_what_arrow_and_spark_may_see_otherwise_is_left_to_spark(
    changes: Row, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(plain_rows, "MIN_BYTES", 0)
    file = tmp_path / "t.csv"
    file.write_text("id\n1\n")
    one = {"columns": {"id": {"type": "int"}}}
    assert open_source(spark, source(**one), "t", [str(file)]).plain is not None
    assert open_source(spark, source(**one | changes), "t", [str(file)]).plain is None


def test_a_limit_that_does_not_fit_its_type_is_refused_before_rows_are_read(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from pipeline.dataprep.ingest import ingest_source

    monkeypatch.setattr(plain_rows, "MIN_BYTES", 0)
    file = tmp_path / "t.csv"
    file.write_text("id\n1\n")
    wrong = source(columns={"id": {"type": "string", "min": 3}})
    with pytest.raises(ConfigError, match=r"columns\.id: min and max are for numbers"):
        ingest_source(spark, wrong, "t", [str(file)], tmp_path / "good", tmp_path / "bad")


def test_units_keep_the_order_of_their_files(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from pipeline.dataprep.ingest import write_source

    monkeypatch.setattr(plain_rows, "MIN_BYTES", 0)
    file = tmp_path / "t.csv"
    file.write_text('id,note\n1,a\n2,"b"\n3,c\n')
    two = source(columns={"id": {"type": "int"}, "note": {"type": "string"}})
    for any_order, ids in ((False, [1, 2, 3]), (True, [1, 3, 2])):
        good, bad = tmp_path / f"good-{any_order}", tmp_path / f"bad-{any_order}"
        write_source(spark, two, "t", [str(file)], good, bad, any_order=any_order)
        assert [row["id"] for row in read_rows(good)] == ids


@pytest.mark.parametrize("rows", [["1.0", "2.0"], ["1", "x"], ["1", "2.0"], ["1", "2"]])
def test_no_file_is_written_for_no_rows(
    rows: list[str], spark: SparkSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from pipeline.dataprep.ingest import ingest_source

    monkeypatch.setattr(plain_rows, "MIN_BYTES", 0)
    file = tmp_path / "t.csv"
    file.write_text("\n".join(["id", *rows]))
    one = source(columns={"id": {"type": "int"}})
    result = ingest_source(spark, one, "t", [str(file)], tmp_path / "good", tmp_path / "bad")
    parts = sorted(path.name for path in (tmp_path / "good").iterdir())
    assert parts == ["part-00000.parquet", "part-00001.parquet"][: 2 if rows == ["1", "2.0"] else 1]
    assert [row["id"] for row in read_rows(tmp_path / "good")] == [1, 2][: result.rows_out]
    assert result.rows_out == 2 - ("x" in rows)
