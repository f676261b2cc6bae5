"""Filters and rules over rows: what is dropped, set aside, warned of and refused, exactly."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

import pipeline.dataprep.rules
from pipeline.config.ingest import IngestConfig, SourceConfig
from pipeline.config.rules import ConditionRule, UniqueRule
from pipeline.dataprep.ingest import SourceResult, ingest_all, ingest_source
from pipeline.dataprep.rules import apply_rules, flag, table_rules
from pipeline.dataprep.verdict import RuleResult
from pipeline.errors import ConfigError, DataRefused
from tests.dataprep.ingesting import read_rows

SALES = {
    "id": {"type": "int", "nullable": False},
    "shop": {"type": "string"},
    "made": {"type": "date"},
    "sold": {"type": "date"},
    "price": {"type": "double"},
}
HEADER = "id,shop,made,sold,price\n"


def sources(**tables: dict[str, Any]) -> dict[str, SourceConfig]:
    """As from YAML: lists become tuples, and nothing else is converted."""
    given = {name: {"path": "x", "columns": SALES} | table for name, table in tables.items()}
    return dict(IngestConfig.model_validate_json(json.dumps({"sources": given})).sources)


class Ingested:
    """What became of one source, row by row."""

    def __init__(self, result: SourceResult, good: Path, bad: Path) -> None:
        self.result = result
        self.good = read_rows(good)
        self.bad = read_rows(bad)

    @property
    def ids(self) -> list[int]:
        return sorted(row["id"] for row in self.good)

    @property
    def reasons(self) -> list[tuple[str, int, str, str]]:
        """(file, row, rule, value) of each reason."""
        return [
            (Path(row["file"]).name, row["row"], reason["rule"], reason["value"])
            for row in self.bad
            for reason in row["reasons"]
        ]

    def rule(self, name: str) -> RuleResult:
        return {rule.name: rule for rule in self.result.rules}[name]


def ingest(spark: SparkSession, folder: Path, *files: str, **changes: Any) -> Ingested:
    """Ingest texts as the files a.csv, b.csv and on."""
    folder.mkdir(exist_ok=True)
    paths = [str(folder / f"{'abc'[number]}.csv") for number in range(len(files))]
    for path, text in zip(paths, files, strict=True):
        Path(path).write_text(HEADER + text)
    (source,) = sources(sales={"max_quarantined_share": 1.0, **changes}).values()
    good, bad = folder / "good", folder / "bad"
    return Ingested(ingest_source(spark, source, "sales", paths, good, bad), good, bad)


def test_filters_and_rules_account_for_every_row(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = (
        "1,a,2020-01-01,2020-01-02,5\n"
        "2,test,2020-01-01,2020-01-02,5\n"  # dropped
        "3,a,2020-01-03,2020-01-02,5\n"  # sold before it was made
        "3,b,2020-01-01,2020-01-02,\n"  # so this is the first with its key
        "x,test,2020-01-01,2020-01-02,5\n"  # broken: it takes the way of broken rows
        "4,,2020-01-01,2020-01-02,-1\n"  # no shop: dropped, as WHERE would
    )
    second = (
        "1,a,2020-01-01,2020-01-02,7\n"  # the key of the first row
        "5,c,,2020-01-02,-2\n"  # not made: nothing to compare
        "6,c,2020-01-01,2020-01-02,-3\n"
        "7,gone,2020-01-09,2020-01-02,\n"  # dropped, so that it breaks no rule
    )
    caplog.set_level(logging.WARNING, "pipeline")
    found = ingest(
        spark, tmp_path, first, second,
        key=["id"],
        filters={"real": "shop <> 'test'", "open": "shop != 'gone'"},
        rules={
            "made_first": {"kind": "condition", "sql": "Made <= sold"},
            "paid": {"kind": "condition", "sql": "price >= 0", "level": "warn"},
            "priced": {"kind": "complete", "columns": ["price"], "level": "warn",
                       "max_share": 0.25},  # just what is found
            "some": {"kind": "rows", "min": 1, "max": 4},
        },
    )  # fmt: skip
    result = found.result
    assert (result.rows_in, result.rows_out, result.rows_quarantined) == (10, 4, 3)
    assert result.rows_dropped == {"real": 2, "open": 1}
    assert found.ids == [1, 3, 5, 6]
    assert found.reasons == [
        ("a.csv", 3, "made_first", "2020-01-03,2020-01-02"),
        ("a.csv", 5, "not_a_int", "x"),
        ("b.csv", 1, "duplicate_key", "1"),
    ]
    checked = {rule.name: (rule.checked, rule.broken, rule.passed) for rule in result.rules}
    assert checked == {
        "duplicate_key": (5, 1, True),
        "made_first": (6, 1, True),
        "paid": (6, 2, False),
        "priced": (4, 1, True),
        "some": (4, None, True),
    }
    paid = found.rule("paid")
    assert paid.example is not None
    assert paid.example.file == str(tmp_path / "b.csv")
    assert (paid.example.row, paid.example.value) == (2, "-2.0")
    example = found.rule("made_first").example
    assert example is not None and example.row == 3
    assert [r.getMessage() for r in caplog.records] == [
        f"source sales: rule paid (condition): 2 of 6 rows (33.33%) break it; allowed: none; "
        f"for example '-2.0' in {tmp_path}/b.csv row 2"
    ]


def test_all_rules_that_do_not_hold_are_refused_at_once(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = "1,a,2020-01-01,2020-01-02,-5\n2,a,2020-01-01,2020-01-02,\n3,b,2020-01-01,,1\n"
    with pytest.raises(DataRefused) as refused:
        ingest(
            spark, tmp_path, rows,
            rules={
                "paid": {"kind": "condition", "sql": "price > 0", "nulls": "break", "max_rows": 1},
                "known": {"kind": "complete", "columns": ["made", "sold"], "max_share": 0.2},
                "one": {"kind": "unique", "columns": ["shop"], "level": "refuse", "max_rows": 1},
                "many": {"kind": "rows", "min": 100},
                "new": {"kind": "fresh", "column": "sold", "max_age_hours": 24,
                        "as_of": "2020-01-04T00:00:00Z"},
                "fine": {"kind": "condition", "sql": "id > 0", "level": "refuse"},
            },
        )  # fmt: skip
    lines = refused.value.message.splitlines()
    file = tmp_path / "a.csv"
    assert lines == [
        f"source sales: rule paid (condition): 2 of 3 rows (66.67%) break it; "
        f"allowed: max_rows 1; for example '-5.0' in {file} row 1",
        f"source sales: rule known (complete): 1 of 1 rows (100.00%) break it; "
        f"allowed: max_share 0.2; for example '2020-01-01,null' in {file} row 3",
        "source sales: rule many (rows): 1 rows; allowed: min 100",
        "source sales: rule new (fresh): sold has no value; "
        "allowed: max_age_hours 24.0, as_of 2020-01-04T00:00:00+00:00",
    ]
    assert refused.value.exit_code == 3
    assert "level: warn" in str(refused.value.hint)


def test_which_of_equal_rows_is_kept_is_declared(spark: SparkSession) -> None:
    rows = [
        (1, "a", 2, 1), (2, "a", 3, 2), (3, "a", None, 3),
        (4, None, 1, 4), (5, None, 1, 5),  # nulls are not compared
        (6, "b", 1, -6), (7, "b", 1, 7), (8, "b", 1, 8),  # 6 is set aside, and wins nothing
    ]  # fmt: skip
    columns = "id int, shop string, made int, price int"
    reasons = "array<struct<rule:string,column:string,value:string>>"
    frame = spark.createDataFrame(rows, columns).selectExpr(
        "*", "false AS _broken", f"cast(array() AS {reasons}) AS _reasons"
    )
    paid = ConditionRule(kind="condition", sql="price > 0")
    one = UniqueRule(kind="unique", columns=("shop",), level="warn")
    kept = {
        "first": ({}, [1, 7]),
        "last": ({"keep": "last"}, [3, 8]),
        "first_by": ({"by": "made"}, [1, 7]),
        "last_by": ({"keep": "last", "by": "made"}, [2, 8]),
    }
    rules = {"paid": paid} | {n: one.model_copy(update=keep) for n, (keep, _) in kept.items()}
    marked = apply_rules(frame, table_rules(frame, "here", {}, rules), ["id"], {})
    found = marked.orderBy("id").collect()
    for name, (_, ids) in kept.items():
        flags = {row["id"]: row[flag(name)] for row in found}
        assert [id for id, broken in flags.items() if broken is False] == ids, name
        assert [id for id, broken in flags.items() if broken is None] == [4, 5, 6]


SHOPS = {"town": {"type": "string"}, "name": {"type": "string"}, "size": {"type": "int"}}
SHOP_RULE = {
    "kind": "foreign_key",
    "columns": ["shop", "town"],
    "references": ["shops.name", "shops.town"],
}


@pytest.mark.parametrize("broadcast_rows", [1_000_000, 0])
def test_rows_without_their_parent_are_set_aside(
    spark: SparkSession, tmp_path: Path, broadcast_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline.dataprep.rules, "BROADCAST_ROWS", broadcast_rows)
    (tmp_path / "shops.csv").write_text("town,name,size\nx,a,1\nx,a,2\nx,b,big\n,c,3\n")
    # Another order and other columns of the same names; a shop that was set aside is no parent.
    (tmp_path / "sales.csv").write_text("id,shop,town\n1,a,x\n2,a,y\n3,b,x\n4,c,\n5,,x\n6,a,x\n")
    columns = {"id": {"type": "int"}, "shop": {"type": "string"}, "town": {"type": "string"}}
    tables = sources(
        sales={"columns": columns, "max_quarantined_share": 0.9, "rules": {"shop": SHOP_RULE}},
        shops={"columns": SHOPS, "max_quarantined_share": 0.9},
    )
    files = {name: [str(tmp_path / f"{name}.csv")] for name in tables}
    results = ingest_all(spark, tables, files, tmp_path / "out", threads=1)
    assert list(results) == ["sales", "shops"]
    sales = results["sales"]
    assert (sales.rows_in, sales.rows_out, sales.rows_quarantined) == (6, 4, 2)
    assert [row["id"] for row in read_rows(tmp_path / "out" / "sales")] == [1, 4, 5, 6]
    bad = read_rows(tmp_path / "out" / "quarantine" / "sales")
    assert [(row["row"], row["reasons"][0]["value"]) for row in bad] == [(2, "a,y"), (3, "b,x")]
    (rule,) = sales.rules
    assert (rule.checked, rule.broken) == (4, 2)


def test_a_child_of_a_refused_parent_says_what_else_is_wrong(
    spark: SparkSession, tmp_path: Path
) -> None:
    (tmp_path / "shops.csv").write_text("town,name,size\nx,a,big\n")
    (tmp_path / "sales.csv").write_text("id,shop,town\n1,a,x\n")
    columns = {"id": {"type": "int"}, "shop": {"type": "string"}, "town": {"type": "string"}}
    rules = {"shop": SHOP_RULE, "many": {"kind": "rows", "min": 2}}
    tables = sources(sales={"columns": columns, "rules": rules}, shops={"columns": SHOPS})
    files = {name: [str(tmp_path / f"{name}.csv")] for name in tables}
    with pytest.raises(DataRefused) as refused:
        ingest_all(spark, tables, files, tmp_path / "out", threads=1)
    assert "source shops: 1 of 1 rows" in refused.value.message
    assert "source sales: rule many (rows): 1 rows" in refused.value.message


def test_freshness_is_relative_to_an_instant_or_to_another_source(
    spark: SparkSession, tmp_path: Path
) -> None:
    fresh = {"kind": "fresh", "column": "sold", "max_age_hours": 24, "level": "warn"}
    tables = sources(
        sales={"rules": {
            "then": fresh | {"as_of": "2020-01-03T06:00:00+06:00"},
            "late": fresh | {"as_of": "2020-01-03T00:00:01"},
            "other": fresh | {"as_of": "visits.at"},
        }},
        visits={"columns": {"at": {"type": "timestamp"}}},
    )  # fmt: skip
    (tmp_path / "sales.csv").write_text(HEADER + "1,a,,2020-01-02,\n2,a,,2020-01-01,\n")
    (tmp_path / "visits.csv").write_text("at\n2020-01-02T23:00:00Z\n2020-01-03T01:00:00+02:00\n")
    files = {name: [str(tmp_path / f"{name}.csv")] for name in tables}
    results = ingest_all(spark, tables, files, tmp_path / "out", threads=2)
    found = {rule.name: (rule.passed, rule.found) for rule in results["sales"].rules}
    newest = "the newest sold is 2020-01-02T00:00:00+00:00"
    assert found == {
        "then": (True, f"{newest}, 24.0 h before as_of"),
        "late": (False, f"{newest}, 24.0 h before as_of"),
        "other": (True, f"{newest}, 23.0 h before as_of"),
    }
    (as_of,) = (r.threshold["as_of"] for r in results["sales"].rules if r.name == "other")
    assert as_of == "2020-01-02T23:00:00+00:00"


def test_nothing_left_after_filters_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="no row is left, 1 dropped by filter none"):
        ingest(spark, tmp_path, "1,a,,,\nx,a,,,\n", filters={"none": "id > 1", "all": "id > 0"})


def test_conditions_that_are_none_are_config_errors_all_at_once(
    spark: SparkSession, tmp_path: Path
) -> None:
    wrong = {
        "reflect": "reflect('java.lang.System', 'getenv', 'HOME') = 'x'",
        "query": "id IN (SELECT 1 FROM sales)",
        "environment": "shop = '${env:HOME}'",
        "clock": "sold < current_date",
        "aggregate": "id = max(id)",
        "window": "row_number() over (order by id) = 1",
        "number": "id + 1",
        "column": "idd > 1",
        "internal": "_raw = 'x'",
        "syntax": "id >",
        "two": "id > 1; DROP TABLE x",
    }
    rules = {name: {"kind": "condition", "sql": sql} for name, sql in wrong.items()}
    with pytest.raises(ConfigError) as refused:
        ingest(spark, tmp_path, "1,a,,,\n", rules=rules, filters={"also": "shop"})
    lines = refused.value.message.splitlines()
    places = [line.partition(": ")[0] for line in lines]
    assert places == [
        "ingest.sources.sales.filters.also",
        *(f"ingest.sources.sales.rules.{name}.sql" for name in wrong),
    ]
    assert "`idd`" in lines[8] and "`id`" in lines[8]


WRONG = [
    ({"a": {"kind": "unique", "columns": ["shpo"]}}, r"rules\.a: no column 'shpo'.*'shop'"),
    ({"a": {"kind": "uniq", "columns": ["shop"]}}, "expected tags"),
    ({"duplicate_key": {"kind": "rows", "min": 1}}, "duplicate_key is the rule of the key"),
    ({"a": {"kind": "complete", "columns": ["shop"], "level": "quarantine"}}, "'warn' or 'refuse'"),
    ({"a": {"kind": "condition", "sql": "id > 1", "max_rows": -1}}, "greater than or equal to 0"),
    ({"a": {"kind": "rows"}}, "must set min, max or both"),
    ({"a": {"kind": "rows", "min": 3, "max": 2}}, "min must be at most max. Got 3 and 2"),
    ({"a": {"kind": "fresh", "column": "sold", "max_age_hours": 1}}, "(?s)as_of.*required"),
    (
        {
            "a": {
                "kind": "fresh",
                "column": "price",
                "max_age_hours": 1,
                "as_of": "2020-01-01T00:00Z",
            }
        },
        "price must be a date or timestamp. Got double",
    ),
    ({"a": {"kind": "like_last_run", "mean": 0.1}}, "column must be set"),
    ({"a": {"kind": "like_last_run", "column": "shop"}}, "must set rows, mean"),
    ({"a": {"kind": "like_last_run", "column": "shop", "mean": 1}}, "mean is for numbers"),
    (
        {"a": {"kind": "foreign_key", "columns": ["shop"], "references": "shop.id"}},
        r"sales\.rules\.a: no source 'shop' \(there is 'shops'\)",
    ),
    (
        {"a": {"kind": "foreign_key", "columns": ["id"], "references": "shops.name"}},
        r"id is int, but shops\.name is string",
    ),
    (
        {"a": {"kind": "foreign_key", "columns": ["id"], "references": ["shops.name", "a.b"]}},
        "columns of one source",
    ),
    (
        {"a": {"kind": "foreign_key", "columns": ["id"], "references": ["shops.a", "shops.b"]}},
        "a column for each of columns. Got 2 for 1",
    ),
    (
        {"a": {"kind": "foreign_key", "columns": ["shop"], "references": "sales.shop"}},
        "in a circle: sales",
    ),
]


@pytest.mark.parametrize(("rules", "message"), WRONG)
def test_a_rule_that_does_not_fit_is_a_config_error(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sources(sales={"rules": rules}, shops={"columns": SHOPS})


_NUMBER = st.one_of(st.integers(-2, 4).map(str), st.sampled_from(["", "x"]))


@settings(
    max_examples=3,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=st.lists(st.tuples(_NUMBER, _NUMBER), min_size=2, max_size=12))
def test_rows_in_are_rows_out_dropped_and_quarantined(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    """Against the same rules in plain Python."""
    folder = tmp_path_factory.mktemp("rules")
    text = "".join(f"{key},,,,{price}\n" for key, price in rows)
    settings_: dict[str, Any] = {
        "key": ["id"],
        "filters": {"low": "price < 4"},
        "rules": {"paid": {"kind": "condition", "sql": "price >= 0", "nulls": "break"}},
    }
    kept: dict[int, float] = {}
    dropped = 0
    for key, price in rows:
        if key in ("", "x") or price == "x":
            continue
        if price == "" or float(price) >= 4:
            dropped += 1
        elif float(price) >= 0:
            kept.setdefault(int(key), float(price))
    try:
        found = ingest(spark, folder, text, **settings_)
    except DataRefused as refused:
        assert not kept and "no row is left" in refused.message
        return
    assert {row["id"]: row["price"] for row in found.good} == kept
    result = found.result
    assert result.rows_dropped == {"low": dropped}
    assert result.rows_in == len(rows) == result.rows_out + result.rows_quarantined + dropped
    assert len(found.good) == result.rows_out


def test_columns_without_any_value_are_reported(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = ingest(spark, tmp_path, "1,,2020-01-01,,\n", "2,,,,7\n")
    assert found.result.empty_columns == ["shop", "sold"]
    assert [r.getMessage() for r in caplog.records] == ["source sales: no value in shop, sold"]
