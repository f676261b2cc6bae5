"""An incremental ingest ends with what a full one makes, and reads only what it must."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep import units
from pipeline.dataprep.increment import Before, Increment, UnitsUsed, ingest_increment
from pipeline.dataprep.ingest import SourceResult, ingest_source
from pipeline.dataprep.last_runs import LastRun
from pipeline.dataprep.measure import ColumnStatistics, TableStatistics
from pipeline.errors import DataRefused, StageFailed
from pipeline.store.days import Days
from pipeline.store.fingerprint import sha256_file
from pipeline.store.units import UnitStore
from tests.command import hashes

HEADER = "id,day,price\n"
BY_FILE = {"by": "file"}
BY_DAY = {"by": "partition", "pattern": r"(\d{4}-\d{2}-\d{2})"}
BY_COLUMN = {"by": "partition", "column": "day"}


RULES: dict[str, Any] = {
    "filters": {"not_five": "id <> 5", "not_three": "price IS NULL OR price <> 3"},
    "rules": {
        "cheap": {"kind": "condition", "sql": "price <= 4", "nulls": "break"},
        "round": {"kind": "condition", "sql": "price = floor(price)", "level": "warn"},
        "small": {"kind": "condition", "sql": "id < 7", "level": "refuse", "max_share": 0.9},
        "priced": {"kind": "complete", "columns": ["price", "day"], "level": "warn"},
        "enough": {"kind": "rows", "min": 99, "level": "warn"},
        "recent": {
            "kind": "fresh",
            "column": "day",
            "max_age_hours": 24,
            "as_of": "2026-01-06T00:00:00+00:00",
            "level": "warn",
        },
        "usual": {
            "kind": "like_last_run",
            "column": "price",
            "rows": 0,
            "mean": 0,
            "null_share": 0,
            "distinct": 0,
            "shares": 0,
            "level": "warn",
        },
    },
}
SMALLER = {"cheap": {"kind": "condition", "sql": "price <= 2", "level": "warn"}}
LAST = LastRun(
    "earlier", TableStatistics(9, {"price": ColumnStatistics(1, 2.0, 1.0, 3, {"1.5": 0.5})})
)


def source(**changes: Any) -> SourceConfig:
    settings: dict[str, Any] = {
        "path": "raw",
        "columns": {
            "id": {"type": "int"},
            "day": {"type": "date"},
            "price": {"type": "double", "min": 0},
        },
        "key": ["id"],
        "max_quarantined_share": 0.9,
        "incremental": {"by": "file"},
    }
    return SourceConfig.model_validate_json(json.dumps(settings | changes))


@dataclass
class Table:
    """A folder of raw files, and the ingests of it."""

    spark: SparkSession
    root: Path
    count: int = 0
    before: Before | None = None
    events: list[list[str]] = field(default_factory=list)

    def write(self, **files: str) -> None:
        for name, rows in files.items():
            path = self.root / "raw" / f"{name.replace('_', '-')}.csv"
            path.parent.mkdir(exist_ok=True)
            path.write_text(HEADER + rows)

    def remove(self, name: str) -> None:
        (self.root / "raw" / f"{name}.csv").unlink()

    @property
    def files(self) -> dict[str, str]:
        return {str(path): sha256_file(path) for path in sorted((self.root / "raw").iterdir())}

    def ingest(self, settings: SourceConfig, **given: Any) -> Ingest:
        self.count += 1
        folder = self.root / f"out-{self.count}"
        section = settings.model_dump(mode="json")
        increment = Increment(
            self.files, self.root, section, {"code": 1}, UnitStore(self.root / "units"), self.before
        )
        self.events = []
        result, used = ingest_increment(
            self.spark, settings, "shop", replace(increment, **given), folder / "good",
            folder / "bad", lambda event, **about: self.events.append(about["units"]), {}, [LAST],
        )  # fmt: skip
        self.before = Before(used.units, used.newest)
        return Ingest(result, used, folder)

    def full(self, settings: SourceConfig) -> Ingest:
        self.count += 1
        folder = self.root / f"out-{self.count}"
        result = ingest_source(
            self.spark,
            settings,
            "shop",
            list(self.files),
            folder / "good",
            folder / "bad",
            {},
            [LAST],
        )
        return Ingest(result, None, folder)


@dataclass(frozen=True)
class Ingest:
    result: SourceResult
    used: UnitsUsed | None
    folder: Path

    @property
    def read(self) -> list[str]:
        assert self.used is not None
        return [Path(name).stem for name in self.used.read]

    @property
    def good(self) -> list[dict[str, Any]]:
        return sorted(rows(self.folder / "good"), key=str)

    @property
    def bad(self) -> list[dict[str, Any]]:
        return sorted(rows(self.folder / "bad"), key=lambda row: (row["file"], row["row"]))

    def same_as(self, other: Ingest) -> bool:
        return (self.result, self.good, self.bad) == (other.result, other.good, other.bad)


def rows(folder: Path) -> list[dict[str, Any]]:
    tables = [pq.read_table(file) for file in sorted(folder.glob("*.parquet"))]
    schema = tables[0].schema.remove_metadata()
    return [dict(row) for row in pa.concat_tables([t.cast(schema) for t in tables]).to_pylist()]


@pytest.fixture
def table(spark: SparkSession, tmp_path: Path) -> Table:
    return Table(spark, tmp_path)


HISTORIES: tuple[dict[str, Any], ...] = (
    {},
    {"incremental": BY_DAY},
    {"incremental": BY_COLUMN, "key": []},
    RULES,
    RULES | {"incremental": BY_DAY, "multiline": True},
    RULES | {"incremental": BY_COLUMN, "key": []},
)


@pytest.mark.parametrize("seed", range(len(HISTORIES)))
def test_a_history_of_files_ends_with_what_a_full_ingest_makes(table: Table, seed: int) -> None:
    """Files are added, changed and removed; rows are broken, and keys stand in several files."""
    chance = random.Random(seed)
    how = source(**HISTORIES[seed])
    names = [f"2026-01-0{n}" for n in range(1, 6)]
    for step in range(2):
        for name in chance.sample(names, 3 if step == 0 else 2):
            path = table.root / "raw" / f"{name}.csv"
            if path.exists() and chance.random() < 0.4:
                path.unlink()
            else:
                table.write(**{name.replace("-", "_"): _some_rows(chance, name)})
        incremental, full = table.ingest(how), table.full(how)
        assert incremental.same_as(full)
        assert incremental.result.rows_quarantined


def test_a_changed_rule_is_checked_on_all_rows_and_a_changed_limit_reads_none(
    table: Table,
) -> None:
    table.write(a="1,2026-01-01,1.5\n5,2026-01-01,1\n", b="2,2026-01-01,9\n3,2026-01-01,2\n")
    first = table.ingest(source(**RULES))
    assert first.same_as(table.full(source(**RULES)))
    assert first.result.rows_dropped == {"not_five": 1, "not_three": 0}
    rules = {rule.name: rule for rule in first.result.rules}
    assert (rules["cheap"].checked, rules["cheap"].broken) == (3, 1)
    assert (rules["round"].checked, rules["round"].broken) == (3, 1)
    example = rules["round"].example
    assert example and example.file
    assert (Path(example.file).name, example.row, example.value) == ("a.csv", 1, "1.5")

    priced = RULES["rules"]["priced"] | {"max_rows": 3, "description": "known"}
    limits = RULES["rules"] | {"priced": priced, "enough": {"kind": "rows", "min": 1}}
    assert table.ingest(source(**RULES | {"rules": limits})).read == []
    changed = source(**RULES | {"rules": RULES["rules"] | SMALLER})
    second = table.ingest(changed)
    assert second.read == ["a", "b"]
    assert second.same_as(table.full(changed))
    filters = dict(reversed(RULES["filters"].items()))  # the first to drop a row counts it
    assert table.ingest(source(**RULES | {"filters": filters})).read == ["a", "b"]


def test_a_row_that_goes_to_the_key_is_not_counted_as_incomplete(table: Table) -> None:
    rules = {"priced": {"kind": "complete", "columns": ["price"], "max_rows": 9}}
    table.write(b="1,2026-01-01,\n2,2026-01-01,1\n3,2026-01-01,\n", c="4,2026-01-01,7\n")
    assert table.ingest(source(rules=rules)).same_as(table.full(source(rules=rules)))
    table.write(a="1,2026-01-01,5\n")
    found = table.ingest(source(rules=rules))
    assert found.read == ["a"]
    assert found.same_as(table.full(source(rules=rules)))
    (_, priced) = found.result.rules
    assert (priced.checked, priced.broken) == (4, 1)
    assert priced.example and priced.example.row == 3


def _some_rows(chance: random.Random, day: str) -> str:
    prices = ["1.5", "2", "3", "-1", "x", "", "4.5"]
    return "".join(
        f"{chance.choice([*chance.choices(range(12), k=4), 'no'])},{day},{chance.choice(prices)}\n"
        for _ in range(chance.randint(4, 9))
    )


def test_only_new_and_changed_files_are_read(table: Table) -> None:
    table.write(a="1,2026-01-01,1\n", b="2,2026-01-01,1\n", c="3,2026-01-01,1\n")
    first = table.ingest(source())
    assert first.read == ["a", "b", "c"]
    assert table.events == [["raw/a.csv", "raw/b.csv", "raw/c.csv"]]  # in one Spark job
    table.write(b="2,2026-01-01,7\n", d="4,2026-01-01,1\n")
    table.remove("c")
    second = table.ingest(source())
    assert second.read == ["b", "d"]
    kept = (first.folder / "good/part-00000.parquet", second.folder / "good/part-00000.parquet")
    assert kept[0].stat().st_ino == kept[1].stat().st_ino
    assert table.ingest(source()).read == []
    assert table.ingest(source(), force=True).read == ["a", "b", "d"]


@pytest.mark.parametrize(
    ("rows", "rules"),
    [
        ("x,2026-01-01,1\n4,2026-01-01,-1\n", {}),
        ("x,2026-01-01,1\n4,2026-01-01,-1\n", {"multiline": True}),
        ("x,2026-01-01,1\n5,2026-01-01,1\n6,2026-01-01,9\n", RULES),
        ("", {}),
        ("", RULES),
    ],
)
def test_a_new_file_without_a_good_row_takes_nothing_down(
    table: Table, rows: str, rules: dict[str, Any]
) -> None:
    table.write(a="1,2026-01-01,1\n2,2026-01-01,1\n")
    table.ingest(source(**rules))
    table.write(b=rows)
    after = table.ingest(source(**rules))
    assert (after.read, after.result.rows_out) == (["b"], 2)
    assert after.same_as(table.full(source(**rules)))


def test_a_key_that_is_there_again_has_its_number_in_the_file(table: Table) -> None:
    """Rows before it were dropped by a filter, set aside by a rule, and broken."""
    table.write(a="1,2026-01-01,1\n")
    table.ingest(source(**RULES))
    table.write(b="5,2026-01-01,1\n6,2026-01-01,9\nx,2026-01-01,1\n\n1,2026-01-01,2\n")
    again = table.ingest(source(**RULES))
    (duplicate,) = [row for row in again.bad if row["reasons"][0]["rule"] == "duplicate_key"]
    assert (Path(duplicate["file"]).name, duplicate["row"]) == ("b.csv", 4)
    assert duplicate["raw"] == "1,2026-01-01,2"
    assert again.same_as(table.full(source(**RULES)))


def test_the_bytes_do_not_depend_on_what_was_read_together(table: Table) -> None:
    table.write(a="2,2026-01-01,1\n9,2026-01-01,x\n", b="1,2026-01-01,1\n3,2026-01-01,-1\n")
    together = table.ingest(source())
    other = UnitStore(table.root / "other")
    table.write(z="8,2026-01-01,1\n")
    table.remove("a")
    assert table.ingest(source(), store=other).read == ["b", "z"]
    table.write(a="2,2026-01-01,1\n9,2026-01-01,x\n")
    table.remove("z")
    one_by_one = table.ingest(source(), store=other)
    assert one_by_one.read == ["a"]
    assert hashes(together.folder) == hashes(one_by_one.folder)


def test_a_key_is_unique_across_units(table: Table) -> None:
    table.write(b="1,2026-01-01,1\n2,2026-01-01,1\n2,2026-01-01,5\n")
    assert [row["row"] for row in table.ingest(source()).bad] == [3]
    table.write(a="3,2026-01-01,x\n1,2026-01-01,9\n")  # an earlier file: its rows are the first
    found = table.ingest(source())
    assert found.read == ["a"]
    assert found.same_as(table.full(source()))
    duplicates = [r for r in found.bad if r["reasons"][0]["rule"] == "duplicate_key"]
    assert [(row["row"], row["raw"]) for row in duplicates] == [
        (1, "1,2026-01-01,1"),
        (3, "2,2026-01-01,5"),
    ]


def test_big_files_are_read_alone_and_end_the_same(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "BATCH_BYTES", 60)
    how = source(incremental={"by": "partition", "pattern": r"(\d{4})"}, multiline=True, **RULES)
    many = "".join(f"{n % 7},2026-01-0{n % 5 + 1},{n if n % 6 else 'x'}\n" for n in range(12))
    table.write(**{"2026_a": many, "2026_b": "20,2026-01-01,1\n", "2027_c": "21,2026-01-01,1\n"})
    assert table.ingest(how).same_as(table.full(how))
    assert table.events == [["2026"], ["2027"]]


def test_a_relaxed_rule_is_read_again_only_where_rows_broke_it(table: Table) -> None:
    table.write(a="1,2026-01-01,-5\n2,2026-01-01,1\n", b="3,2026-01-01,1\n")
    table.ingest(source())
    columns = source().model_dump(mode="json", exclude_unset=True)["columns"]
    relaxed = source(columns=columns | {"price": {"type": "double", "min": -9}})
    found = table.ingest(relaxed)
    assert found.read == ["a"]
    assert found.same_as(table.full(relaxed))


@pytest.mark.parametrize(
    ("change", "relaxes"),
    [
        ({}, True),
        ({"min": -1, "max": 9}, True),
        ({"allowed": [1, 2, 3]}, True),
        ({"nullable": True, "pattern": None, "description": "euro"}, True),
        ({"min": 1}, False),
        ({"max": 7}, False),
        ({"allowed": [1]}, False),
        ({"type": "int"}, False),
    ],
)
def test_which_changes_of_a_column_keep_good_rows_good(
    change: dict[str, Any], relaxes: bool
) -> None:
    price = {"type": "double", "nullable": False, "min": 0, "max": 8, "allowed": [1, 2]}
    one, other = ({"columns": {"price": p}} for p in (price, price | change))
    sections = [
        units.what_shapes(source(key=[], incremental=BY_FILE, **c).model_dump(mode="json"))
        for c in (one, other)
    ]
    assert units.only_relaxes(*sections) is relaxes
    assert not units.only_relaxes(sections[0], sections[1] | {"delimiter": ";"})


def test_a_damaged_unit_is_read_again(table: Table) -> None:
    table.write(a="1,2026-01-01,1\n", b="2,2026-01-01,1\n")
    first = table.ingest(source())
    damaged = first.folder / "good/part-00001.parquet"  # the unit's own file under another name
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    assert table.ingest(source()).read == ["b"]


def test_finished_batches_survive_what_ends_a_run(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "BATCH_FILES", 1)
    table.write(a="1,2026-01-01,1\n", b="2,2026-01-01,1\n", c="3,2026-01-01,1\n")
    files = table.files
    table.write(b="2,2026-01-01,2\n")  # after its hash was taken
    with pytest.raises(StageFailed, match=r"b\.csv changed while it was read"):
        table.ingest(source(), files=files)
    found = table.ingest(source())
    assert found.read == ["b", "c"]
    assert not list((table.root / "units").glob(".work-*"))


LATE = {**BY_DAY, "watermark_days": 7}


def test_late_files_of_closed_partitions_are_refused_until_a_backfill_names_them(
    table: Table,
) -> None:
    table.write(x_2026_01_01="1,2026-01-01,1\n", x_2026_01_20="2,2026-01-20,1\n")
    table.ingest(source(incremental=LATE))
    table.write(y_2026_01_01="3,2026-01-01,1\n", y_2026_01_13="4,2026-01-13,1\n")
    refuse = source(incremental={**LATE, "late": "refuse"})
    with pytest.raises(DataRefused, match=r"2026-01-01\. Open is what ends on 2026-01-13") as error:
        table.ingest(refuse)
    assert "backfill --from 2026-01-01 --to 2026-01-01" in str(error.value.hint)
    day = Days(date(2026, 1, 1), date(2026, 1, 1))
    found = table.ingest(refuse, again=day)
    assert found.read == ["2026-01-01", "2026-01-13"]
    assert table.ingest(refuse).read == []
    assert table.ingest(refuse, again=day).read == ["2026-01-01"]


def test_days_of_a_column_are_late_and_backfilled_by_the_rows_that_have_them(
    table: Table,
) -> None:
    late = {**BY_COLUMN, "watermark_days": 7}
    table.write(a="1,2026-01-01,1\n2,2026-01-20,1\n", b="3,2026-01-19,1\n")
    table.ingest(source(incremental=late))
    table.write(c="4,2026-01-01,1\n5,2026-01-20,1\n")
    with pytest.raises(DataRefused, match="closed partitions"):
        table.ingest(source(incremental={**late, "late": "refuse"}))
    taken = table.ingest(source(incremental=late), before=table.before)
    assert (taken.read, taken.used and taken.used.late) == ([], ["2026-01-01"])  # c was kept
    table.remove("c")
    again = table.ingest(source(incremental={**late, "late": "reprocess"}))
    assert again.read == ["a"]  # whose day lost a row
    day = Days(date(2026, 1, 19), date(2026, 1, 19))
    assert table.ingest(source(incremental=late), again=day).read == ["b"]


def test_a_path_without_a_date_is_refused(table: Table) -> None:
    table.write(a="1,2026-01-01,1\n")
    with pytest.raises(DataRefused, match=r"raw/a\.csv: .*it does not match"):
        table.ingest(source(incremental=BY_DAY))


def test_rules_between_rows_of_several_files_are_refused_with_what_to_do() -> None:
    rules = {
        "once": {"kind": "unique", "columns": ["day"]},
        "known": {"kind": "foreign_key", "columns": ["id"], "references": "other.id"},
    }
    with pytest.raises(ValueError, match=r"rules\.once: .*source's key.*rules\.known: .*join"):
        source(rules=rules)


@pytest.mark.parametrize(
    ("incremental", "message"),
    [
        ({"by": "partition"}, "either pattern or column"),
        ({"by": "partition", "pattern": "[0-9]+"}, "must have a group"),
        ({"by": "partition", "column": "price"}, "date or timestamp"),
        ({"by": "file", "watermark_days": 3}, "must go with by: partition"),
        ({**BY_DAY, "late": "refuse"}, "must go with watermark_days"),
    ],
)
def test_what_does_not_fit_together_is_refused(incremental: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        source(incremental=incremental)
