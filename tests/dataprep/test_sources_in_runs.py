"""Sources that are no local files, in runs: what is read again, skipped, and noticed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from pyspark.sql import SparkSession

from pipeline.config import PipelineConfig, load_config
from pipeline.driver import Selection, plan, run
from pipeline.errors import ConfigError, DataRefused, StageFailed
from tests.dataprep.postgres import driver

CONFIG = """
name: small
store: store
ingest:
  sources:
    t:
      columns:
        id: {type: long}
        day: {type: date}
        town: {type: string}
        y: {type: double}
      max_quarantined_share: 0.5
preprocess:
  steps: [{name: f, sql: f.sql}]
  key: [id]
  time: day
  segment: [town]
  target: y
  features: {numeric: [x]}
  split: {test_from: 2024-01-02T00:00:00Z, folds: 1, validation_days: 1, gap_days: 0}
train:
  candidates: {ridge: {estimator: sklearn.linear_model.Ridge}}
"""
SECRET = "hunter2-of-the-tests"
BOTH = Selection(last="preprocess")


class Job:
    """A project whose one source is something else than a local file."""

    def __init__(self, root: Path, place: dict[str, Any]) -> None:
        self.root = root
        (root / "f.sql").write_text("SELECT *, id * 2 AS x FROM t")
        lines = "".join(f"      {key}: {json.dumps(value)}\n" for key, value in place.items())
        text = CONFIG.replace("    t:\n", f"    t:\n{lines}")
        (root / "small.yaml").write_text(text)

    @property
    def config(self) -> PipelineConfig:
        return load_config(self.root / "small.yaml")

    def run(self, select: Selection = BOTH, force: tuple[Any, ...] = ()) -> dict[str, Any]:
        return run(self.config, select=select, force=force)

    def actions(self, select: Selection = BOTH, force: tuple[Any, ...] = ()) -> list[str]:
        return [stage["action"] for stage in self.run(select, force)["stages"]]

    def plans(self) -> list[tuple[str, str]]:
        plans = plan(self.config)[:2]
        return [(planned.action, planned.reason.partition(" since ")[0]) for planned in plans]

    def ingested(self) -> dict[str, Any]:
        """The newest ingest artifact's manifest, and the quarantined rows."""
        folders = self.root.glob("store/artifacts/ingest/*")
        newest = max(folders, key=lambda folder: (folder / "manifest.json").stat().st_mtime_ns)
        manifest: dict[str, Any] = json.loads((newest / "manifest.json").read_text())
        rows = [pq.read_table(file).to_pylist() for file in newest.glob("quarantine/t/*.parquet")]
        return {**manifest, "quarantined": [row for part in rows for row in part]}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    file = tmp_path / "shop.db"
    execute(
        file,
        "CREATE TABLE t (id INTEGER, day TEXT, town TEXT, y REAL)",
        "INSERT INTO t VALUES (1, '2024-01-01', 'a', 1), (2, '2024-01-02', 'a', 2)",
    )
    return file


