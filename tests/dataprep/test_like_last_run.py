"""A source's rows against those of the last run that was not refused."""

from __future__ import annotations

import dataclasses
import json
from math import inf
from pathlib import Path
from typing import Any, cast

import pytest
from pyspark.sql import SparkSession

from pipeline.config import PipelineConfig
from pipeline.config.ingest import IngestConfig
from pipeline.dataprep.comparison import change
from pipeline.dataprep.measure import ColumnStatistics, TableStatistics
from pipeline.engines.session import Engines
from pipeline.errors import DataRefused
from pipeline.stages import ingest
from pipeline.stages.context import StageContext
from pipeline.store import Manifest, Store
from pipeline.store.artifact import publish, working_folder
from pipeline.store.runlog import RunLog, utc_now

Json = dict[str, Any]


def statistics(rows: int = 100, **column: Any) -> TableStatistics:
    empty: Json = dict.fromkeys(("mean", "std", "distinct", "shares"))
    return TableStatistics(rows, {"x": ColumnStatistics(**{"nulls": 0} | empty | column)})


CHANGES: list[tuple[str, TableStatistics, TableStatistics, float]] = [
    ("rows", statistics(100), statistics(150), 0.5),
    ("rows", statistics(100), statistics(50), 0.5),
    ("null_share", statistics(100, nulls=10), statistics(50, nulls=10), 0.1),
    ("mean", statistics(mean=10.0, std=4.0), statistics(mean=9.0, std=1.0), 0.25),
    ("mean", statistics(mean=10.0, std=0.0), statistics(mean=10.0), 0),
    ("mean", statistics(mean=10.0, std=0.0), statistics(mean=10.5), inf),
    ("mean", statistics(mean=10.0, std=4.0), statistics(), inf),
    ("distinct", statistics(distinct=20), statistics(distinct=15), 0.25),
    ("shares", statistics(shares={"a": 0.5, "b": 0.5}), statistics(shares={"a": 1.0}), 0.5),
    ("shares", statistics(shares={"a": 1.0}), statistics(shares={"a": 0.75, "c": 0.25}), 0.25),
]


@pytest.mark.parametrize(("measure", "before", "now", "size"), CHANGES)
def test_a_change_is_in_the_unit_of_its_tolerance(
    measure: str, before: TableStatistics, now: TableStatistics, size: float
) -> None:
    found = change(measure, "x", before, now)
    assert found is not None and found.size == pytest.approx(size)


def test_what_the_earlier_run_does_not_know_is_not_compared() -> None:
    for measure in ("mean", "distinct", "shares"):
        assert change(measure, "x", statistics(), statistics(mean=1.0)) is None
    assert change("null_share", "y", statistics(), statistics()) is None


class _LocalSpark:
    """The engines' Spark, without Ray."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark

    def spark(self) -> SparkSession:
        return self._spark


@dataclasses.dataclass
class Nightly:
    """A pipeline's ingest, run for one file after the other, as the driver does."""

    spark: SparkSession
    root: Path
    rules: Json

    def run(self, name: str, text: str, header: str = "kind,price") -> Json:
        """Publish the artifact of a file; returns what became of its rules, by name."""
        (self.root / "shop.csv").write_text(f"{header}\n{text}")
        types = {"kind": "string", "price": "double"}  # other columns are texts
        columns = {c: {"type": types.get(c, "string")} for c in header.split(",")}
        shop = {"path": "shop.csv", "columns": columns, "rules": self.rules}
        given = IngestConfig.model_validate_json(json.dumps({"sources": {"shop": shop}}))
        config = PipelineConfig.model_construct(name="shop", root=str(self.root), ingest=given)
        store = Store(self.root / "store")
        context = StageContext(
            config, store, cast(Engines, _LocalSpark(self.spark)), RunLog(store, "shop"),
            lambda *_: None, fingerprint=name,
        )  # fmt: skip
        try:
            with working_folder(store, "ingest") as folder:
                outcome = ingest.run(context, folder)
                manifest = Manifest(
                    stage="ingest", fingerprint=name, pipeline="shop", config={},
                    code_version="", versions={}, files=(), started_at=utc_now(), seconds=0,
                    **dataclasses.asdict(outcome),
                )  # fmt: skip
                artifact = publish(store, folder, manifest)
        finally:
            context.log.finish("done")
        written = json.loads((artifact.folder / "manifest.json").read_text())
        return {rule["name"]: rule for rule in written["metrics"]["sources"]["shop"]["rules"]}


