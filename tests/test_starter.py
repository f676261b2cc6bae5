"""``pipeline init``, then ``pipeline run``, on a folder that it has never seen; nothing edited."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from tests.command import PIPELINE, Project, manifest
from tests.conftest import SMALL_SPARK, stop_engines
from tests.starter.quirky_tables import german


def test_a_folder_that_nobody_saw_becomes_models_and_a_report(tmp_path: Path) -> None:
    stop_engines()
    german(tmp_path / "data")
    (tmp_path / "conf").mkdir()
    engines = {"engines": {"spark": SMALL_SPARK}, "convert": {"mode": "parquet"}}
    (tmp_path / "conf" / "base.yaml").write_text(yaml.safe_dump(engines))  # for this machine
    command(tmp_path, "init", "data", "--target", "Umsatz in EUR", "-o", "conf/sales.yaml")
    run = json.loads(command(tmp_path, "run", "-c", "conf/sales.yaml", "--json"))
    store = tmp_path / "store"
    project = Project(tmp_path, store)
    counts = {s["stage"]: (s["rows_in"], s["rows_quarantined"]) for s in run["stages"]}
    assert counts["ingest"] == (600, 0)
    champions = json.loads((project.artifact(run, "train") / "champions.json").read_text())
    assert champions
    predictions = pq.read_table(project.artifact(run, "infer") / "predictions")
    tested = manifest(project.artifact(run, "preprocess"))["metrics"]["split"]["test_rows"]
    assert predictions.num_rows == tested > 100
    assert "Umsatz_in_EUR" in (store / "runs" / run["run_id"] / "report.html").read_text()


def command(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        [*PIPELINE, *arguments], cwd=root, capture_output=True, text=True, timeout=300
    )
    assert not done.returncode, done.stderr[-4000:]
    return done.stdout
