"""The page as text: what it holds, what it must not hold, how large it may grow."""

from __future__ import annotations

import base64
import hashlib
import os
import pickle
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from report_artifacts import make
from report_html import Html

from pipeline.errors import StoreError
from pipeline.report.files import sample_rows
from pipeline.report.inputs import STAGES, ReportInputs
from pipeline.report.page import render

_MISSING = "has no artifact in this run"
_IDS = ["summary", "run", "data-in", "profile", "hand-off", "models", "held-out", "importance",
        "versions"]  # fmt: skip


def test_the_contents_name_every_section_once(page: str) -> None:
    html = Html(page)
    links = [a["href"] for a in html.all("a") if a["href"] not in ("#main", "#top")]
    assert links == [f"#{name}" for name in _IDS]
    assert len(html.ids()) == len(set(html.ids()))
    assert set(_IDS) <= set(html.ids())


def test_the_page_shows_the_result(page: str) -> None:
    text = Html(page).text.replace("\u00a0", " ")
    for said in (
        "On 52,911 held-out rows the champions predict with an RMSE of arr_delay of 36.47 min, "
        "8.7 % below the baseline's 39.93 min.",
        "its fingerprint changed: preprocess.features", "32 quarantined", "pooled_boosting",
        "planes: speed missing, filled (1 file); gate", "(2 files); columns in another order",
        "The other mode would have taken an estimated 81.2 % less time.", "some shift",
    ):  # fmt: skip
        assert said in text


def test_filters_and_rules_are_shown_with_those_that_rows_break_first(page: str) -> None:
    between_tags = re.sub("<[^>]+>", " ", page).replace("&#39;", "'")
    text = " ".join(between_tags.replace("\u00a0", " ").split())
    for said in (
        "Dropped by filters", "scheduled dep_time IS NOT NULL 100",
        "flights known_plane foreign key warned 336,744 52,606 15.6 % "
        "at most 10.0 %, at most 60,000 rows 52,606 of 336,744 rows (15.62%) break it "
        "'517,455' in flights.csv row 17 flights leaves_first",
        "at most 24 h old, as of 2014-01-01", "rows ± 50.0 %, mean ± 0.25 standard deviations",
    ):  # fmt: skip
        assert said in text


def test_errors_are_shown_with_their_intervals(page: str) -> None:
    text = Html(page).text.replace("\u00a0", " ")
    assert "35.90 to 37.00" in text and "\u22123.90 to \u22123.10" in text
    assert "Of 18 segments with an interval, 0 lie wholly below zero" in text


def test_the_most_important_features_are_plotted_and_all_are_listed(page: str) -> None:
    text = Html(page).text.replace("\u00a0", " ")
    for said in (
        "Rise of RMSE, min", "here they are 300 of 5,000", "not what causes the target",
        "the RMSE of these rows is 36.51 min", "The other 5 are in the table.",
    ):  # fmt: skip
        assert said in text
    (plot,) = [
        a["aria-label"].replace("\u00a0", " ")
        for a in Html(page).all("svg")
        if a.get("aria-label", "").startswith("Rise of RMSE")
    ]
    assert "leg_departure_delay 4.20 min; seats 2.94 min" in plot


def test_without_importance_the_page_says_so(inputs: ReportInputs) -> None:
    metrics = {k: v for k, v in inputs.metrics("infer").items() if k != "importance"}
    manifests = {**inputs.manifests, "infer": {**inputs.manifests["infer"], "metrics": metrics}}
    assert "Feature importance was not computed" in render(replace(inputs, manifests=manifests))


def test_classes_are_shown_without_what_only_numbers_have(inputs: ReportInputs) -> None:
    train, infer = (dict(inputs.manifests[stage]["metrics"]) for stage in ("train", "infer"))
    train |= {"task": "classification", "scorer": "log_loss"}
    scores = {"log_loss": 0.41, "accuracy": 0.8, "balanced_accuracy": 0.6, "baseline_log_loss": 0.5}
    infer["overall"] = {"rows": 90, "rows_scored_against_truth": 80, "roc_auc": 0.7, **scores}
    infer["by_segment"] = {"a": {"label": "A", "rows": 80, **scores}}
    infer["by_period"] = [{"period": "2013-11", "rows": 80, **scores}]
    infer["reliability"] = [{"rows": 80, "mean_probability": 0.3, "observed_share": 0.25}]
    infer["importance"] = {**infer["importance"], "measure": "log_loss"}
    changed = {
        stage: {**inputs.manifests[stage], "metrics": metrics}
        for stage, metrics in (("train", train), ("infer", infer))
    }
    text = Html(render(replace(inputs, manifests={**inputs.manifests, **changed}))).text
    for said in ("Log loss", "Balanced accuracy", "ROC AUC", "0.41"):
        assert said in text
    for said in ("RMSE", "Difference", "bootstrap", "residual"):
        assert said not in text