def execute(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def in_sqlite(file: Path, **jdbc: Any) -> dict[str, Any]:
    jar = str(driver("sqlite-jdbc.jar"))
    return {"jdbc": {"url": f"jdbc:sqlite:{file}", "table": "t", "driver_jar": jar, **jdbc}}


def test_a_table_with_a_version_is_read_when_the_version_changes(
    spark: SparkSession, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", SECRET)
    version = "SELECT count(*) FROM t"
    job = Job(tmp_path, in_sqlite(shop, version=version, password="${env:SHOP_PASSWORD}"))
    first = job.run()
    assert [stage["action"] for stage in first["stages"]] == ["run", "run"]
    assert job.actions() == ["skipped", "skipped"]
    execute(shop, "INSERT INTO t VALUES (3, '2024-01-02', 'b', 'much')")
    assert job.plans() == [("run", "t: t changed"), ("run", "ingest is made again")]
    assert job.actions() == ["run", "run"]
    assert job.plans()[0][0] == "skip"
    (bad,) = job.ingested()["quarantined"]
    assert (bad["file"], json.loads(bad["raw"])["y"]) == ("t", "much")
    for file in (tmp_path / "store").rglob("*"):
        assert file.is_dir() or SECRET.encode() not in file.read_bytes(), file


def test_a_table_without_a_version_is_read_always_and_followed_when_it_changed(
    spark: SparkSession, shop: Path, tmp_path: Path
) -> None:
    job = Job(tmp_path, in_sqlite(shop))
    assert job.plans()[0] == ("run", "not made yet")
    first = job.run()
    made = job.ingested()
    assert job.plans() == [
        ("run", "t: read in every run, having no version"),
        ("skip", "unchanged"),
    ]
    assert job.actions() == ["run", "skipped"]
    assert job.ingested() == made
    assert job.actions(force=("ingest",)) == ["run", "skipped"]
    assert job.ingested()["started_at"] > made["started_at"]
    execute(shop, "UPDATE t SET y = 5 WHERE id = 1")
    alone = Selection("preprocess", "preprocess")
    assert job.actions(alone) == ["skipped"]
    assert job.actions() == ["run", "run"]
    execute(shop, "UPDATE t SET y = 1 WHERE id = 1")
    assert job.actions() == ["run", "skipped"]
    assert job.run(alone)["stages"][0]["fingerprint"] == first["stages"][1]["fingerprint"]


def test_a_table_that_changes_while_it_is_read_fails_the_stage(
    spark: SparkSession, shop: Path, tmp_path: Path
) -> None:
    job = Job(tmp_path, in_sqlite(shop, version="SELECT random()"))
    with pytest.raises(StageFailed, match="source t: t changed while it was read: its version was"):
        job.run()
    assert not list(tmp_path.glob("store/artifacts/ingest/*"))


def test_an_empty_table_and_a_missing_driver_are_refused(
    spark: SparkSession, shop: Path, tmp_path: Path
) -> None:
    execute(shop, "DELETE FROM t")
    with pytest.raises(DataRefused, match="source t: t has no row"):
        Job(tmp_path, in_sqlite(shop)).run()
    gone = {"driver_jar": "gone.jar", "version": "SELECT 1"}
    with pytest.raises(ConfigError, match=r"jdbc\.driver_jar: no such file: .*gone\.jar"):
        Job(tmp_path, in_sqlite(shop, **gone)).plans()


@pytest.fixture
def s3() -> Iterator[tuple[fs.S3FileSystem, dict[str, str]]]:
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    storage = {
        "access_key": "key",
        "secret_key": SECRET,
        "endpoint_override": f"http://{host}:{port}",
        "region": "us-east-1",
    }
    try:
        system = fs.S3FileSystem(**storage, allow_bucket_creation=True)
        system.create_dir("runs")
        yield system, storage
    finally:
        moto.stop()


def test_objects_of_s3_in_folders_by_day_are_ingested(
    spark: SparkSession,
    s3: tuple[fs.S3FileSystem, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    system, storage = s3
    monkeypatch.setenv("S3_SECRET", SECRET)

    def write(key: str, text: str) -> None:
        with system.open_output_stream(f"runs/in/{key}") as stream:
            stream.write(text.encode())

    write("day=2024-01-01/a+b c%.csv", "id,town,y\n1,a,1\nx,a,2\n")
    write("day=2024-01-02/a.csv", "id,town,y\n3,a,3\n")
    job = Job(
        tmp_path,
        {"path": "s3://runs/in", "storage": storage | {"secret_key": "${env:S3_SECRET}"}},
    )
    assert job.actions() == ["run", "run"]
    made = job.ingested()
    (bad,) = made["quarantined"]
    uri = "s3://runs/in/day=2024-01-01/a+b c%.csv"
    assert (bad["file"], bad["row"], bad["raw"]) == (uri, 2, "x,a,2")
    assert made["metrics"]["sources"]["t"]["files"] == [uri, "s3://runs/in/day=2024-01-02/a.csv"]
    assert not [entry for entry in made["files"] if "_fetched" in entry["path"]]
    assert job.actions() == ["skipped", "skipped"]
    write("day=2024-01-02/b.csv", "id;town;y\n4;a;4\n")
    with pytest.raises(DataRefused, match=r"t: s3://runs/in/day=2024-01-02/b\.csv: its header"):
        job.run()
    for file in (tmp_path / "store").rglob("*"):
        assert file.is_dir() or SECRET.encode() not in file.read_bytes(), file


def test_objects_of_fsspecs_memory_are_ingested(spark: SparkSession, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/run/a.csv", b"id,day,town,y\n1,2024-01-01,a,1\n2,2024-01-02,a,2\n")
    try:
        job = Job(tmp_path, {"path": ["memory://run/*.csv"]})
        assert job.actions() == ["run", "run"]
        assert job.plans()[0] == ("skip", "unchanged")
        memory.pipe("/run/a.csv", b"id,day,town,y\n1,2024-01-01,a,2\n")
        assert job.plans()[0] == ("run", "t: memory://run/a.csv changed")
    finally:
        memory.rm("/run", recursive=True)


def test_examples_of_broken_rules_name_the_object_not_its_copy(
    spark: SparkSession, tmp_path: Path
) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/rules/a b.csv", b"id,day,town,y\n1,2024-01-01,a,1\n2,2024-01-02,a,-2\n")
    rules = {
        "low": {"kind": "condition", "sql": "y < 1", "level": "warn"},
        "paid": {"kind": "condition", "sql": "y > 0"},
    }
    try:
        job = Job(tmp_path, {"path": ["memory://rules/*.csv"], "rules": rules})
        job.run(Selection(last="ingest"))
    finally:
        memory.rm("/rules", recursive=True)
    made = job.ingested()
    (bad,) = made["quarantined"]
    assert bad["file"] == "memory://rules/a b.csv"
    results = {r["name"]: r["example"] for r in made["metrics"]["sources"]["t"]["rules"]}
    assert {name: (e["file"], e["row"], e["value"]) for name, e in results.items()} == {
        "low": ("memory://rules/a b.csv", 1, "1.0"),
        "paid": ("memory://rules/a b.csv", 2, "-2.0"),
    }
