"""Whole runs over a folder of daily files: a new day, a backfill, corrected rows, a kill."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from pyspark.sql import SparkSession

from pipeline import driver, quarantine, scheduling
from pipeline.cleaning import clean_store
from pipeline.cli import run_command
from pipeline.config import PipelineConfig, load_config
from pipeline.errors import DataRefused
from pipeline.planning import plan
from tests.command import alive, children_of, hashes, marks
from tests.conftest import SMALL_SPARK

HEADER = "id,day,shop,price\n"
INGEST = driver.Selection("ingest", "ingest")
SPARK_STAGES = driver.Selection("ingest", "preprocess")
CONFIG: dict[str, Any] = {
    "name": "shops",
    "ingest": {
        "sources": {
            "sales": {
                "path": "raw/sales",
                "key": ["id"],
                "max_quarantined_share": 0.5,
                "incremental": {"by": "partition", "pattern": r"(\d{4}-\d{2}-\d{2})"},
                "columns": {
                    "id": {"type": "int"},
                    "day": {"type": "date"},
                    "shop": {"type": "string"},
                    "price": {"type": "double", "min": 0},
                },
            },
            "towns": {
                "path": "raw/towns.csv",
                "columns": {"shop": {"type": "string"}, "town": {"type": "string"}},
            },
        }
    },
    "preprocess": {
        "main": "sales",
        "steps": [{"name": "features", "sql": "conf/features.sql"}],
        "key": ["id"],
        "time": "at",
        "segment": ["shop"],
        "target": "price",
        "features": {"numeric": ["x"]},
        "split": {"test_from": "2026-01-03T00:00:00+00:00", "folds": 1, "validation_days": 1},
    },
    "train": {"candidates": {"mean": {"estimator": "sklearn.dummy.DummyRegressor"}}},
    "engines": {"spark": SMALL_SPARK | {"master": "local[2]"}},
}
SQL = "SELECT id, CAST(day AS TIMESTAMP) AS at, shop, price, CAST(id AS DOUBLE) AS x FROM sales"


@dataclass(frozen=True)
class Shops:
    root: Path

    @property
    def file(self) -> Path:
        return self.root / "conf" / "shops.yaml"

    @property
    def config(self) -> PipelineConfig:
        return load_config(self.file)

    def configure(self, **sales: Any) -> None:
        config = json.loads(json.dumps(CONFIG))
        config["ingest"]["sources"]["sales"] |= sales
        self.file.parent.mkdir(exist_ok=True, parents=True)
        self.file.write_text(yaml.safe_dump(config))

    def write(self, day: int, rows: str) -> None:
        path = self.root / "raw" / "sales" / f"sales-2026-01-{day:02}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER + rows)

    def run(self, select: driver.Selection = INGEST, **options: Any) -> dict[str, Any]:
        return driver.run(self.config, select=select, **options)

    def ingest(self, record: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
        """The folder and the manifest of a run's ingest."""
        folder = self.root / "data/store/artifacts/ingest" / record["stages"][0]["fingerprint"]
        return folder, json.loads((folder / "manifest.json").read_text())


@pytest.fixture
def shops(spark: SparkSession, tmp_path: Path) -> Shops:
    return _shops(tmp_path)


def _shops(root: Path) -> Shops:
    shops = Shops(root)
    shops.configure()
    (root / "conf" / "features.sql").write_text(SQL)
    for day in range(1, 4):
        shops.write(day, f"{day}0,2026-01-0{day},a,1.5\n{day}1,2026-01-0{day},b,2\n")
    (root / "raw" / "towns.csv").write_text("shop,town\na,Rome\nb,Oslo\n")
    return shops


