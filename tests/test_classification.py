"""Classes end to end: late or not, of the sample's flights, with weights, on the real engines."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from tests.command import PIPELINE, Project, manifest
from tests.conftest import ROOT, stop_engines

SQL = """
SELECT concat_ws('-', year, month, day, carrier, flight, origin) AS flight_id, time_hour, origin,
  carrier, dest, CAST(hour AS DOUBLE) AS hour, distance, 1 + distance / 1000 AS importance,
  CASE WHEN arr_delay > 15 THEN 'late' WHEN arr_delay <= 15 THEN 'on time' END AS arrival
FROM flights
"""


@dataclass(frozen=True)
class Late(Project):
    """A project of its own, with one SQL step over the sample's flights."""

    def command(self, *arguments: str) -> list[str]:
        verb, *rest = arguments
        return [*PIPELINE, verb, "-c", "conf/late.yaml", *rest]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Late, dict[str, Any]]:
    stop_engines()
    root = tmp_path_factory.mktemp("late")
    shutil.copytree(ROOT / "data" / "sample", root / "data" / "sample")
    shutil.copytree(ROOT / "conf", root / "conf")
    (root / "conf" / "late.sql").write_text(SQL)
    (root / "conf" / "late.yaml").write_text(yaml.safe_dump(_config()))
    project = Late(root, root / "data" / "store")
    return project, project.json("run")


def test_predictions_have_a_class_and_a_probability_each(run: tuple) -> None:
    frame = _predictions(run).to_pandas()
    likely = np.where(
        frame["probability_late"] >= frame["probability_on%20time"], "late", "on time"
    )
    assert (frame["prediction"] == likely).all()
    both = frame["probability_late"] + frame["probability_on%20time"]
    np.testing.assert_allclose(both, 1, rtol=1e-9)
    assert set(frame["baseline"]) <= {"late", "on time"}


def test_the_held_out_measures_are_scikit_learns(run: tuple) -> None:
    project, record = run
    frame = _predictions(run).to_pandas()
    known = frame[frame.arrival.notna()]
    p = known[["probability_late", "probability_on%20time"]].to_numpy()
    metrics = manifest(project.artifact(record, "infer"))["metrics"]
    overall, weight = metrics["overall"], known["importance"]
    assert overall["rows_scored_against_truth"] == len(known)
    wanted = {
        "log_loss": log_loss(known.arrival, p, sample_weight=weight),
        "accuracy": accuracy_score(known.arrival, known.prediction, sample_weight=weight),
        "roc_auc": roc_auc_score(known.arrival == "on time", p[:, 1], sample_weight=weight),
    }
    assert {name: overall[name] for name in wanted} == pytest.approx(wanted, rel=1e-9)
    assert sum(item["rows"] for item in metrics["reliability"]) == len(known)
    importance = metrics["importance"]
    assert (importance["measure"], importance["rows"]) == ("log_loss", len(known))
    assert importance["plain"] == pytest.approx(overall["log_loss"], rel=1e-9)


def test_every_champion_is_at_least_its_baseline_and_small_segments_fall_back(run: tuple) -> None:
    project, record = run
    folder = project.artifact(record, "train")
    champions = json.loads((folder / "champions.json").read_text())
    scored = [c for c in champions.values() if c["mean_score"] is not None]
    assert len(scored) > 10
    assert all(c["mean_score"] <= c["baseline_score"] for c in scored)
    assert any(c["fallback"] for c in champions.values())
    assert all(sum(c["baseline"]) == pytest.approx(1) for c in champions.values())
    made = pq.read_table(folder / "leaderboard.parquet").filter(pc.field("status") == "ok")
    assert made.column("score_accuracy").null_count == 0


def test_each_fit_validates_on_the_rows_of_its_fold(run: tuple) -> None:
    project, record = run
    preprocess = project.artifact(record, "preprocess")
    rows = pq.read_table(preprocess / "features").filter(pc.field("fold").is_valid()).to_pandas()
    assert (rows["split"] == "train").all() and rows["arrival"].notna().all()
    counts = rows.groupby(["origin", "carrier", "arrival", "fold"]).size().unstack(fill_value=0)
    assert (counts.max(axis=1) - counts.min(axis=1) <= 1).all()
    split = json.loads((preprocess / "split.json").read_text())
    assert split == manifest(preprocess)["metrics"]["split"]
    assert (split["kind"], [f["rows_valid"] for f in split["folds"]]) == (
        "stratified",
        rows.groupby("fold").size().tolist(),
    )
    fits = pq.read_table(project.artifact(record, "train") / "leaderboard.parquet").to_pandas()
    pooled = fits[(fits["segment"] == "*") & (fits["candidate"] == "boosting")]
    for fit in pooled.itertuples():
        assert fit.rows_valid == (rows["fold"] == fit.fold).sum()
        assert fit.rows_train == (rows["fold"] != fit.fold).sum()