@pytest.mark.parametrize("kind", ["group", "stratified"])
def test_folds_that_are_not_by_time_are_shown_by_their_rows(
    inputs: ReportInputs, kind: str
) -> None:
    folds = [{"rows_train": 7_001, "rows_valid": 2_345}, {"rows_train": 2_345, "rows_valid": 7_001}]
    split = {**inputs.metrics("preprocess")["split"], "kind": kind, "folds": folds}
    if kind == "group":
        split |= {"group": ["tailnum"], "folds": [fold | {"groups_valid": 41} for fold in folds]}
    metrics = {**inputs.metrics("preprocess"), "split": split}
    preprocess = {**inputs.manifests["preprocess"], "metrics": metrics}
    page = render(replace(inputs, manifests={**inputs.manifests, "preprocess": preprocess}))
    text = Html(page).text
    assert "7,001" in text and "2,345" in text and "25.1" in text
    assert ("values of tailnum are a group" in text) == (kind == "group")
    assert ("Groups validated" in text) == (kind == "group")
    assert "2 folds validate on 2,345, 7,001 of 9,346 training rows" in page
    assert "Train until" not in text and "come after all rows" not in text


def test_the_test_is_shown_with_its_rule_its_gap_and_what_it_leaves_without_rows(
    inputs: ReportInputs,
) -> None:
    test = {"rule": "rows from <then> on", "gap_days": 7, "gap_rows": 8_123,
            "gap_from": "2013-10-25T00:00:00+00:00"}  # fmt: skip
    split = {**inputs.metrics("preprocess")["split"], "test": test, "folds_rule": "in turn",
             "train_first": "2013-01-01T05:00:00+00:00"}  # fmt: skip
    segments = {"count": 9, "largest": 8, "smallest": 1, "without_test_rows": 3}
    metrics = {**inputs.metrics("preprocess"), "split": split, "segments": segments}
    preprocess = {**inputs.manifests["preprocess"], "metrics": metrics}
    manifests = {**inputs.manifests, "preprocess": preprocess}
    text = Html(render(replace(inputs, manifests=manifests))).text
    assert "Test: rows from <then> on. Folds: in turn." in text
    assert "Gap, left out" in text and "8,123" in text and "2013-01-01 05:00 UTC" in text
    assert "3 segments have no row to test." in text
    del split["test_from"]
    drawn = Html(render(replace(inputs, manifests=manifests))).text
    assert "The held-out rows (rows from <then> on) took no part" in drawn


def test_segments_without_a_model_of_their_own_are_counted_by_reason(inputs: ReportInputs) -> None:
    few = "training rows, fewer than min_rows = 50"
    reasons = [f"{n} {few}" for n in range(70)] + ["one class alone in the training rows"] * 3
    found = [{"segment": f"s{n}", "reason": reason} for n, reason in enumerate(reasons)]
    train = {**inputs.manifests["train"]}
    train["metrics"] = {**train["metrics"], "fallbacks": found}
    text = Html(render(replace(inputs, manifests={**inputs.manifests, "train": train}))).text
    assert "Segments without a model of their own: 73" in text
    assert f"By reason: {few}: 70; one class alone in the training rows: 3." in text


def test_the_model_card_is_on_the_page(page: str) -> None:
    text = Html(page).text
    assert "Model card" in text and "tested_only_on:" in text


