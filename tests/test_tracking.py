"""The sample's run in MLflow on SQLite: what is there, that it is there once, and what may fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline import driver
from pipeline.config import PipelineConfig, load_config
from pipeline.errors import ConfigError, StoreError, TrackingFailed
from pipeline.models.champions import ChampionRecord, read_champions
from pipeline.models.persistence import TRUSTED_TYPES
from pipeline.store import Store
from pipeline.store.runlog import find_run
from pipeline.tracking.track import track, track_run
from pipeline.training.matrix import to_features
from pipeline.training.segments import ALL
from tests.command import Project, actions, manifest

mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")

Finished = tuple[Project, dict[str, Any]]
PASSWORD = "hunter2-s3cret"


@dataclass(frozen=True)
class Shelf:
    """A store, and the runs of MLflow that lie in it."""

    project: Project
    record: dict[str, Any]

    def config(self, *overrides: str) -> PipelineConfig:
        settings = [f"store={self.project.store}", "tracking.mlflow={}", *overrides]
        return load_config(
            self.project.root / "conf/flights.yaml", env="sample", overrides=settings
        )

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.project.store / 'mlflow/mlflow.db'}"

    @property
    def client(self) -> Any:
        return mlflow.MlflowClient(self.uri)

    @property
    def experiment(self) -> str:
        return str(self.client.get_experiment_by_name("flights").experiment_id)

    def runs(self, kind: str) -> list[Any]:
        found = self.client.search_runs(
            [self.experiment], f"tags.`pipeline.kind` = '{kind}'", max_results=1000
        )
        return list(found)

    def models(self) -> list[Any]:
        return list(self.client.search_logged_models([self.experiment], max_results=1000))

    def artifact(self, stage: str) -> Path:
        return self.project.artifact(self.record, stage)

    def champions(self) -> dict[str, ChampionRecord]:
        return read_champions(self.artifact("train"))


def _copy_of(finished: Finished, folder: Path) -> Project:
    # MLflow makes URIs of paths; this one has what URIs write in another way.
    store = folder / "a store, 100% full"
    shutil.copytree(finished[0].store, store)
    return Project(finished[0].root, store)


@pytest.fixture(scope="module")
def tracked(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """A run with nothing to do but to be tracked, from the command line; read it only."""
    project = _copy_of(finished, tmp_path_factory.mktemp("tracked"))
    record = project.json("run", "--set", "tracking.mlflow={}")
    assert set(actions(record).values()) == {"skipped"}
    return Shelf(project, record)


@pytest.fixture
def shelf(finished: Finished, tmp_path: Path) -> Shelf:
    """A finished run that is not tracked yet."""
    return Shelf(_copy_of(finished, tmp_path), finished[1])


def test_the_parent_has_the_runs_settings_scores_and_files(tracked: Shelf, tmp_path: Path) -> None:
    (parent,) = tracked.runs("run")
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == parent.data.tags["pipeline.run_id"] == tracked.record["run_id"]
    infer, train = (manifest(tracked.artifact(stage)) for stage in ("infer", "train"))
    metrics, params = parent.data.metrics, parent.data.params
    assert metrics["test_rmse"] == infer["metrics"]["overall"]["rmse"]
    assert metrics["test_baseline_rmse"] == infer["metrics"]["overall"]["baseline_rmse"]
    assert metrics["ingest_rows_in"] == manifest(tracked.artifact("ingest"))["rows_in"]
    assert metrics["train_seconds"] == train["seconds"]
    assert params["train.candidates.ridge.params.alpha"] == "100.0"
    assert params["preprocess.target"] == "arr_delay"
    assert params["fingerprint.train"] == train["fingerprint"]
    names = {file.path for file in tracked.client.list_artifacts(parent.info.run_id)}
    assert names == {
        "report.html",
        "leaderboard.parquet",
        "champions.json",
        "model_card.json",
        "config.json",
    }
    kept = tracked.client.download_artifacts(parent.info.run_id, "report.html", str(tmp_path))
    assert Path(kept).read_bytes() == (tracked.artifact("report") / "report.html").read_bytes()
    events = tracked.project.events(tracked.record["run_id"])
    assert [e["mlflow_run"] for e in events if e["event"] == "tracked"] == [parent.info.run_id]


def test_each_segment_is_a_child_with_its_champion(tracked: Shelf) -> None:
    (parent,) = tracked.runs("run")
    children = {run.data.tags["pipeline.segment"]: run for run in tracked.runs("segment")}
    champions = {key: c for key, c in tracked.champions().items() if key != ALL}
    by_segment = manifest(tracked.artifact("infer"))["metrics"]["by_segment"]
    assert children.keys() == champions.keys()
    for key, champion in champions.items():
        run = children[key]
        assert run.info.status == "FINISHED"
        assert run.info.run_name == champion.label
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.params["candidate"] == champion.candidate
        assert run.data.params.get("fallback") == champion.fallback
        assert run.data.metrics.get("folds_rmse") == champion.mean_score
        assert run.data.metrics.get("folds_baseline_rmse") == champion.baseline_score
        assert run.data.metrics.get("test_rmse") == by_segment.get(key, {}).get("rmse")
        history = tracked.client.get_metric_history(run.info.run_id, "fold_rmse")
        assert {m.step: m.value for m in history} == dict(
            zip(champion.folds, champion.fold_scores, strict=True)
        )
    assert any(champion.fallback for champion in champions.values())
    assert any(len(champion.folds) == 2 for champion in champions.values())


def test_each_model_is_logged_once_and_as_skops(tracked: Shelf) -> None:
    models, champions = tracked.models(), tracked.champions()
    hashes = [model.tags["pipeline.sha256"] for model in models]
    assert sorted(hashes) == sorted({c.sha256 for c in champions.values() if c.sha256})
    assert all(str(model.status).endswith("READY") for model in models)
    ids = dict(zip(hashes, (model.model_id for model in models), strict=True))
    for run in tracked.runs("segment"):
        champion = champions[run.data.tags["pipeline.segment"]]
        uri = f"models:/{ids[champion.sha256]}" if champion.sha256 else None
        assert run.data.tags.get("pipeline.model_uri") == uri
    folder = tracked.project.store / "mlflow/artifacts"
    assert not [*folder.rglob("*.pkl"), *folder.rglob("*.pickle")]
    described = [yaml.safe_load(path.read_text()) for path in folder.rglob("MLmodel")]
    assert len(described) == len(models) == len(list(folder.rglob("model.skops")))
    for model in described:
        flavor = model["flavors"]["sklearn"]
        assert flavor["serialization_format"] == "skops"
        assert set(flavor["skops_trusted_types"]) <= TRUSTED_TYPES


OF_A_SEGMENT = ("own", "blend")
"""Scopes of models that no other segment has."""


@pytest.mark.parametrize("scopes", [OF_A_SEGMENT, ("pooled",)])
def test_a_logged_model_predicts_what_was_published(
    tracked: Shelf, scopes: tuple[str, ...]
) -> None:
    champions = tracked.champions()
    key = next(k for k, c in champions.items() if c.scope in scopes and k != ALL)
    (run,) = (r for r in tracked.runs("segment") if r.data.tags["pipeline.segment"] == key)
    published = pq.read_table(
        tracked.artifact("infer") / "predictions",
        columns=["flight_id", "prediction"],
        filters=pc.field("segment") == key,
    )
    features = tracked.config().preprocess.features
    rows = pq.read_table(tracked.artifact("preprocess") / "features")
    rows = rows.filter(pc.is_in(rows.column("flight_id"), published.column("flight_id")))
    X = to_features(
        rows.sort_by("flight_id"), numeric=features.numeric, categorical=features.categorical
    )
    expected = published.sort_by("flight_id").column("prediction").to_pylist()
    assert len(expected) > 10
    uri = run.data.tags["pipeline.model_uri"]
    mlflow.set_tracking_uri(tracked.uri)
    try:
        loaded = mlflow.sklearn.load_model(uri)
        served = mlflow.pyfunc.load_model(uri)
    finally:
        mlflow.set_tracking_uri(None)
    assert loaded.predict(X).tolist() == pytest.approx(expected, rel=1e-12)
    assert list(served.predict(X)) == pytest.approx(expected, rel=1e-12)


def test_what_is_tracked_is_not_tracked_again(shelf: Shelf) -> None:
    few = shelf.config("tracking.mlflow.segments=3", "tracking.mlflow.models=false")
    first = track_run(few)
    again = track(few, {**find_run(Store(shelf.project.store), "latest"), "run_id": "later"})
    assert (first["action"], again.action) == ("tracked", "known")
    (parent,) = shelf.runs("run")
    assert parent.data.tags["pipeline.last_run_id"] == "later"
    assert parent.data.tags["pipeline.run_id"] == first["run_id"]
    rows = {key: c.rows_train for key, c in shelf.champions().items() if key != ALL}
    kept = {run.data.tags["pipeline.segment"] for run in shelf.runs("segment")}
    assert sorted(rows[key] for key in kept) == sorted(rows.values())[-3:]
    assert shelf.models() == []


def test_a_tracking_that_broke_off_is_completed(shelf: Shelf) -> None:
    champions = {key: c for key, c in shelf.champions().items() if key != ALL}
    order = sorted(champions, key=lambda key: (-champions[key].rows_train, key))
    last = max(at for at, key in enumerate(order) if champions[key].scope in OF_A_SEGMENT)
    config = shelf.config(f"tracking.mlflow.segments={last + 1}")
    victim = shelf.artifact("train") / str(champions[order[last]].file)
    content = victim.read_bytes()
    victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(StoreError, match="changed after it was saved"):
        track_run(config)
    (parent,) = shelf.runs("run")
    assert parent.info.status == "FAILED"
    assert len(shelf.runs("segment")) == last + 1
    victim.write_bytes(content)
    assert track_run(config)["action"] == "tracked"
    (completed,) = shelf.runs("run")
    assert (completed.info.run_id, completed.info.status) == (parent.info.run_id, "FINISHED")
    segments = [run.data.tags["pipeline.segment"] for run in shelf.runs("segment")]
    assert len(segments) == len(set(segments)) == last + 1
    hashes = [model.tags["pipeline.sha256"] for model in shelf.models()]
    assert len(hashes) == len(set(hashes))
    for run in (completed, *shelf.runs("segment")):
        assert run.info.status == "FINISHED"
        for key in ("test_rmse", "folds_rmse"):
            if key in run.data.metrics:
                assert len(shelf.client.get_metric_history(run.info.run_id, key)) == 1


def test_a_server_that_is_down_is_one_warning_and_no_password(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TRACKING", f"http://someone:{PASSWORD}@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    config = shelf.config("tracking.mlflow.uri=${env:TRACKING}")
    record = driver.run(config)
    assert (record["status"], actions(record)["report"]) == ("done", "skipped")
    (warning,) = (r.getMessage() for r in caplog.records if r.levelname == "WARNING")
    assert f"pipeline track {record['run_id']} -c" in warning
    assert "127.0.0.1" in warning
    folder = shelf.project.store / "runs" / record["run_id"]
    texts = [path.read_text() for path in folder.iterdir()]
    assert any("tracking_failed" in text for text in texts)
    assert PASSWORD not in "".join((*texts, caplog.text, repr(config)))
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_a_database_that_cannot_be_used_is_named_without_its_password(shelf: Shelf) -> None:
    (shelf.project.store / "mlflow").mkdir()
    (shelf.project.store / "mlflow/mlflow.db").write_text("this is no database\n" * 100)
    with pytest.raises(TrackingFailed, match="not a database") as caught:
        track_run(shelf.config())
    assert "pipeline track" in str(caught.value)
    with pytest.raises(ConfigError, match="needs the package") as refused:
        track_run(shelf.config(f"tracking.mlflow.uri=postgresql://me:{PASSWORD}@nowhere/runs"))
    assert refused.value.exit_code == 2
    assert PASSWORD not in str(refused.value)
    assert "postgresql://***@nowhere/runs" in str(refused.value)


@pytest.mark.parametrize("uri", ["mlruns", f"ftp://me:{PASSWORD}@host", PASSWORD, "sqlite://"])
def test_another_uri_is_refused_and_not_shown(root: Path, uri: str) -> None:
    with pytest.raises(ConfigError, match=r"tracking\.mlflow\.uri: must") as caught:
        load_config(root / "conf/flights.yaml", overrides=[f"tracking.mlflow.uri={uri}"])
    assert PASSWORD not in str(caught.value)


def test_a_misspelt_key_is_met_with_the_right_one(root: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"tracking\.mlflow\.url: unknown key; did you mean 'uri'"
    ):
        load_config(root / "conf/flights.yaml", overrides=["tracking.mlflow.url=http://host"])


def test_tracking_is_no_part_of_a_fingerprint(finished: Finished) -> None:
    planned = finished[0].json("plan", "--set", "tracking.mlflow={}")
    assert {stage["action"] for stage in planned["stages"]} == {"skip"}


_BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "mlflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
from pipeline.cli import run_command
code = run_command(sys.argv[1:])
assert "mlflow" not in sys.modules
sys.exit(code)
"""


def _without_mlflow(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = project.command(*arguments)[3:]
    return subprocess.run(
        [sys.executable, "-c", _BLOCKED, *words],
        cwd=project.root,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_without_the_package_a_run_that_is_tracked_does_not_start(
    finished: Finished, tmp_path: Path
) -> None:
    project = Project(finished[0].root, tmp_path / "store")
    done = _without_mlflow(project, "run", "--set", "tracking.mlflow={}")
    assert done.returncode == 2, done.stderr
    assert "tracking.mlflow: needs the package mlflow" in done.stderr
    assert "pip install 'spark-ray-pipeline[mlflow]'" in done.stderr
    assert not (project.store / "runs").exists()


def test_without_the_package_all_else_works(finished: Finished) -> None:
    done = _without_mlflow(finished[0], "plan", "--set", "tracking.mlflow={}")
    assert done.returncode == 0, done.stderr
