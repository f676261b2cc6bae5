"""What ran, why, and when."""

from __future__ import annotations

from typing import Any

from pipeline.report.blocks import (
    Badge,
    Block,
    Cell,
    Column,
    Figure,
    Notice,
    Section,
    Table,
    Tone,
)
from pipeline.report.files import read_json
from pipeline.report.formats import NONE, count, duration, size
from pipeline.report.inputs import STAGES, ReportInputs
from pipeline.report.pick import number, records, text
from pipeline.report.plots.timeline import Span, Task, run_timeline, task_timeline
from pipeline.report.sections.summary import run_seconds
from pipeline.report.visible import label

_TONES: dict[str, Tone] = {"run": "accent", "skipped": "plain", "failed": "bad"}
_COLUMNS = (
    Column("Stage"),
    Column("Action"),
    Column("Reason", "prose"),
    Column("Rows in", "number"),
    Column("Rows out", "number"),
    Column("Quarantined", "number"),
    Column("Time", "number"),
    Column("Peak memory", "number"),
    Column("Fingerprint", "code"),
)


def build(inputs: ReportInputs) -> Section:
    lead = "A stage runs when its fingerprint has no whole artifact in the store, and is skipped "
    lead += "when it has one. Each says why."
    blocks: list[Block] = [Table("Stages of this run", _COLUMNS, _rows(inputs))]
    timeline = _timeline(inputs)
    if timeline is None:
        blocks.append(Notice("The run's events were not recorded, so there is no timeline."))
    else:
        blocks.append(timeline)
    blocks += [figure for stage in ("train", "infer") if (figure := _tasks(inputs, stage))]
    return Section("run", "What ran and why", lead, blocks)


def _rows(inputs: ReportInputs) -> list[tuple[Cell, ...]]:
    recorded = inputs.stage_rows
    return [_row(stage, recorded.get(stage), inputs.manifests.get(stage, {})) for stage in STAGES]


def _row(stage: str, row: dict[str, Any] | None, manifest: dict[str, Any]) -> tuple[Cell, ...]:
    if row is None:
        # The page is written before its own stage ends.
        why = "writes this page" if stage == "report" else "not reached in this run"
        row, action = {}, Badge("writing" if stage == "report" else "not run")
    else:
        name = str(row.get("action", NONE))
        action, why = Badge(label(name), _TONES.get(name, "plain")), text(row, "reason") or NONE
    fingerprint = text(row, "fingerprint") or text(manifest, "fingerprint")
    return (
        stage,
        action,
        why,
        count(number(row, "rows_in")),
        count(number(row, "rows_out")),
        count(number(row, "rows_quarantined")),
        duration(number(row, "seconds")),
        size(number(row, "peak_memory_bytes")),
        fingerprint[:10] if fingerprint else NONE,
    )


def _timeline(inputs: ReportInputs) -> Figure | None:
    total = run_seconds(inputs)
    if not total:
        return None
    stages = spans(inputs.events, "stage", "stage", total)
    engines = spans(inputs.events, "engine", "name", total)
    return run_timeline(stages, engines, total) if stages or engines else None


def spans(events: list[dict[str, Any]], what: str, key: str, total: float) -> list[Span]:
    """Pair what started with what ended; what never ended lasts until the run's last event."""
    ended = {f"{what}_{word}" for word in ("finished", "stopped", "failed")}
    open_at: dict[str, float] = {}
    found: list[Span] = []
    for event in events:
        name, elapsed = text(event, key), number(event, "elapsed")
        if name is None or elapsed is None:
            continue
        happened = text(event, "event")
        if happened == f"{what}_skipped":
            found.append(Span(name, elapsed, elapsed, "skipped"))
        elif happened == f"{what}_started":
            # An engine's start is recorded once it is up, with the seconds that it took.
            before = (number(event, "seconds") or 0) if what == "engine" else 0
            open_at.setdefault(name, max(0.0, elapsed - before))
        elif happened in ended and name in open_at:
            found.append(Span(name, open_at.pop(name), elapsed))
    found += [Span(name, start, max(total, start), "so far") for name, start in open_at.items()]
    return sorted(found, key=lambda span: span.start)


def _tasks(inputs: ReportInputs, stage: str) -> Figure | None:
    listed = read_json(inputs.file(stage, "tasks.json"))
    tasks = []
    for item in records({"tasks": listed}, "tasks"):
        start, stop = number(item, "start"), number(item, "stop")
        if start is None or stop is None or stop < start:
            continue
        worker, kind = str(item.get("worker", "?")), str(item.get("kind", "task"))
        tasks.append(Task(worker, kind, max(start, 0.0), stop, int(number(item, "fits") or 0)))
    return task_timeline(stage, tasks) if any(task.stop > 0 for task in tasks) else None
