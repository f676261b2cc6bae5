"""Numbers, text, spans and choices, one by one."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.champions import chosen, left_out
from pipeline.report.formats import count, decimal, duration, metric, percent, size, when
from pipeline.report.inline import histogram
from pipeline.report.plots.timeline import Span
from pipeline.report.sections.data_in import _inside
from pipeline.report.sections.run import spans
from pipeline.report.visible import label, visible, visible_lines


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (count(336_776), "336,776"),
        (count(None), "\u2013"),
        (decimal(0.04567), "0.0457"),
        (decimal(-1234.5), "\u22121,234"),
        (metric(36.4678, "min"), "36.47 min"),
        (metric(-0.0667, like=36), "\u22120.07"),
        (metric(-0.001, like=36), "0.00"),
        (metric(0.0312), "0.0312"),
        (percent(0.0861), "8.6 %"),
        (percent(0.00001), "< 0.1 %"),
        (percent(-0.5, signed=True), "\u221250.0 %"),
        (duration(0.123), "0.12 s"),
        (duration(134.2), "2 min 14 s"),
        (duration(59.7), "1 min 00 s"),
        (duration(7260), "2 h 01 min"),
        (size(185_000_000), "176 MiB"),
        (size(0), "0 B"),
        (when("2026-11-23T09:13:02+01:00"), "2026-11-23 08:13 UTC"),
        (when("no time"), "no time"),
    ],
)
def test_numbers_read_well(shown: str, wanted: str) -> None:
    assert shown.replace("\u00a0", " ") == wanted


@given(st.text(st.characters(codec=None)))
def test_visible_text_has_nothing_invisible_and_can_be_written(text: str) -> None:
    shown = visible(text)
    shown.encode()
    assert not re.search("[\x00-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ufeff]", shown)
    assert visible(shown, 10_000) == shown


def test_long_text_is_shortened_and_says_so() -> None:
    assert visible("x" * 5_000, 10) == "xxxxxxxxxx\u2026 (5,000 characters)"
    assert visible_lines("a\nb\x1b\n" + "x" * 30_000).startswith("a\nb\u2039ESC\u203a\nxxx")
    assert len(visible_lines("x\n" * 30_000)) < 21_000
    assert label("") == label("  ") == "(empty)"


def test_spans_pair_what_started_with_what_ended() -> None:
    events = [
        {"event": "engine_started", "name": "ray", "elapsed": 5.0, "seconds": 4.0},
        {"event": "stage_skipped", "stage": "ingest", "elapsed": 0.5},
        {"event": "stage_started", "stage": "train", "elapsed": 6.0},
        {"event": "stage_failed", "stage": "train", "elapsed": 7.0},
        {"event": "stage_finished", "stage": "infer", "elapsed": 7.0},
    ]
    assert spans(events, "stage", "stage", 9.0) == [
        Span("ingest", 0.5, 0.5, "skipped"),
        Span("train", 6.0, 7.0),
    ]
    assert spans(events, "engine", "name", 9.0) == [Span("ray", 1.0, 9.0, "so far")]


@given(
    st.lists(st.tuples(st.integers(0, 99), st.none() | st.floats(-1, 1)), max_size=60),
    st.integers(1, 20),
)
def test_the_chosen_segments_hold_the_largest_and_the_worst(
    parts: list[tuple[int, float | None]], limit: int
) -> None:
    picked = chosen(parts, limit, lambda p: p[0], lambda p: p[1])
    assert len(picked) <= limit
    assert [p[0] for p in picked] == sorted((p[0] for p in picked), reverse=True)
    if parts:
        assert picked[0][0] == max(p[0] for p in parts)
    known = [p[1] for p in parts if p[1] is not None]
    if known and limit > 1:
        assert min(known) in [p[1] for p in picked]
    assert bool(left_out(len(parts), picked, "x")) == (len(parts) > len(picked))


def test_a_source_cannot_lead_out_of_the_quarantine(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path)) / "quarantine"
    (folder / "flights").mkdir(parents=True)
    assert _inside(folder, "flights") == (folder / "flights").resolve()
    assert _inside(folder, "..") is None
    assert _inside(folder, "/etc") is None


def test_a_histogram_that_cannot_be_drawn_is_left_out() -> None:
    assert histogram(([0.0, 1.0], [0.0]), None, "empty") == ""
    assert histogram(([1.0, 1.0], [3.0]), ([0.0], []), "no width") == ""
    drawn = histogram(([0.0, 1.0, 2.0], [1.0, 3.0]), None, 'a "quoted" <name>')
    assert "&lt;name&gt;" in drawn and '"a &#34;quoted' in drawn


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("theme", [0, 1])
def test_text_has_the_contrast_of_wcag_aa(theme: int) -> None:
    css = files("pipeline.report").joinpath("templates", "report.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--(\w+): (#\w{6});", css.split("@media screen")[theme]))
    for ground in ("bg", "surface"):
        for text in ("text", "muted", "accent", "good", "warn", "bad"):
            pair = sorted((_luminance(colours[ground]), _luminance(colours[text])))
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (ground, text)