def test_a_new_day_is_read_alone_and_a_backfill_changes_only_what_depends_on_it(
    shops: Shops, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = shops.ingest(shops.run())
    shops.write(4, "40,2026-01-04,a,3\n")
    record = shops.run(SPARK_STAGES)
    folder, manifest = shops.ingest(record)
    sales = manifest["metrics"]["sources"]["sales"]
    assert (sales["units_read"], sales["units_kept"]) == (["2026-01-04"], 3)
    assert "units" not in manifest["metrics"]["sources"]["towns"]
    events = (shops.root / "data/store/runs" / record["run_id"] / "events.jsonl").read_text()
    said = [json.loads(line) for line in events.splitlines()]
    assert [e["read"] for e in said if e["event"] == "units"] == [["2026-01-04"]]
    assert hashes(first, "sales/*").items() <= hashes(folder, "sales/*").items()

    # Nothing of the day has changed: it is read again, and nothing else becomes another.
    monkeypatch.setattr(scheduling, "run", partial(driver.run, select=SPARK_STAGES))
    fill = partial(
        scheduling.backfill, shops.file, env=None, overrides=(), observer=driver.Unobserved()
    )
    other_days = marks(shops.root / "data/store/parts/ingest/shops/sales")
    before, features = hashes(folder), marks(shops.root / "data/store/artifacts/preprocess")
    filled = fill(date(2026, 1, 2), date(2026, 1, 2))
    assert filled["sources"] == [{"source": "sales", "units_read": 1, "units_kept": 3}]
    assert {k: v for k, v in hashes(folder).items() if k != "manifest.json"} == {
        k: v for k, v in before.items() if k != "manifest.json"
    }
    assert marks(shops.root / "data/store/artifacts/preprocess") == features

    # The day has changed: what rests on it is made again, and the other days stay.
    monkeypatch.setattr(scheduling, "run", partial(driver.run, select=INGEST))
    shops.write(2, "20,2026-01-02,a,9\n")
    filled = fill(date(2026, 1, 2), date(2026, 1, 2))
    assert filled["sources"] == [{"source": "sales", "units_read": 1, "units_kept": 3}]
    now = marks(shops.root / "data/store/parts/ingest/shops/sales")
    same = [path for path in other_days if other_days[path] == now.get(path)]
    assert len([path for path in same if path.endswith(".parquet")]) == 3
    assert [p.action for p in plan(shops.config)][:2] == ["skip", "run"]

    # What no artifact is made of any more goes.
    removed = clean_store(shops.config, keep=1, dry_run=False)
    assert [item["what"] for item in removed].count("unit of sales") == 1


def test_corrected_rows_stand_in_the_place_of_quarantined_ones(
    shops: Shops, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shops.write(2, "20,2026-01-02,a,\x1b[2Jx\n21,2026-01-02,=b,-2\n22,2026-01-02,c,-3\n")
    shops.run()
    assert run_command(["quarantine", "show", "-c", str(shops.file), "--json"]) == 0
    shown = json.loads(capfd.readouterr().out)
    assert (shown["rows"], [(r["rule"], r["rows"]) for r in shown["rules"]]) == (
        3, [("below_min", 2), ("not_a_double", 1)],
    )  # fmt: skip
    assert run_command(["quarantine", "show", "-c", str(shops.file), "--rule", "not_a_double"]) == 0
    text = capfd.readouterr().out
    assert "\x1b[2J" not in text and "\u2039ESC\u203a[2Jx" in text

    exported = shops.root / "rows.csv"
    quarantine.export(shops.config, "sales", None, exported)
    _correct(exported, {"1": "20,2026-01-02,a,7", "2": "21,2026-01-02,=b,-1", "3": None})
    found = quarantine.replay(shops.config, "sales", exported, driver.Unobserved())
    assert {key: found[key] for key in ("corrected", "good", "still_quarantined")} == {
        "corrected": 2, "good": 1, "still_quarantined": 1,
    }  # fmt: skip
    record = shops.run()
    folder, manifest = shops.ingest(record)
    sales = manifest["metrics"]["sources"]["sales"]
    assert (sales["rows_in"], sales["rows_out"], sales["rows_quarantined"]) == (7, 5, 2)
    assert (sales["units_read"], sales["rows_corrected"]) == ([], 2)
    good = [row for file in (folder / "sales").iterdir() for row in pq.read_table(file).to_pylist()]
    assert sorted(row["id"] for row in good) == [10, 11, 20, 30, 31]
    bad = pq.read_table(folder / "quarantine/sales").to_pylist()
    assert [(row["row"], row["raw"]) for row in bad] == [
        (2, "21,2026-01-02,=b,-1"), (3, "22,2026-01-02,c,-3"),
    ]  # fmt: skip

    # A second try of the row that stayed; and a clean store ends with the same files.
    quarantine.export(shops.config, "sales", None, exported)
    _correct(exported, {"2": "10,2026-01-02,=b,1", "3": None})  # a key that another day has
    assert quarantine.replay(shops.config, "sales", exported, driver.Unobserved())["good"] == 0
    _correct(exported, {"2": "21,2026-01-02,=b,1", "3": None})
    assert quarantine.replay(shops.config, "sales", exported, driver.Unobserved())["good"] == 1
    folder, _ = shops.ingest(shops.run())
    wanted = hashes(folder, "sales/*") | hashes(folder, "quarantine/*/*")
    corrections = shops.root / "data/store/quarantine/sales/corrections/shops.csv"
    shutil.copy(corrections, shops.root / "corrected.csv")
    shutil.rmtree(shops.root / "data/store")
    shops.configure(corrections="corrected.csv")
    folder, _ = shops.ingest(shops.run())
    assert hashes(folder, "sales/*") | hashes(folder, "quarantine/*/*") == wanted

    # Another broken row stands in a corrected one's place: what was said of that one is not for it.
    shops.write(2, "20,2026-01-02,a,y\n21,2026-01-02,=b,-2\n22,2026-01-02,c,-3\n")
    sales = shops.ingest(shops.run())[1]["metrics"]["sources"]["sales"]
    assert (sales["rows_out"], sales["rows_quarantined"], sales["rows_corrected"]) == (5, 2, 1)

    # The raw file is mended: its rows count, and their corrections do not.
    shops.write(2, "20,2026-01-02,a,7\n21,2026-01-02,=b,1\n22,2026-01-02,c,3\n")
    sales = shops.ingest(shops.run())[1]["metrics"]["sources"]["sales"]
    assert (sales["rows_in"], sales["rows_out"], sales["rows_corrected"]) == (7, 7, 0)


def test_a_refused_ingest_shows_its_rows_and_takes_corrected_ones(shops: Shops) -> None:
    """Of a source that is read as a whole."""
    shops.configure(incremental=None, max_quarantined_share=0.1)
    shops.write(2, "20,2026-01-02,a,x\n21,2026-01-02,b,2\n")
    with pytest.raises(DataRefused):
        shops.run()
    shown = quarantine.show(shops.config, source="sales")
    assert (shown.rows, shown.of) == (1, "the last ingest, which was refused")
    exported = shops.root / "rows.csv"
    quarantine.export(shops.config, "sales", None, exported)
    _correct(exported, {"1": "20,2026-01-02,a,2\n"})
    with pytest.raises(DataRefused, match="must be one record"):
        quarantine.replay(shops.config, "sales", exported, driver.Unobserved())
    _correct(exported, {"1": "20,2026-01-02,a,2"})
    assert quarantine.replay(shops.config, "sales", exported, driver.Unobserved())["good"] == 1
    sales = shops.ingest(shops.run())[1]["metrics"]["sources"]["sales"]
    assert (sales["rows_in"], sales["rows_out"], sales["rows_corrected"]) == (6, 6, 1)
    assert quarantine.show(shops.config).rows == 0


def _correct(path: Path, rows: dict[str, str | None]) -> None:
    """Write corrected texts by row number into an exported file, as a spreadsheet does."""
    with path.open(newline="") as file:
        lines = list(csv.reader(file))
    for line in lines[1:]:
        line[4] = rows[line[1]] or line[4]
    with path.open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(lines)


ONE_BY_ONE = """
import sys
from pathlib import Path
from pipeline.dataprep import units
units.BATCH_FILES = 1
from pipeline.cli import run_command
run_command(["ingest", "-c", sys.argv[1]])
"""


def test_a_kill_in_the_middle_loses_the_batch_in_flight(shops: Shops, tmp_path: Path) -> None:
    kept = shops.root / "data/store/parts/ingest/shops/sales"
    process = subprocess.Popen(
        [sys.executable, "-c", ONE_BY_ONE, str(shops.file)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _wait(process, lambda: bool(list(kept.glob("*/unit.json"))))
    family = [process.pid, *children_of(process.pid)]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 20
    while alive(family[1:]) and time.monotonic() < end:
        time.sleep(0.1)
    assert not alive(family)
    finished = len(list(kept.glob("*/unit.json")))
    assert finished < 3
    folder, manifest = shops.ingest(shops.run())
    sales = manifest["metrics"]["sources"]["sales"]
    assert (len(sales["units_read"]), sales["units_kept"]) == (3 - finished, finished)
    assert not list(shops.root.glob("data/store/**/.work-*"))
    clean = _shops(tmp_path / "clean")
    assert hashes(folder, "*/*.parquet") == hashes(clean.ingest(clean.run())[0], "*/*.parquet")


def _wait(process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 100
    while not reached():
        assert process.poll() is None, "it ended before the point was reached"
        assert time.monotonic() < end
        time.sleep(0.01)
