"""The champion of each segment, and which segments a page has room for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pipeline.report.files import read_json
from pipeline.report.formats import count, gain
from pipeline.report.inputs import ReportInputs
from pipeline.report.pick import number, text

Part = TypeVar("Part")


@dataclass(frozen=True)
class Champion:
    key: str
    label: str
    candidate: str
    scope: str
    rows: float
    score: float | None
    spread: float | None
    baseline: float | None
    fallback: str | None
    greater_is_better: bool = False

    @property
    def gain(self) -> float | None:
        return gain(self.score, self.baseline, self.greater_is_better)


def read_champions(inputs: ReportInputs) -> list[Champion]:
    """Every segment's champion, in the artifact's order; none where there is no file."""
    found = read_json(inputs.file("train", "champions.json"))
    if not isinstance(found, dict):
        return []
    return [
        Champion(
            key=key,
            label=text(item, "label") or key,
            candidate=text(item, "candidate") or "?",
            scope=text(item, "scope") or "?",
            rows=number(item, "rows_train") or 0,
            score=number(item, "mean_score"),
            spread=number(item, "std_score"),
            baseline=number(item, "baseline_score"),
            fallback=text(item, "fallback"),
            greater_is_better=inputs.greater_is_better,
        )
        for key, item in found.items()
    ]


def chosen(
    parts: Sequence[Part],
    limit: int,
    rows: Callable[[Part], float],
    gain_of: Callable[[Part], float | None],
) -> list[Part]:
    """At most ``limit`` parts: half of them the largest, the rest those that gain least."""
    by_rows = sorted(range(len(parts)), key=lambda i: (-rows(parts[i]), i))
    if len(parts) <= limit:
        return [parts[i] for i in by_rows]
    largest = by_rows[: (limit + 1) // 2]
    taken = set(largest)
    # Segments without a gain (no baseline, no truth) say nothing about being worst: last.
    gains = {i: g for i in by_rows if i not in taken and (g := gain_of(parts[i])) is not None}
    worst = sorted(gains, key=lambda i: (gains[i], i))[: limit - len(largest)]
    kept = taken | set(worst)
    return [parts[i] for i in by_rows if i in kept]


def left_out(total: int, picked: Sequence[object], where: str) -> str:
    """What the reader does not see; empty where everything is shown."""
    hidden = total - len(picked)
    if not hidden:
        return ""
    return (
        f"{count(len(picked))} of {count(total)} segments: the largest, and of the others those "
        f"that gain least over the baseline. The other {count(hidden)} are in {where}."
    )