def test_rows_drawn_for_the_test_are_scored_and_no_others(run: tuple) -> None:
    project, record = run
    preprocess = project.artifact(record, "preprocess")
    rows = pq.read_table(preprocess / "features").to_pandas()
    held_out = rows[rows["split"] == "test"]
    assert 0.25 < len(held_out) / len(rows) < 0.35
    assert held_out["time_hour"].min() < rows["time_hour"].median()  # not by time
    predicted = _predictions(run).to_pandas()
    assert sorted(predicted["flight_id"]) == sorted(held_out["flight_id"])
    trained = manifest(project.artifact(record, "train"))["metrics"]["rows"]
    known = rows[rows["arrival"].notna() & (rows["split"] == "train")]
    assert (trained["trained_on"], trained["held_out_for_the_test"]) == (len(known), len(held_out))
    page = (project.store / "runs" / record["run_id"] / "report.html").read_text()
    assert "about 0.3 of the values of flight_id, by a hash" in page


def test_predict_gives_the_published_probabilities(run: tuple, tmp_path: Path) -> None:
    project, record = run
    features = pq.read_table(project.artifact(record, "preprocess") / "features")
    pq.write_table(features.filter(pc.field("split") == "test"), tmp_path / "new.parquet")
    out = tmp_path / "out.parquet"
    project.json("predict", "--input", str(tmp_path / "new.parquet"), "--output", str(out))
    columns = ["flight_id", "prediction", "probability_late", "probability_on%20time", "model"]
    order = [("flight_id", "ascending")]
    found = pq.read_table(out, columns=columns).sort_by(order)
    published = _predictions(run).select(columns).sort_by(order)
    assert found.to_pylist() == published.to_pylist()


def test_the_page_shows_what_fits_classes(run: tuple) -> None:
    project, record = run
    page = (project.store / "runs" / record["run_id"] / "report.html").read_text()
    assert "Log loss" in page and "Balanced accuracy" in page and "Reliability" in page
    assert "RMSE" not in page and "residual" not in page


def test_a_second_version_wins_or_loses_as_a_whole_by_its_scorer(run: tuple) -> None:
    project, record = run
    again = project.json("run", "--set", "train.candidates.logistic.params.C=0.001")
    assert [s["stage"] for s in again["stages"] if s["action"] == "run"][:2] == ["train", "infer"]
    found = json.loads((project.store / "registry" / "late" / "scores.json").read_text())
    first, second = (found[project.artifact(r, "train").name] for r in (record, again))
    assert first["objective"] == second["objective"] and "importance" in first["objective"]
    assert second["reason"].startswith(f"over all rows: challenger {second['score']:.6g} ")
    assert ("does not beat" in second["reason"]) == (second["score"] >= first["score"])
    command = [*PIPELINE, "models", "compare", "-c", "conf/late.yaml"]
    compared = subprocess.run(command, cwd=project.root, capture_output=True, text=True)
    assert compared.returncode == 2
    assert "rmse or mae of regressions alone" in compared.stderr


def _predictions(run: tuple) -> Any:
    project, record = run
    return pq.read_table(project.artifact(record, "infer") / "predictions")


def _config() -> dict[str, Any]:
    flights = yaml.safe_load((ROOT / "conf" / "flights.yaml").read_text())
    sample = yaml.safe_load((ROOT / "conf" / "env" / "sample.yaml").read_text())
    source = flights["ingest"]["sources"]["flights"]
    return {
        "name": "late",
        "store": "data/store",
        "engines": {"spark": sample["engines"]["spark"]},
        "ingest": {"sources": {"flights": source | sample["ingest"]["sources"]["flights"]}},
        "preprocess": {
            "steps": [{"name": "late", "sql": "conf/late.sql"}],
            "main": "flights",
            "key": ["flight_id"],
            "time": "time_hour",
            "segment": ["origin", "carrier"],
            "target": "arrival",
            "carry": ["importance"],
            "features": {"categorical": ["carrier", "dest"], "numeric": ["hour", "distance"]},
            "split": {"test": {"kind": "hash", "share": 0.3}, "kind": "stratified", "folds": 2},
        },
        "convert": {"mode": "parquet"},
        "train": {
            "task": "classification",
            "weight": "importance",
            "also_score": ["accuracy", "roc_auc"],
            "min_rows": 150,
            "candidates": {
                "logistic": {
                    "estimator": "sklearn.linear_model.LogisticRegression",
                    "params": {"C": 0.1, "max_iter": 500},
                    "scale": True,
                },
                "balanced": {
                    "estimator": "sklearn.tree.DecisionTreeClassifier",
                    "params": {"max_depth": 3, "class_weight": "balanced"},
                    "encode": "ordinal",
                },
                "boosting": {
                    "estimator": "sklearn.ensemble.HistGradientBoostingClassifier",
                    "params": {"max_iter": 30, "early_stopping": True},
                    "scope": "pooled",
                    "impute": "none",
                    "encode": "ordinal",
                },
            },
        },
    }
