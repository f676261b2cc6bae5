"""A run that is killed goes on where it was, and ends with the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.training.journal import FitJournal
from tests.command import PIPELINE, Project, actions, alive, children_of, hashes, manifest

# Without RayDP, which the undisturbed run has: twice as fast, and nothing may depend on it.
LOCAL = ("--set", "engines.spark.master=local[2]", "--set", "convert.mode=parquet")
Finished = tuple[Project, dict[str, Any]]


def test_kills_in_preprocess_and_train_change_nothing_of_the_result(
    finished: Finished, tmp_path: Path
) -> None:
    whole, record = finished
    project = Project(whole.root, tmp_path / "store")
    shutil.copytree(whole.store / "artifacts/ingest", project.store / "artifacts/ingest")

    _kill_when(project, lambda: bool(list(project.store.glob("artifacts/preprocess/.work-*/*"))))
    assert list(project.store.glob("artifacts/preprocess/.work-*"))
    assert not list(project.store.glob("artifacts/preprocess/*/manifest.json"))

    fits = project.store / "parts/train/flights/fits.journal"
    _kill_when(project, lambda: fits.exists() and fits.stat().st_size > 0)
    finished_fits = len(FitJournal(fits).keys())
    assert not list(project.store.glob("artifacts/train/*/manifest.json"))

    # Each stage of Ray alone, as a command and as a script, goes on from there.
    alone = {"train": project.json("train", *LOCAL), "infer": _script(project, "infer")}
    for stage, record_alone in alone.items():
        assert actions(record_alone) == {stage: "run"}
    train = manifest(project.artifact(alone["train"], "train"))["metrics"]
    assert train["fits_reused"] >= finished_fits - 1
    resumed = project.json("run", *LOCAL)
    assert actions(resumed) == {
        "ingest": "skipped", "preprocess": "skipped", "convert": "skipped",
        "train": "skipped", "infer": "skipped", "report": "run",
    }  # fmt: skip
    for stage, pattern in (("infer", "predictions/*"), ("train", "models/*")):
        here, there = project.artifact(resumed, stage), whole.artifact(record, stage)
        assert hashes(here, pattern) == hashes(there, pattern)
    # Also what is computed from all blocks, which another hand-off has cut otherwise.
    infers = (project.artifact(resumed, "infer"), whole.artifact(record, "infer"))
    here, there = (manifest(folder)["metrics"]["importance"] for folder in infers)
    assert here == there and here["features"][0]["mean"] > 0
    assert not list(project.store.glob("artifacts/*/.*"))


def _script(project: Project, stage: str) -> dict[str, Any]:
    options = project.command(stage, *LOCAL, "--json")[len(PIPELINE) + 1 :]
    done = subprocess.run(
        [sys.executable, f"jobs/{stage}.py", *options],
        cwd=project.root,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def _kill_when(project: Project, reached: Callable[[], bool]) -> None:
    """Start a run, kill -9 it at a point, and see that nothing of it lives on."""
    process = project.start("run", *LOCAL)
    end = time.monotonic() + 300
    while not reached():
        assert process.poll() is None, "the run ended before the point was reached"
        assert time.monotonic() < end
        time.sleep(0.02)
    below = children_of(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 30
    while alive(below):
        assert time.monotonic() < end, f"still alive: {alive(below)}"
        time.sleep(0.2)


@pytest.mark.timed
def test_sigterm_ends_a_run_within_ten_seconds_and_leaves_nothing(project: Path) -> None:
    sample = Project(project, project / "store")
    process = sample.start("run")
    end = time.monotonic() + 120
    while '"engine_started"' not in "".join(
        events.read_text() for events in sample.store.glob("runs/*/events.jsonl")
    ):
        assert time.monotonic() < end
        time.sleep(0.1)
    time.sleep(1)  # Ray runs, RayDP is starting on it, and Ray has put its own handlers in place
    assert list(sample.store.glob("artifacts/ingest/.work-*"))
    below = children_of(process.pid)
    process.terminate()
    assert process.wait(timeout=10) == 130
    time.sleep(1)
    assert alive(below) == []
    assert not list(sample.store.glob("artifacts/*/.*"))
    assert not list(sample.store.glob("artifacts/*/*/manifest.json"))
