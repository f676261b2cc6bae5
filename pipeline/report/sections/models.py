"""Which candidates won, how far above the baseline, and what failed."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from pipeline.report.blocks import (
    Block,
    Cell,
    Column,
    Figure,
    Fold,
    Notice,
    Section,
    Table,
    not_yet,
)
from pipeline.report.champions import Champion, chosen, left_out, read_champions
from pipeline.report.formats import NONE, count, decimal, duration, metric, percent, plural
from pipeline.report.inline import bar
from pipeline.report.inputs import ReportInputs
from pipeline.report.leaderboard import Standing, standings
from pipeline.report.pick import number, records
from pipeline.report.plots.segments import Score, dumbbells
from pipeline.report.visible import label, visible

MAX_ROWS = 40
MAX_REASONS = 8
_COUNT = re.compile(r"^\d+ ")


def build(inputs: ReportInputs) -> Section:
    metrics = inputs.metrics("train")
    if not metrics:
        return not_yet("models", "Models", "train")
    champions = read_champions(inputs)
    blocks: list[Block] = []
    ranking = standings(inputs)
    if ranking:
        blocks.append(_leaderboard(ranking, inputs.scorer))
    if champions:
        picked = chosen(champions, inputs.segments_shown, lambda c: c.rows, lambda c: c.gain)
        note = left_out(len(champions), picked, "train's champions.json")
        blocks += [figure] if (figure := _plot(picked, inputs, note)) else []
        table = _champions(picked, inputs, note)
        blocks.append(Fold(f"Champions in numbers: {plural(len(picked), 'segment')}", (table,)))
    blocks.append(_failures(records(metrics, "errors"), metrics))
    fallbacks = records(metrics, "fallbacks")
    if fallbacks:
        blocks.append(_fallbacks(fallbacks, champions))
    return Section("models", "Models", _lead(metrics, champions), blocks)


def _lead(metrics: dict[str, Any], champions: list[Champion]) -> str:
    fits, reused = number(metrics, "fits") or 0, number(metrics, "fits_reused") or 0
    lead = f"{plural(fits, 'fit')} for {plural(number(metrics, 'segments') or 0, 'segment')}"
    lead += f", {count(reused)} of them taken over from an earlier run." if reused else "."
    dropped = number(metrics, "fits_dropped_by_halving") or 0
    late = number(metrics, "fits_without_time") or 0
    lead += f" Halving saved {plural(dropped, 'fit')} of hopeless candidates." if dropped else ""
    lead += f" The budget left no time for {plural(late, 'fit')}." if late else ""
    gains = sorted(c.gain for c in champions if c.gain is not None)
    if gains:
        ahead = sum(gain > 0 for gain in gains)
        lead += (
            f" In {count(ahead)} of {plural(len(gains), 'segment')} the champion beats the baseline"
            f" in cross-validation; the median gain is {percent(gains[len(gains) // 2])}."
        )
    return lead


def _leaderboard(ranking: list[Standing], scorer: str) -> Table:
    columns = (
        Column("Candidate"),
        Column("Champion in", "number"),
        Column("Share of segments", "graphic"),
        Column("Mean rank", "number"),
        Column(f"Mean {label(scorer, 24)}", "number"),
        Column("Fits", "number"),
        Column("Failed", "number"),
        Column("Time", "number"),
    )
    total = sum(s.wins for s in ranking)
    rows: list[tuple[Cell, ...]] = [
        (label(s.candidate, 120), count(s.wins), bar(s.wins / total if total else 0),
         decimal(s.rank), metric(s.score), count(s.fits), count(s.failed), duration(s.seconds))
        for s in ranking[:MAX_ROWS]
    ]  # fmt: skip
    note = "Mean rank: 1 is the best candidate of a segment, over all segments that it was fit in. "
    note += "Time: sum over its fits."
    return Table("Candidates", columns, rows, note)


def _plot(picked: list[Champion], inputs: ReportInputs, note: str) -> Figure | None:
    scores = [
        Score(c.label, c.score, c.baseline, c.gain or 0.0)
        for c in picked
        if c.score is not None and c.baseline is not None
    ]
    if not scores:
        return None
    better = "more" if inputs.greater_is_better else "less"
    caption = f"Champion and baseline by segment; the largest gain on top, {better} is better. "
    return dumbbells(scores, inputs.scorer, inputs.measure_unit, (caption + note).strip())


def _champions(picked: list[Champion], inputs: ReportInputs, note: str) -> Table:
    scorer = label(inputs.scorer, 24)
    scores = sorted(c.score for c in picked if c.score is not None)
    scale = scores[len(scores) // 2] if scores else None
    columns = (
        Column("Segment"),
        Column("Champion"),
        Column("Scope"),
        Column("Rows", "number"),
        Column(scorer, "number"),
        Column("± over folds", "number"),
        Column("Baseline", "number"),
        Column("Gain", "number"),
        Column("Fallback", "prose"),
    )
    rows: list[tuple[Cell, ...]] = [
        (label(c.label), label(c.candidate, 120), label(c.scope), count(c.rows),
         metric(c.score, like=scale), metric(c.spread, like=scale),
         metric(c.baseline, like=scale), percent(c.gain, signed=True),
         visible(c.fallback or NONE, 120))
        for c in picked
    ]  # fmt: skip
    return Table("Champions by segment, most rows first", columns, rows, note)


def _failures(errors: list[dict[str, Any]], metrics: dict[str, Any]) -> Block:
    failed, fits = number(metrics, "fits_failed") or 0, number(metrics, "fits") or 0
    if not errors:
        return Notice(
            f"{plural(failed, 'fit')} failed without a recorded error." if failed
            else "No fit failed.", "warn" if failed else "good"
        )  # fmt: skip
    rows = [
        (visible(e.get("error", "?"), 160), count(number(e, "count")),
         visible("" if e.get("example") is None else e["example"], 160))
        for e in errors[:MAX_ROWS]
    ]  # fmt: skip
    columns = (Column("Error", "prose"), Column("Fits", "number"), Column("Example", "prose"))
    share = percent(failed / fits) if fits else ""
    caption = f"Failed fits: {count(failed)} of {count(fits)}" + (f" ({share})" if share else "")
    hidden = len(errors) - len(rows)
    note = f"{plural(hidden, 'rarer error')} left out." if hidden else ""
    return Table(caption, columns, rows, note)


def _fallbacks(fallbacks: list[dict[str, Any]], champions: list[Champion]) -> Table:
    names = {c.key: c.label for c in champions}
    rows = [
        (label(names.get(str(f.get("segment")), f.get("segment", "?"))),
         visible(f.get("reason", "?")))
        for f in fallbacks[:MAX_ROWS]
    ]  # fmt: skip
    # Reasons that differ in a number of rows are one.
    counted = Counter(_COUNT.sub("", str(f.get("reason", "?"))) for f in fallbacks)
    said = [f"{visible(why)}: {count(n)}" for why, n in counted.most_common(MAX_REASONS)]
    hidden = len(fallbacks) - len(rows)
    note = f"By reason: {'; '.join(said)}."
    note += f" {plural(hidden, 'more segment')} left out." if hidden else ""
    columns = (Column("Segment"), Column("Reason", "prose"))
    return Table(f"Segments without a model of their own: {len(fallbacks):,}", columns, rows, note)
