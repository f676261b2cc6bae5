"""A nightly run after a new day's file, and a backfill of one day, followed to the predictions."""

from __future__ import annotations

import json
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.command import PIPELINE, Project, actions, hashes, manifest, marks
from tests.conftest import SMALL_SPARK, stop_engines

DAYS, NEW_DAY, TEST_FROM = range(1, 9), 9, 7
ROWS_A_DAY = 30
CONFIG: dict[str, Any] = {
    "name": "shops",
    "ingest": {
        "sources": {
            "sales": {
                "path": "raw/sales",
                "key": ["id"],
                "incremental": {"by": "partition", "pattern": r"(\d{4}-\d{2}-\d{2})"},
                "columns": {
                    "id": {"type": "int", "nullable": False},
                    "day": {"type": "date", "nullable": False},
                    "shop": {"type": "string", "nullable": False},
                    "x": {"type": "double", "min": 0},
                    "price": {"type": "double", "min": 0},
                },
            },
            "shops": {
                "path": "raw/shops.csv",
                "key": ["shop"],
                "columns": {"shop": {"type": "string"}, "area": {"type": "double"}},
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
        "features": {"numeric": ["x", "area"]},
        "split": {"test_from": f"2026-01-0{TEST_FROM}T00:00:00Z", "folds": 1, "validation_days": 2},
    },
    "train": {
        "min_rows": 10,
        "candidates": {
            "ridge": {"estimator": "sklearn.linear_model.Ridge"},
            "tree": {
                "estimator": "sklearn.tree.DecisionTreeRegressor",
                "params": {"max_depth": 3},
            },
        },
    },
    "infer": {"rows": "all"},
    "engines": {"spark": SMALL_SPARK | {"master": "local[2]"}, "ray": {"num_cpus": 2}},
}
SQL = """
SELECT id, CAST(day AS TIMESTAMP) AS at, sales.shop, price, x, area
FROM sales JOIN shops ON sales.shop = shops.shop
"""


@dataclass(frozen=True)
class Shops:
    """A project of daily files of two shops."""

    root: Path

    def write_day(self, day: int, more: dict[str, float] | None = None) -> None:
        """Write a day's rows; ``more`` is added to a shop's prices."""
        numbers = random.Random(day)
        lines = ["id,day,shop,x,price"]
        for row in range(ROWS_A_DAY):
            shop, x = "ab"[row % 2], round(numbers.uniform(0, 9), 3)
            price = round(3 * x + numbers.uniform(0, 5) + (more or {}).get(shop, 0.0), 3)
            lines.append(f"{1000 * day + row},2026-01-0{day},{shop},{x},{price}")
        lines.append(f"{1000 * day + 900},2026-01-0{day},a,-1,1")  # is quarantined
        path = self.root / f"raw/sales/sales-2026-01-0{day}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")

    def command(self, verb: str, *options: str, store: str = "data/store") -> dict[str, Any]:
        given = ["-c", "conf/shops.yaml", "--set", f"store={store}", *options, "--json"]
        done = subprocess.run(
            [*PIPELINE, verb, *given], cwd=self.root, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr[-3000:]
        parsed: dict[str, Any] = json.loads(done.stdout)
        return parsed

    def artifact(self, record: dict[str, Any], stage: str, store: str = "data/store") -> Path:
        return Project(self.root, self.root / store).artifact(record, stage)

    def read(self, record: dict[str, Any]) -> dict[str, list[str]]:
        """The units that a run's ingest has read, by source."""
        sources = manifest(self.artifact(record, "ingest"))["metrics"]["sources"]
        return {name: found["units_read"] for name, found in sources.items() if "units" in found}

    def last_run(self) -> dict[str, Any]:
        newest = max((self.root / "data/store/runs").glob("*/run.json"))
        parsed: dict[str, Any] = json.loads(newest.read_text())
        return parsed

    def fits(self, record: dict[str, Any]) -> tuple[int, int]:
        """All fits of a run, and those that an earlier run had made."""
        metrics = manifest(self.artifact(record, "train"))["metrics"]
        return metrics["fits"], metrics["fits_reused"]


@pytest.fixture
def shops(tmp_path: Path) -> Shops:
    stop_engines()
    shops = Shops(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/shops.yaml").write_text(yaml.safe_dump(CONFIG))
    (tmp_path / "conf/features.sql").write_text(SQL)
    for day in DAYS:
        shops.write_day(day)
    (tmp_path / "raw/shops.csv").write_text("shop,area\na,10\nb,20\n")
    return shops


def test_one_day_is_read_and_what_depends_on_it_is_made_again(shops: Shops) -> None:
    first = shops.command("run")
    fits, reused = shops.fits(first)
    assert (shops.read(first), reused) == ({"sales": [f"2026-01-0{day}" for day in DAYS]}, 0)

    # A new day, of the test period: read alone, and every fit and model is kept.
    shops.write_day(NEW_DAY)
    second = shops.command("run")
    assert shops.read(second) == {"sales": [f"2026-01-0{NEW_DAY}"]}
    assert set(actions(second).values()) == {"run"}
    assert shops.fits(second) == (fits, fits)
    models = [hashes(shops.artifact(record, "train"), "models/*") for record in (first, second)]
    assert models[0] == models[1]
    predicted = [predictions(shops.artifact(record, "infer")) for record in (first, second)]
    day = {key: value for key, value in predicted[1].items() if key // 1000 == NEW_DAY}
    assert len(day) == ROWS_A_DAY and predicted[1] == predicted[0] | day

    # A backfill of a day of which nothing has changed writes nothing that rests on it.
    everything = marks(shops.root / "data/store/artifacts")
    filled = shops.command("backfill", "--from", "2026-01-03", "--to", "2026-01-03")
    counts = {"source": "sales", "units_read": 1, "units_kept": len(DAYS)}
    assert filled["sources"] == [counts]
    again = marks(shops.root / "data/store/artifacts")
    changed = {path for path in again if everything.get(path) != again[path]}
    for stage in ("preprocess", "convert", "train", "infer"):
        assert not [path for path in changed if f"/artifacts/{stage}/" in path]

    # Shop a's prices of that day were wrong: its fits are made again, those of b are kept.
    shops.write_day(3, more={"a": 4.0})
    filled = shops.command("backfill", "--from", "2026-01-03", "--to", "2026-01-03")
    assert filled["sources"] == [counts]
    third = shops.last_run()
    assert shops.read(third) == {"sales": ["2026-01-03"]}
    made, kept = shops.fits(third)
    assert made == fits and 0 < kept < fits
    before, after = shops.artifact(second, "ingest"), shops.artifact(third, "ingest")
    same = hashes(before, "sales/*").items() & hashes(after, "sales/*").items()
    assert len(same) == len(DAYS)
    other = predictions(shops.artifact(third, "infer"))
    shop_b = [key for key in other if key % 1000 % 2 == 1]
    assert {key: other[key] for key in shop_b} == {key: predicted[1][key] for key in shop_b}
    assert other != predicted[1]

    # All of it is what a store that starts with these files has.
    clean = shops.command("run", store="data/clean")
    for stage, pattern in (
        ("ingest", "**/*.parquet"),
        ("preprocess", "**/*.parquet"),
        ("train", "models/*"),
        ("infer", "predictions/*"),
    ):
        here, there = shops.artifact(third, stage), shops.artifact(clean, stage, "data/clean")
        assert hashes(here, pattern) == hashes(there, pattern), stage


def predictions(infer: Path) -> dict[int, float]:
    table = pa.concat_tables([pq.read_table(path) for path in infer.glob("predictions/*.parquet")])
    return dict(
        zip(table.column("id").to_pylist(), table.column("prediction").to_pylist(), strict=True)
    )
