"""Artifacts of the agreed shape, made by hand: a small airline of 35 segments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from report_artifacts_data import ingest, preprocess

from pipeline.report.inputs import STAGES, ReportInputs

Json = dict[str, Any]
CARRIERS = ("UA", "B6", "EV", "DL", "AA", "MQ", "US", "9E", "WN", "VX", "FL", "AS")
_VERSIONS = {"python": "3.11.9", "pyspark": "3.5.7", "ray": "2.60.0", "scikit-learn": "1.9.1"}


def make(folder: Path, segments: int = 35, mark: str = "") -> ReportInputs:
    """Inputs of a whole run. ``mark`` is put into every text that comes from data."""
    folders = {stage: folder / stage for stage in STAGES[:-1]}
    for path in folders.values():
        path.mkdir(parents=True)
    labels = _labels(segments, mark)
    metrics = {
        "ingest": ingest(folders["ingest"], mark),
        "preprocess": preprocess(segments, mark),
        "convert": _convert(mark),
        "train": _train(folders["train"], labels, mark),
        "infer": _infer(folders["infer"], labels, mark),
    }
    return ReportInputs(
        title="Flights from New York, 2013" + mark,
        pipeline="flights" + mark,
        run=_run(mark),
        events=_events(mark),
        manifests={stage: _manifest(stage, metrics[stage], mark) for stage in metrics},
        folders=folders,
        card={"train": "f-train" + mark, "limits": {"tested_only_on": ["2013-11", "2013-12"]}},
    )


def _labels(segments: int, mark: str) -> dict[str, str]:
    pairs = [(origin, carrier) for origin in ("EWR", "JFK", "LGA") for carrier in CARRIERS]
    if segments <= len(pairs):
        return {f"{o}-{c}{mark}": f"{o} · {c}{mark}" for o, c in pairs[:segments]}
    return {f"s{n}{mark}": f"segment {n}{mark}" for n in range(segments)}


def _manifest(stage: str, metrics: Json, mark: str) -> Json:
    config: Json = {"password": "hunter2", "note": f"a config value{mark}"}
    if stage == "preprocess":
        config |= {"target": "arr_delay", "time": "sched_dep", "segment": ["origin", "carrier"]}
    if stage == "ingest":
        columns = {
            "arr_delay": {"type": "double", "unit": "min", "description": "late arrival" + mark},
            "distance": {"type": "double", "unit": "mi", "min": 0, "max": 6000, "nullable": False},
            "wind_speed": {"type": "double", "unit": "mph"},
        }
        filters = {"scheduled" + mark: "dep_time IS NOT NULL" + mark}
        config["sources"] = {
            "flights": {"path": "data/raw/flights.csv", "columns": columns, "filters": filters}
        }
    before = STAGES[max(0, STAGES.index(stage) - 1)]
    return {
        "stage": stage, "fingerprint": _hash(stage), "pipeline": "flights" + mark,
        "config": config, "inputs": {before + mark: _hash(before)} if before != stage else {},
        "code_version": "0.1.0+" + _hash("code")[:8], "versions": _VERSIONS | {"lib" + mark: mark},
        "rows_in": 367_603, "rows_out": 367_571, "rows_quarantined": 32, "files": [],
        "metrics": metrics, "started_at": "2026-11-23T08:13:02+00:00", "seconds": 12.3,
    }  # fmt: skip


def _hash(text: str) -> str:
    return "".join(f"{(ord(c) * 37 + i * 91) % 256:02x}" for i, c in enumerate((text * 64)[:32]))


def _run(mark: str) -> Json:
    seconds = (14.2, 31.8, 9.4, 48.6, 12.9)
    rows = (367_603, 367_571, 328_521, 274_461, 54_060)
    stages = [
        {
            "stage": stage, "action": "skipped" if stage == "ingest" else "run",
            "reason": ("the artifact is committed and whole" if stage == "ingest"
                       else "its fingerprint changed: preprocess.features") + mark,
            "fingerprint": _hash(stage), "seconds": seconds[n], "rows_in": rows[n],
            "rows_out": rows[n] - (32 if n == 0 else 0), "rows_quarantined": 32 if n == 0 else 0,
            "peak_memory_bytes": None if n == 0 else (2 + n) * 2**29,
        }
        for n, stage in enumerate(STAGES[:-1])
    ]  # fmt: skip
    return {
        "run_id": "20261123T081302Z-7f3a" + mark, "pipeline": "flights" + mark,
        "started_at": "2026-11-23T08:13:02Z", "ended_at": None, "status": "running", "seconds": 0,
        "machine": {"cores": 2, "memory_bytes": 24 * 2**30, "platform": "Linux x86-64" + mark},
        "stages": stages, "peak_memory_bytes": 5_368_709_120,
    }  # fmt: skip


def _events(mark: str) -> list[Json]:
    rows: list[tuple[float, str, str, str]] = [
        (0.1, "run_started", "x", "x"), (0.2, "stage_skipped", "stage", "ingest"),
        (9.5, "engine_started", "name", "ray" + mark), (22.0, "engine_started", "name", "spark"),
        (22.1, "stage_started", "stage", "preprocess"),
        (53.9, "stage_finished", "stage", "preprocess"),
        (54.0, "stage_started", "stage", "convert"), (63.4, "stage_finished", "stage", "convert"),
        (64.0, "engine_stopped", "name", "spark"), (64.1, "stage_started", "stage", "train"),
        (112.7, "stage_finished", "stage", "train"), (112.8, "stage_started", "stage", "infer"),
        (125.7, "stage_finished", "stage", "infer"), (125.8, "stage_started", "stage", "report"),
        (126.1, "note", "name", "x"),
    ]  # fmt: skip
    return [
        {"at": "2026-11-23T08:13:02Z", "elapsed": elapsed, "event": event, key: value}
        | ({"seconds": 9.0} if event == "engine_started" else {})
        for elapsed, event, key, value in rows
    ]


def _convert(mark: str) -> Json:
    other = {"mode": "parquet", "estimated_seconds": 0.9, "basis": "measured on 8 MB" + mark}
    return {
        "mode": "raydp", "reason": "set by the configuration" + mark, "blocks": 8, "rows": 328_521,
        "bytes": 61_000_000, "seconds_transfer": 4.8, "rows_per_second": 68_442,
        "other_mode": other, "checksums": "verified",
    }  # fmt: skip


def _train(folder: Path, labels: dict[str, str], mark: str) -> Json:
    rng = np.random.default_rng(1)
    names = ["pooled_boosting", "ridge", "boosting" + mark]
    baseline = rng.gamma(40, 1.0, len(labels))
    score = baseline * rng.normal(0.93, 0.03, len(labels))
    rows = np.maximum(6, rng.pareto(1.2, len(labels)) * 2_000).astype(int)
    picks = rng.choice([0, 1, 2], len(labels), p=[0.6, 0.1, 0.3])
    champions = {
        key: {
            "label": text, "candidate": names[picks[n]],
            "scope": "pooled" if picks[n] == 0 else "own",
            "fallback": "too few rows" + mark if rows[n] < 200 else None,
            "mean_score": float(score[n]), "std_score": float(score[n] / 20),
            "baseline_score": float(baseline[n]), "rows_train": int(rows[n]), "model": "v1" + mark,
        }
        for n, (key, text) in enumerate(labels.items())
    }  # fmt: skip
    (folder / "champions.json").write_text(json.dumps(champions), encoding="utf-8")
    fits = [
        {"segment": key, "candidate": name, "scope": "own", "fold": fold,
         "status": "ok" if n % 17 else "failed", "score": float(score[n] + c) if n % 17 else None,
         "rows_train": 100, "rows_valid": 10, "seconds": 0.02 * (c + 1), "warnings": "",
         "error": None if n % 17 else "ValueError"}
        for n, key in enumerate(labels) for c, name in enumerate(names)
        for fold in (range(3) if len(labels) < 1_000 else range(1))
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(fits), folder / "leaderboard.parquet")
    _tasks(folder, 48, "fit", mark)
    few = [{"segment": k, "reason": "too few rows" + mark} for k, c in champions.items()
           if c["fallback"]]  # fmt: skip
    return {
        "segments": len(labels), "fits": len(fits), "fits_failed": 21, "fits_reused": 120,
        "scorer": "rmse", "champions_by_candidate": {
            name: int((picks == n).sum()) for n, name in enumerate(names)},
        "errors": [{"error": "ValueError: no rows" + mark, "count": 21, "example": "LGA" + mark}],
        "fallbacks": few,
    }  # fmt: skip


def _tasks(folder: Path, seconds: float, kind: str, mark: str) -> None:
    rng = np.random.default_rng(2)
    tasks: list[Json] = []
    for worker in ("worker 4711" + mark, "worker 4712"):
        now = 0.4
        while now < seconds:
            stop = min(seconds, now + float(rng.gamma(2, 0.9)))
            what = "pooled" if kind == "fit" and now < seconds / 5 else kind
            what = "final" if kind == "fit" and now > seconds * 0.9 else what
            tasks.append({"label": "pack" + mark, "kind": what, "worker": worker, "start": now,
                          "stop": stop, "fits": 9})  # fmt: skip
            now = stop + 0.05
    (folder / "tasks.json").write_text(json.dumps(tasks), encoding="utf-8")


def _infer(folder: Path, labels: dict[str, str], mark: str) -> Json:
    rng = np.random.default_rng(3)
    rows = 20_000
    hidden = rng.gamma(1.4, 22, rows) - 28
    actual = hidden + rng.normal(0, 24, rows)
    late = rng.random(rows) < 0.02
    begin = np.datetime64("2013-11-01T00:00", "us")
    at = begin + np.sort(rng.integers(0, 61 * 1440, rows)).astype("timedelta64[m]")
    table = pa.table({
        "id": np.arange(rows), "sched_dep": pa.array(at).cast(pa.timestamp("us", tz="UTC")),
        "origin": ["EWR" + mark] * rows,
        "arr_delay": pa.array(actual, mask=late), "prediction": hidden * 0.85 + 1.0,
        "baseline": np.full(rows, 4.1), "model": ["v1" + mark] * rows,
        "segment": ["EWR-UA" + mark] * rows,
    })  # fmt: skip
    (folder / "predictions").mkdir()
    half = rows // 2
    pq.write_table(table.slice(0, half), folder / "predictions" / "part-0.parquet")
    pq.write_table(table.slice(half), folder / "predictions" / "part-1.parquet")
    _tasks(folder, 12, "score", mark)
    by_segment = {
        key: {"label": text, "rows": int(46_000 / (n + 1)) + 6, "rmse": 36.0 + n % 9, "mae": 22.4,
              "bias": 0.6 - n % 5 / 3, "baseline_rmse": 39.9 + n % 4}
        for n, (key, text) in enumerate(labels.items())
    }  # fmt: skip
    for part in list(by_segment.values())[::2]:
        part["intervals"] = {"rmse": [part["rmse"] - 1, part["rmse"] + 1],
                             "difference_rmse": [-2.5, 0.5]}  # fmt: skip
    overall = {
        "rows": 54_060, "rows_scored_against_truth": 52_911, "rmse": 36.47, "mae": 22.31,
        "r2": 0.174, "bias": 0.62, "baseline_rmse": 39.93, "baseline_mae": 24.87,
        "intervals": {"rmse": [35.9, 37.0], "difference_rmse": [-3.9, -3.1]},
    }  # fmt: skip
    months = [
        {"period": "2013-11" + mark, "rows": 26_971, "rmse": 31.2, "baseline_rmse": 33.4},
        {"period": "2013-12", "rows": 27_089, "rmse": 41.1, "baseline_rmse": 45.5},
    ]
    psi = {"wind_speed" + mark: 0.31, "distance": 0.004, "sched_hour": 0.012, "seats": 0.14}
    drift = {name: {"psi": value, "null_share_train": 0.004, "null_share_scored": 0.0}
             for name, value in psi.items()}  # fmt: skip
    names = [
        "leg_departure_delay" + mark,
        "seats",
        *(f"feature_{n}" for n in range(2, 24)),
        "carrier",
    ]
    importance = {
        "measure": "rmse", "plain": 36.51, "rows": 5_000, "rows_alone": 300, "repeats": 5,
        "features": [{"name": name, "mean": 4.2 * 0.7**n - 0.003, "std": 0.3 * 0.8**n}
                     for n, name in enumerate(names)],
    }  # fmt: skip
    return {"overall": overall, "by_segment": by_segment, "by_period": months, "drift": drift,
            "importance": importance}  # fmt: skip