def test_the_page_can_load_and_run_nothing(page: str) -> None:
    html = Html(page)
    for tag, attributes in html.elements:
        assert tag not in ("script", "iframe", "object", "embed", "form", "base")
        assert not {"src", "srcset", "style", "xlink:href"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
        assert attributes.get("href", "#").startswith(("#", "data:,"))
    assert "url(" not in html.style and "@import" not in html.style
    digest = base64.b64encode(hashlib.sha256(html.style.encode()).digest()).decode()
    policy = html.all("meta")[1]["content"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; ")


def test_plots_have_words_and_tables_have_captions(page: str) -> None:
    html = Html(page)
    plots = [a for a in html.all("svg") if a.get("class") in ("plot", "spark")]
    assert len(plots) >= 9
    assert all(len(a["aria-label"]) > 20 for a in plots)
    assert len(html.all("caption")) == len(html.all("table"))
    assert html.all("html")[0]["lang"] == "en"


def test_the_same_inputs_give_the_same_bytes(inputs: ReportInputs, page: str) -> None:
    code = (
        "import pickle, sys; from pipeline.report.page import render; "
        "sys.stdout.buffer.write(render(pickle.load(sys.stdin.buffer)).encode())"
    )
    again = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(inputs),
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
    )
    assert again.stdout.decode() == page


def test_hostile_text_stays_text(hostile: str, hostile_page: str, page: str) -> None:
    html, plain = Html(hostile_page), Html(page)
    assert {tag for tag, _ in html.elements} == {tag for tag, _ in plain.elements}
    assert (
        "{{7*7}}" in html.text
        and "\u2039ESC\u203a[31m" in html.text
        and "\u2039U+202E\u203a" in html.text
    )
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", hostile_page)
    assert html.style == plain.style
    hostile_page.encode()  # and no lone surrogate


def test_secrets_of_the_configuration_stay_hidden(page: str) -> None:
    assert "hunter2" not in page
    assert "password: '***'" in Html(page).text


@pytest.mark.parametrize("ran", range(len(STAGES)))
def test_a_run_that_got_only_so_far_has_a_page(inputs: ReportInputs, ran: int) -> None:
    there = STAGES[:ran]
    part = replace(
        inputs,
        manifests={stage: inputs.manifests[stage] for stage in there},
        folders={stage: inputs.folders[stage] for stage in there},
    )
    assert render(part).count(_MISSING) == (5 - ran) + (ran == 0) + (ran < 5)


def test_a_page_of_nothing_says_so() -> None:
    text = Html(render(ReportInputs("Nothing", "none"))).text
    assert text.count(_MISSING) == 7
    assert "No held-out test has been scored" in text


def test_a_failed_stage_is_said_first(inputs: ReportInputs) -> None:
    stages = [{"stage": "ingest", "action": "failed", "reason": "no column \u202edep_time"}]
    text = Html(render(replace(inputs, run={"status": "failed", "stages": stages}))).text
    assert "The stage ingest failed: no column \u2039U+202E\u203adep_time" in text


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    inputs = make(tmp_path / "a")
    path = inputs.folders["train"] / "leaderboard.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match=r"leaderboard\.parquet"):
        render(inputs)


@pytest.mark.parametrize(
    ("columns", "plots"),
    [
        ({"arr_delay": [None, None], "prediction": [1.0, 2.0], "baseline": [0.0, 0.0]}, 0),
        ({"arr_delay": [1.0], "prediction": [1.0], "baseline": [1.0]}, 3),
        ({"arr_delay": [1, 5], "prediction": [2.0, float("nan")], "baseline": [None, None]}, 3),
        ({"arr_delay": [1.0, 2.0], "prediction": [2.0, 3.0]}, 3),
        ({"arr_delay": ["a"], "prediction": [2.0], "baseline": [0.0]}, 0),
        ({"prediction": [2.0]}, 0),
        ({"arr_delay": [Decimal("1.5"), Decimal(2)], "prediction": [2.0, 3.0],
          "baseline": [1.0, 1.0], "sched_dep": [datetime(2013, 11, 1), datetime(2023, 1, 1)]}, 4),
    ],
)  # fmt: skip
def test_few_or_odd_predictions_are_plotted_as_far_as_they_go(
    inputs: ReportInputs, tmp_path: Path, columns: dict[str, Any], plots: int
) -> None:
    (tmp_path / "predictions").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "predictions" / "part-0.parquet")
    html = Html(render(replace(inputs, folders={"infer": tmp_path})))
    shown = [a for a in html.all("svg") if a.get("class") == "plot"]
    assert len(shown) == 4 + plots  # timeline, split, differences, importance: of the manifests
    assert ("can be plotted" in html.text or "to plot" in html.text) == (plots == 0)


def test_a_sample_of_many_predictions_is_the_same_each_time(tmp_path: Path) -> None:
    for part in range(3):
        rows = pa.table({"x": range(part * 1_000, (part + 1) * 1_000)})
        pq.write_table(rows, tmp_path / f"part-{part}.parquet", row_group_size=77)
    frame, step = sample_rows(tmp_path, ["x"], 700)
    assert step == 5
    assert frame["x"].tolist() == list(range(0, 3_000, 5))


def test_a_hundred_thousand_segments_stay_a_small_page(tmp_path: Path) -> None:
    page = render(make(tmp_path / "many", segments=100_000))
    assert len(page.encode()) < 2_000_000
    assert "40 of 100,000 segments" in page
    assert "99,960" in page


def test_the_usual_page_is_small(page: str) -> None:
    assert len(page.encode()) < 400_000


@pytest.mark.parametrize("seed", range(16))
def test_odd_values_never_stop_the_report(inputs: ReportInputs, seed: int) -> None:
    """A report is most wanted when something is wrong."""
    rng = random.Random(seed)
    odd = [None, float("nan"), float("inf"), -1, "", "x", [], {}, [None], True, "\ud800", 10**30]
    manifests = _spoiled(inputs.manifests, rng, odd)
    run, events = _spoiled(inputs.run, rng, odd), _spoiled(inputs.events, rng, odd)
    spoiled = replace(inputs, manifests=manifests, run=run, events=events, folders={})
    render(spoiled).encode()


def _spoiled(value: Any, rng: random.Random, odd: list[Any]) -> Any:
    """The value with some of its parts, large or small, replaced; the top level stays."""
    if isinstance(value, dict):
        return dict(_parts(value.items(), rng, odd))
    if isinstance(value, list):
        return [part for _, part in _parts(enumerate(value), rng, odd)]
    return value


def _parts(parts: Any, rng: random.Random, odd: list[Any]) -> Iterator[tuple[Any, Any]]:
    for key, part in parts:
        top = key in STAGES or isinstance(key, int)
        spoil = not top and rng.random() < 0.12
        yield key, rng.choice(odd) if spoil else _spoiled(part, rng, odd)