def rows(a: int, b: int, nulls: int = 0) -> str:
    """Prices 0 to 9 in turn, of kind a and then of kind b."""
    prices = [str(n % 10) for n in range(a + b - nulls)] + [""] * nulls
    kinds = "a" * a + "b" * b
    return "".join(f"{kind},{price}\n" for kind, price in zip(kinds, prices, strict=True))


def test_each_run_is_compared_with_the_last_that_was_not_refused(
    spark: SparkSession, tmp_path: Path
) -> None:
    price = {"mean": 0.1, "null_share": 0.1, "distinct": 0.2}
    nightly = Nightly(spark, tmp_path, {
        "size": {"kind": "like_last_run", "rows": 0.5},
        "price": {"kind": "like_last_run", "column": "price", **price},
        "kinds": {"kind": "like_last_run", "column": "kind", "shares": 0.1, "level": "warn"},
    })  # fmt: skip
    first = nightly.run("one", rows(50, 50))
    assert {rule["passed"] for rule in first.values()} == {True}
    assert first["size"]["found"] == "rows: no earlier run to compare with"
    assert {rule["compared_with"] for rule in first.values()} == {None}

    second = nightly.run("two", rows(70, 70))
    assert second["size"]["found"] == "rows 140, was 100 (+40.0%)"
    assert second["price"]["found"] == (
        "mean 4.5, was 4.5 (0.00 standard deviations); null share 0.00%, was 0.00%; "
        "distinct 10, was 10 (+0.0%)"
    )
    assert {rule["compared_with"] for rule in second.values()} == {"one"}

    with pytest.raises(DataRefused) as refused:
        nightly.run("three", rows(10, 10, nulls=5))
    message = refused.value.message
    assert "rule size (like_last_run): rows 20, was 140 (-85.7%); allowed: rows 0.5" in message
    assert "null share 25.00%, was 0.00%" in message
    assert "level: warn; the next run is compared with that one" in str(refused.value.hint)

    # The refused run left nothing; this one is compared with the second, and warned of.
    fourth = nightly.run("four", rows(120, 20))
    assert fourth["kinds"]["found"] == "share of 'a' 85.71%, was 50.00%"
    assert (fourth["kinds"]["passed"], fourth["kinds"]["compared_with"]) == (False, "two")
    # Made again, it is not compared with itself.
    assert nightly.run("four", rows(120, 20)) == fourth


def test_a_column_is_compared_with_the_last_run_that_had_it(
    spark: SparkSession, tmp_path: Path
) -> None:
    size: Json = {"kind": "like_last_run", "rows": 0.5}
    price: Json = {"kind": "like_last_run", "column": "price", "mean": 0.1, "null_share": 0.1}
    nightly = Nightly(spark, tmp_path, {"size": size, "price": price})
    nightly.run("one", rows(20, 20))

    nightly.rules = {"size": size}
    second = nightly.run("two", "a\n" * 40, header="kind")
    assert (second["size"]["found"], second["size"]["compared_with"]) == (
        "rows 40, was 40 (+0.0%)", "one",
    )  # fmt: skip

    nightly.rules = {"size": size, "price": price, "colour": price | {"column": "colour"}}
    del nightly.rules["colour"]["mean"]
    text = "".join(f"a,{n % 10},red\n" for n in range(40))
    third = nightly.run("three", text, header="kind,price,colour")
    assert third["size"]["compared_with"] == "two"
    assert third["price"]["compared_with"] == "one"
    assert third["price"]["found"].startswith("mean 4.5, was 4.5")
    assert third["colour"]["found"] == "null_share: no earlier run to compare with"
    assert (third["colour"]["passed"], third["colour"]["compared_with"]) == (True, None)
