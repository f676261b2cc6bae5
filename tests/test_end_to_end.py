"""The shipped job on the sample: real Spark, RayDP and Ray, from the command line."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.command import Project, actions, manifest, marks

Finished = tuple[Project, dict[str, Any]]
STAGES = ["ingest", "preprocess", "convert", "train", "infer", "report"]


def test_six_stages_run_and_every_row_is_accounted_for(finished: Finished) -> None:
    project, record = finished
    assert actions(record) == dict.fromkeys(STAGES, "run")
    made = {stage: manifest(project.artifact(record, stage)) for stage in STAGES}
    for source in made["ingest"]["metrics"]["sources"].values():
        assert source["rows_in"] == source["rows_out"] + source["rows_quarantined"]
        assert source["drift"] == {"extra": {}, "missing": {}, "retyped": {}, "reordered": 0}
    flights = made["ingest"]["metrics"]["sources"]["flights"]
    with gzip.open(project.root / "data/sample/flights/flights.csv.gz", "rt") as file:
        assert flights["rows_in"] == sum(1 for _ in file) - 1
    assert made["preprocess"]["rows_in"] == made["preprocess"]["rows_out"] == flights["rows_out"]
    assert made["convert"]["rows_out"] == flights["rows_out"]
    rows = made["train"]["metrics"]["rows"]
    parts = ("trained_on", "held_out_for_the_test", "without_target")
    assert rows["in"] == sum(rows[part] for part in parts) == flights["rows_out"]
    assert made["infer"]["rows_in"] == rows["held_out_for_the_test"]
    assert made["infer"]["rows_in"] == (
        made["infer"]["rows_out"] + made["infer"]["rows_quarantined"]
    )


def test_the_data_went_through_raydp(finished: Finished) -> None:
    project, record = finished
    metrics = manifest(project.artifact(record, "convert"))["metrics"]
    assert metrics["mode"] == "raydp"
    assert metrics["checksums"] == "verified"
    assert metrics["other_mode"]["mode"] == "parquet"


def test_there_is_a_prediction_for_every_held_out_flight(finished: Finished) -> None:
    project, record = finished
    features = pq.read_table(project.artifact(record, "preprocess") / "features")
    test = features.filter(pc.equal(features.column("split"), "test"))
    predictions = pq.read_table(project.artifact(record, "infer") / "predictions")
    assert set(predictions.column("flight_id").to_pylist()) == set(
        test.column("flight_id").to_pylist()
    )
    assert predictions.num_rows == test.num_rows
    assert predictions.column("prediction").null_count == 0
    assert pc.all(pc.is_finite(predictions.column("prediction"))).as_py()


def test_no_champion_is_worse_than_its_baseline_on_its_folds(finished: Finished) -> None:
    project, record = finished
    champions = json.loads((project.artifact(record, "train") / "champions.json").read_text())
    scored = [c for c in champions.values() if c["mean_score"] is not None]
    assert len(scored) > 20
    for champion in scored:
        assert champion["mean_score"] <= champion["baseline_score"]
    for champion in champions.values():
        few = champion["rows_train"] < 150
        assert (champion["fallback"] is not None) == (few or champion["mean_score"] is None)


def test_the_test_error_is_that_of_the_published_predictions(finished: Finished) -> None:
    project, record = finished
    folder = project.artifact(record, "infer")
    frame = pq.read_table(folder / "predictions").to_pandas()
    known = frame[frame.arr_delay.notna()]
    rmse = float(((known.prediction - known.arr_delay) ** 2).mean() ** 0.5)
    overall = manifest(folder)["metrics"]["overall"]
    assert overall["rmse"] == pytest.approx(rmse, rel=1e-12)
    assert overall["rows_scored_against_truth"] == len(known)


def test_the_run_leaves_a_report_and_no_temporary_folder(finished: Finished) -> None:
    project, record = finished
    page = (project.store / "runs" / record["run_id"] / "report.html").read_text()
    assert "Arrival delay of flights from New York" in page
    assert not list(project.store.glob("artifacts/*/.*"))
    engines = [
        e["name"] for e in project.events(record["run_id"]) if e["event"] == "engine_started"
    ]
    assert engines == ["ray", "spark"]


def test_a_second_run_skips_everything_and_writes_nothing(another: Project) -> None:
    first = another.json("run")  # the copy has new inodes, but the same content
    before = marks(another.store / "artifacts")
    record = another.json("run")
    assert actions(first) == actions(record) == dict.fromkeys(STAGES, "skipped")
    assert marks(another.store / "artifacts") == before
    events = {event["event"] for event in another.events(record["run_id"])}
    assert events == {"stage_skipped", "run_finished"}
    assert record["seconds"] < 30


def test_a_training_option_reruns_training_and_what_follows_without_a_jvm(
    another: Project,
) -> None:
    option = ("--set", "train.min_rows=400")
    planned = another.json("plan", *option)
    wanted = dict(zip(STAGES, ["skip"] * 3 + ["run"] * 3, strict=True))
    assert {s["stage"]: s["action"] for s in planned["stages"]} == wanted
    assert "min_rows: 150 → 400" in planned["stages"][3]["reason"]
    record = another.json("run", *option)
    assert actions(record) == dict(zip(STAGES, ["skipped"] * 3 + ["run"] * 3, strict=True))
    events = another.events(record["run_id"])
    assert [e["name"] for e in events if e["event"] == "engine_started"] == ["ray"]
    # Fewer segments are fitted, none anew: all their fits were kept.
    metrics = manifest(another.artifact(record, "train"))["metrics"]
    assert metrics["fits_reused"] == metrics["fits"] > 0


def test_editing_one_raw_file_reruns_what_depends_on_it(another: Project) -> None:
    file = another.root / "data/sample/flights/airlines.csv.gz"
    text = gzip.decompress(file.read_bytes()).decode().replace("Endeavor", "Endeavour")
    file.write_bytes(gzip.compress(text.encode(), mtime=0))
    planned = another.json("plan")
    assert {s["action"] for s in planned["stages"]} == {"run"}
    assert "airlines.csv.gz changed" in planned["stages"][0]["reason"]
    assert planned["stages"][1]["reason"].startswith("ingest is made again")


def test_a_damaged_artifact_is_found_and_only_it_is_made_again(another: Project) -> None:
    (model,) = list((another.store / "artifacts/train").glob("*/models/pooled-*.skops"))[:1]
    content = bytearray(model.read_bytes())
    content[100] ^= 1
    model.write_bytes(content)
    planned = {s["stage"]: s for s in another.json("plan")["stages"]}
    assert planned["train"]["action"] == "run"
    assert "another checksum" in planned["train"]["reason"]
    assert {planned[s]["action"] for s in STAGES if s != "train"} == {"skip"}


def test_predict_gives_the_published_predictions(finished: Finished, tmp_path: Path) -> None:
    project, record = finished
    features = pq.read_table(project.artifact(record, "preprocess") / "features")
    test = features.filter(pc.equal(features.column("split"), "test"))
    pq.write_table(test, tmp_path / "new.parquet")
    out = tmp_path / "predicted.parquet"
    arguments = ("--input", str(tmp_path / "new.parquet"), "--output", str(out))
    summary = project.json("predict", *arguments)
    assert summary["rows_in"] == summary["rows_out"] == test.num_rows
    columns = ["flight_id", "prediction", "model"]
    published = pq.read_table(project.artifact(record, "infer") / "predictions", columns=columns)
    found = pq.read_table(out, columns=columns)
    order = [("flight_id", "ascending")]
    assert found.sort_by(order).to_pylist() == published.sort_by(order).to_pylist()


def test_a_stage_alone_names_what_it_lacks_and_runs_nothing(
    finished: Finished, tmp_path: Path
) -> None:
    project = Project(finished[0].root, tmp_path / "store")
    shutil.copytree(finished[0].store / "artifacts/ingest", tmp_path / "store/artifacts/ingest")
    done = project.run("convert", check=False)
    assert done.returncode == 4
    assert "convert needs the artifact of preprocess" in done.stderr
    assert "pipeline preprocess -c conf/flights.yaml" in done.stderr
    assert not (tmp_path / "store/runs").exists()
