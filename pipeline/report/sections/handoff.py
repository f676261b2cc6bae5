"""How the rows went from Spark to Ray, and what the other way would have cost."""

from __future__ import annotations

from typing import Any

from pipeline.report.blocks import (
    Badge,
    Block,
    Card,
    Cards,
    Cell,
    Column,
    Section,
    Table,
    not_yet,
)
from pipeline.report.formats import NONE, count, duration, percent, plural, size
from pipeline.report.inline import bar
from pipeline.report.inputs import ReportInputs
from pipeline.report.pick import mapping, number, text
from pipeline.report.visible import label, visible

_MODES = (
    Column("Mode", "code"),
    Column("Time", "number"),
    Column("Compared", "graphic"),
    Column("Known from", "prose"),
)


def build(inputs: ReportInputs) -> Section:
    metrics = inputs.metrics("convert")
    if not metrics:
        return not_yet("hand-off", "Hand-off", "convert")
    mode = label(metrics.get("mode") or NONE)
    lead = f"Spark's rows became a Ray Dataset through the {mode} mode."
    if text(metrics, "reason"):
        lead += f" Reason: {visible(metrics['reason'])}."
    seconds, bytes_ = number(metrics, "seconds_transfer"), number(metrics, "bytes")
    speed = bytes_ / seconds if seconds and bytes_ is not None else None
    checked = text(metrics, "checksums")
    cards = (
        Card("Rows", count(number(metrics, "rows")),
             f"in {plural(number(metrics, 'blocks') or 0, 'block')}"),
        Card("Size in memory", size(bytes_), f"{size(speed)}/s" if speed else ""),
        Card("Transfer", duration(seconds), f"{count(number(metrics, 'rows_per_second'))} rows/s"),
        Card("Checksums", label(checked or NONE).capitalize(), "rows, schema, each column",
             "good" if checked == "verified" else "plain"),
    )  # fmt: skip
    blocks: list[Block] = [Cards(cards)]
    other = mapping(metrics, "other_mode")
    if other:
        blocks.append(_modes(mode, seconds, other))
    return Section("hand-off", "Hand-off", lead, blocks)


def _modes(mode: str, seconds: float | None, other: dict[str, Any]) -> Table:
    guess = number(other, "estimated_seconds")
    longest = max(seconds or 0, guess or 0)
    basis = visible(text(other, "basis") or "no basis was recorded")
    rows: list[tuple[Cell, ...]] = [
        (mode, duration(seconds), bar((seconds or 0) / longest if longest else 0),
         Badge("measured", "accent")),
        (label(other.get("mode") or NONE), duration(guess),
         bar((guess or 0) / longest if longest else 0, "muted"), f"estimated: {basis}"),
    ]  # fmt: skip
    note = ""
    if seconds and guess:
        less = 1 - guess / seconds
        word = "less" if less >= 0 else "more"
        note = f"The other mode would have taken an estimated {percent(abs(less))} {word} time."
    return Table("This mode and the other one", _MODES, rows, note)
