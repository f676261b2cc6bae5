"""Exit codes and messages, as a user meets them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import run_command
from tests.command import PIPELINE, Project

Finished = tuple[Project, dict[str, Any]]


def pipeline(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PIPELINE, *arguments], cwd=root, capture_output=True, text=True, timeout=60
    )


def test_three_mistakes_print_three_messages_and_exit_2(project: Path) -> None:
    path = project / "conf" / "flights.yaml"
    text = (
        path.read_text()
        .replace("  mode: raydp", "  mode: rayd")
        .replace("alpha: 100.0", "alhpa: 1")
    )
    path.write_text(text.replace("  rows: test", "  row: test"))
    done = pipeline(project, "run", "-c", "conf/flights.yaml", "--set", "train.min_rows=none")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "3 problems in the configuration" in done.stderr
    for part in ("convert.mode", "infer.row: unknown key; did you mean 'rows'?", "train.min_rows"):
        assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_a_parameter_that_an_estimator_lacks_is_found_before_any_work(project: Path) -> None:
    path = project / "conf" / "flights.yaml"
    path.write_text(path.read_text().replace("alpha: 100.0", "alhpa: 100.0"))
    done = pipeline(project, "run", "-c", "conf/flights.yaml", "--env", "sample")
    assert done.returncode == 2
    assert "alhpa" in done.stderr
    assert "alpha" in done.stderr
    assert not (project / "data/store-sample/runs").exists()


def test_a_missing_raw_file_is_named_and_exits_3(project: Path) -> None:
    (project / "data/sample/flights/planes.csv.gz").unlink()
    done = pipeline(project, "run", "-c", "conf/flights.yaml", "--env", "sample")
    assert done.returncode == 3
    assert "data/sample/flights/planes.csv.gz" in done.stderr
    assert "source 'planes'" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["nonsense"],
        ["run", "-c", "conf/absent.yaml"],
        ["run", "-c", "conf/flights.yaml", "--env", "absent"],
        ["run", "-c", "conf/flights.yaml", "--only", "train", "--from", "ingest"],
        ["run", "-c", "conf/flights.yaml", "--from", "train", "--to", "ingest"],
        ["plan", "-c", "conf/flights.yaml", "--set", "no_equals_sign"],
    ],
)
def test_wrong_usage_exits_2(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.chdir(root)
    assert run_command(arguments) == 2


def test_help_and_plan_import_no_engine(root: Path) -> None:
    code = (
        "import sys; from pipeline.cli import run_command; "
        "code = run_command(['plan', '-c', 'conf/flights.yaml', '--env', 'sample']); "
        "heavy = {'ray', 'pyspark', 'sklearn', 'matplotlib', 'pandas'} & set(sys.modules); "
        "sys.exit(f'imported: {heavy}' if heavy else code)"
    )
    done = subprocess.run([PIPELINE[0], "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_show_runs_status_and_models(finished: Finished) -> None:
    project, record = finished
    store = ["--store", str(project.store)]
    shown = json.loads(pipeline(project.root, "show", "latest", *store, "--json").stdout)
    assert [s["stage"] for s in shown["stages"]][:2] == ["ingest", "preprocess"]
    assert shown["sources"]["flights"]["rows_quarantined"] == 0
    assert shown["champions"]["segments"] == 34
    assert shown["test"]["rmse"] < shown["test"]["baseline_rmse"]
    listed = json.loads(pipeline(project.root, "runs", *store, "--json").stdout)["runs"]
    assert listed[0]["run_id"] == record["run_id"]
    assert project.json("status")["stages"]["train"]["published"]
    (version,) = _models(project)
    assert version["champion"]
    assert version["segments"] == 34


def _models(project: Project) -> list[dict[str, Any]]:
    common = ["-c", "conf/flights.yaml", "--env", "sample", "--set", f"store={project.store}"]
    done = pipeline(project.root, "models", "list", *common, "--json")
    found: list[dict[str, Any]] = json.loads(done.stdout)["versions"]
    return found


def test_promotion_and_rollback(another: Project) -> None:
    common = ["-c", "conf/flights.yaml", "--env", "sample", "--set", f"store={another.store}"]
    refused = pipeline(another.root, "models", "rollback", *common)
    assert refused.returncode == 4
    assert "no earlier champion" in refused.stderr
    absent = pipeline(another.root, "models", "promote", "v0009-000000000000", *common)
    assert absent.returncode == 4
    assert "has no version" in absent.stderr


def test_versions_are_compared_on_the_held_out_rows(another: Project) -> None:
    common = ["-c", "conf/flights.yaml", "--env", "sample", "--set", f"store={another.store}"]
    (version,) = [record["version"] for record in _models(another)]
    alone = pipeline(another.root, "models", "compare", *common)
    assert alone.returncode == 4
    assert "is the only version" in alone.stderr
    same = pipeline(another.root, "models", "compare", *common, version, version, "--json")
    found = json.loads(same.stdout)
    assert {row["verdict"] for row in found["segments"]} == {"same"}
    assert found["rows"] == sum(row["rows"] for row in found["segments"][1:]) > 0
    shown = pipeline(another.root, "models", "show", "--card", *common, "--json")
    (card,) = json.loads(shown.stdout)["cards"]
    assert card["version"] == version
    assert card["held_out"]["rows_scored_against_truth"] == found["rows"]
