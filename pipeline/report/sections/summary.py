"""What a reader wants to know first."""

from __future__ import annotations

from pipeline.report.blocks import Block, Card, Cards, Notice, Section, Tone
from pipeline.report.formats import (
    NONE,
    count,
    duration,
    gain,
    metric,
    percent,
    plural,
    size,
    when,
)
from pipeline.report.inputs import STAGES, ReportInputs
from pipeline.report.pick import mapping, number, text
from pipeline.report.visible import label

_DONE = {"done", "ok", "succeeded", "success", "finished", "complete", "completed"}
_BROKEN = {"failed", "error", "interrupted", "crashed", "aborted"}


def build(inputs: ReportInputs) -> Section:
    cards = (_status(inputs), _rows(inputs), _models(inputs), _error(inputs), _time(inputs))
    blocks: list[Block] = [Cards(cards)]
    for name, row in inputs.stage_rows.items():
        if row.get("action") == "failed":
            why = text(row, "reason") or "no reason was recorded"
            blocks.append(Notice(f"The stage {name} failed: {why}", "bad"))
    return Section("summary", "Summary", headline(inputs), blocks)


def headline(inputs: ReportInputs) -> str:
    """The result in one sentence."""
    overall = mapping(inputs.metrics("infer"), "overall")
    key, name = inputs.measure
    score, base = number(overall, key), number(overall, f"baseline_{key}")
    better = gain(score, base)
    if score is None or better is None:
        return "No held-out test has been scored in this run yet."
    rows = number(overall, "rows_scored_against_truth") or number(overall, "rows")
    unit = label(inputs.measure_unit, 12) if inputs.measure_unit else ""
    article = "an RMSE" if key == "rmse" else f"a {name.lower()}"
    side = "below" if better >= 0 else "above"
    of = f" of {label(inputs.target)}" if inputs.target else ""
    return (
        f"On {count(rows)} held-out rows the champions predict with {article}{of} of "
        f"{metric(score, unit)}, {percent(abs(better))} {side} the baseline's {metric(base, unit)}."
    )


def state(inputs: ReportInputs) -> tuple[str, Tone]:
    """The run's status as a word, and its tone."""
    status = text(inputs.run, "status")
    rows = inputs.stage_rows
    if status is None:
        return "Not recorded", "plain"
    if status.lower() in _BROKEN or any(r.get("action") == "failed" for r in rows.values()):
        return label(status.capitalize(), 24), "bad"
    if status.lower() in _DONE:
        return "Done", "good"
    # The report is the last stage, so the run that it shows is still open when it is written.
    if status.lower() == "running" and all(stage in rows for stage in STAGES[:-1]):
        return "Done", "good"
    return label(status.capitalize(), 24), "plain"


def _status(inputs: ReportInputs) -> Card:
    word, tone = state(inputs)
    actions = [str(row.get("action")) for row in inputs.stage_rows.values()]
    parts = [
        f"{actions.count(action)} {action}"
        for action in ("run", "skipped", "failed")
        if action in actions
    ]
    return Card("Status", word, "stages: " + ", ".join(parts) if parts else "",
                "bad" if tone == "bad" else "plain")  # fmt: skip


def _rows(inputs: ReportInputs) -> Card:
    manifest = inputs.manifests.get("ingest")
    rows, bad = number(manifest, "rows_in"), number(manifest, "rows_quarantined")
    share = bad / rows if rows and bad is not None else None
    sub = f"{count(bad)} quarantined ({percent(share)})" if bad is not None else ""
    return Card("Rows read", count(rows), sub)


def _models(inputs: ReportInputs) -> Card:
    metrics = inputs.metrics("train")
    segments, fits = number(metrics, "segments"), number(metrics, "fits")
    failed = number(metrics, "fits_failed") or 0
    sub = f"from {plural(fits, 'fit')}" if fits is not None else ""
    return Card("Champions", count(segments), f"{sub}, {count(failed)} failed" if sub else "")


def _error(inputs: ReportInputs) -> Card:
    overall = mapping(inputs.metrics("infer"), "overall")
    key, name = inputs.measure
    title = f"Test {name if key == 'rmse' else name.lower()}"
    score, base = number(overall, key), number(overall, f"baseline_{key}")
    unit = label(inputs.measure_unit, 12) if inputs.measure_unit else ""
    better = gain(score, base)
    if better is None:
        return Card(title, metric(score, unit))
    word = "lower than" if better >= 0 else "higher than"
    tone: Tone = "good" if better > 0 else "bad"
    sub = f"{percent(abs(better))} {word} the baseline"
    return Card(title, metric(score, unit), sub, tone)


def _time(inputs: ReportInputs) -> Card:
    peak = number(inputs.run, "peak_memory_bytes")
    return Card("Total time", duration(run_seconds(inputs)), f"{size(peak)} peak" if peak else "")


def run_seconds(inputs: ReportInputs) -> float | None:
    """How long the run took, or has taken so far."""
    recorded = number(inputs.run, "seconds")
    elapsed = [t for e in inputs.events if (t := number(e, "elapsed")) is not None]
    return recorded if recorded else max(elapsed, default=None)


def facts(inputs: ReportInputs) -> str:
    """One line under the title: which run this was, when and where."""
    machine = mapping(inputs.run, "machine")
    cores = number(machine, "cores")
    memory = number(machine, "memory_bytes")
    parts = [
        f"run {label(inputs.run['run_id'], 60)}" if text(inputs.run, "run_id") else "",
        f"started {when(inputs.run.get('started_at'))}" if inputs.run.get("started_at") else "",
        plural(cores, "core") if cores else "",
        f"{size(memory)} memory" if memory else "",
        label(machine["platform"], 60) if text(machine, "platform") else "",
    ]
    return " · ".join(part for part in parts if part) or NONE
