"""Candidates and segments that break: every other model is trained, and it is said why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config.engines import TasksConfig
from pipeline.config.train import TrainConfig
from pipeline.training.failures import error_counts
from pipeline.training.journal import FitJournal
from pipeline.training.memory import at_most
from pipeline.training.parallel import ParallelTraining
from pipeline.training.result import from_table
from pipeline.training.selection import choose_champions
from pipeline.training.settings import FitSettings
from tests.training.test_parallel import settings, table  # noqa: F401

if TYPE_CHECKING:
    from pipeline.engines.session import Engines

MIB = 2**20
CANDIDATES = {
    "ridge": {"estimator": "sklearn.linear_model.Ridge"},
    "raises-on-small-ones": {
        "estimator": "sklearn.neighbors.KNeighborsRegressor",
        "params": {"n_neighbors": 250},
    },
    "never-ends": {
        "estimator": "sklearn.neural_network.MLPRegressor",
        "params": {"max_iter": 10**9, "n_iter_no_change": 10**9},
    },
    "eats-all-memory": {"estimator": "sklearn.kernel_ridge.KernelRidge"},
}
SIZES = {"big": 9000, "one class": 300, "all null": 300, "plain": 300, "one row": 1}


def hostile() -> pa.Table:
    whole = table(SIZES)
    names = np.asarray(whole.column("g"))
    y = np.where(names == "one class", 7.0, whole.column("y").to_numpy())
    null = names == "all null"
    for name in ("a", "b", "c"):
        values = whole.column(name).to_pylist()
        column = pa.array(values, mask=null, type=whole.schema.field(name).type)
        whole = whole.set_column(whole.schema.get_field_index(name), name, column)
    return whole.set_column(whole.schema.get_field_index("y"), "y", pa.array(y))


def test_what_breaks_breaks_alone(
    engines: Engines,
    settings: FitSettings,  # noqa: F811
    tmp_path: Path,
) -> None:
    import ray

    engines.ray()
    train = TrainConfig.model_validate(
        {"candidates": CANDIDATES, "min_rows": 40, "fit_timeout_seconds": 5}
    )
    tasks = TasksConfig.model_validate({"memory": "150m", "max_retries": 1})
    training = ParallelTraining(
        replace(settings, train=train, memory_bytes=150 * MIB), [ray.put(hostile())], tasks, 2,
        FitJournal(tmp_path / "fits.journal"), lambda *_: None,
    )  # fmt: skip
    index = training.read_index()
    training.baselines()
    training.fits(tmp_path / "models")
    board = training.leaderboard()
    own = [r for r in from_table(board) if r.scope == "own"]
    outcome = {(r.segment[2:-2], r.candidate): r.status for r in own}
    for segment in ("big", "one class", "all null", "plain"):
        assert outcome[segment, "ridge"] == "ok"
        assert outcome[segment, "never-ends"] == "failed"
        alone = segment == "big"
        assert outcome[segment, "eats-all-memory"] == ("failed" if alone else "ok")
        assert outcome[segment, "raises-on-small-ones"] == ("ok" if alone else "failed")
    assert outcome["one row", "ridge"] == "skipped"
    said = error_counts(board)
    count = {c: sum(e.count for e in said if e.candidate == c) for c in CANDIDATES}
    assert count == {
        "ridge": 0, "raises-on-small-ones": 6, "never-ends": 8, "eats-all-memory": 2,
    }, said  # fmt: skip
    reasons = {e.candidate: e.error for e in said}
    assert reasons["eats-all-memory"].startswith("MemoryError: ")
    assert reasons["never-ends"] == "TimeoutError: no result within fit_timeout_seconds = 5"
    assert "n_neighbors" in reasons["raises-on-small-ones"]
    champions = choose_champions(from_table(board), dict(index.rows_by_segment()), train.min_rows)
    assert champions['["plain"]'].candidate in ("ridge", "eats-all-memory")
    assert champions['["one row"]'].scope == "baseline"
    winner = ('["plain"]', champions['["plain"]'].candidate)
    assert set(training.champions([winner], tmp_path / "models")) == {winner}


def test_a_fit_that_does_not_come_back_from_compiled_code_ends_with_its_worker(
    engines: Engines,
    settings: FitSettings,  # noqa: F811
    tmp_path: Path,
) -> None:
    """libsvm asks for no signals; without a limit on its iterations this takes it for ever."""
    import ray

    engines.ray()
    hangs = {"kernel": "poly", "degree": 9, "C": 1e12, "tol": 1e-15}
    train = TrainConfig.model_validate(
        {
            "candidates": {
                "ridge": CANDIDATES["ridge"],
                "hangs": {"estimator": "sklearn.svm.SVR", "params": hangs},
            },
            "min_rows": 40,
            "fit_timeout_seconds": 2,
        }
    )
    training = ParallelTraining(
        replace(settings, train=train), [ray.put(table({"plain": 2000}))],
        TasksConfig.model_validate({"max_retries": 1}), 2,
        FitJournal(tmp_path / "fits.journal"), lambda *_: None,
    )  # fmt: skip
    training.read_index()
    training.baselines()
    training.fits(tmp_path / "models")
    board = training.leaderboard()
    own = [r for r in from_table(board) if r.scope == "own"]
    assert {(r.candidate, r.status) for r in own} == {("ridge", "ok"), ("hangs", "failed")}
    (said,) = error_counts(board)
    assert said.count == 2
    assert said.error == (
        "TimeoutError: no result within fit_timeout_seconds = 2, nor an end when asked for it"
    )


def test_a_limit_on_memory_ends_with_its_block() -> None:
    with at_most(64 * MIB):
        assert np.ones(MIB).sum() == MIB
        with pytest.raises(MemoryError):
            np.ones(32 * MIB)
    assert np.ones(32 * MIB).sum() == 32 * MIB
