"""The held-out test: rows that no choice was based on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.report import predictions
from pipeline.report.blocks import (
    Badge,
    Block,
    Cell,
    Column,
    Grid,
    Notice,
    Section,
    Table,
    Tone,
    not_yet,
)
from pipeline.report.champions import chosen, left_out
from pipeline.report.formats import NONE, count, gain, metric, percent, when
from pipeline.report.inputs import ReportInputs
from pipeline.report.pick import mapping, number, records, text
from pipeline.report.visible import label

MAX_PERIODS = 60
MAX_FEATURES = 100


def build(inputs: ReportInputs) -> Section:
    metrics = inputs.metrics("infer")
    if not metrics:
        return not_yet("held-out", "Held-out test", "infer")
    unit = label(inputs.target_unit, 12) if inputs.target_unit else ""
    overall = mapping(metrics, "overall")
    errors = _Errors(unit, number(overall, "rmse"))
    blocks: list[Block] = [_overall(overall, unit)]
    figures, said = predictions.plots(inputs)
    blocks += [Grid(figures)] if figures else []
    blocks += [Notice(said)] if said else []
    periods = records(metrics, "by_period")
    blocks += [_periods(periods, errors)] if periods else []
    segments = mapping(metrics, "by_segment")
    blocks += [_segments(segments, inputs.segments_shown, errors)] if segments else []
    drift = mapping(metrics, "drift")
    blocks += [_drift(drift)] if drift else []
    return Section("held-out", "Held-out test", _lead(inputs), blocks)


def _lead(inputs: ReportInputs) -> str:
    test_from = text(inputs.metrics("preprocess"), "split", "test_from")
    rows = f"Rows from {when(test_from)} on" if test_from else "The held-out rows"
    return f"{rows} took no part in any fit or choice; they show how the champions do on new rows."


@dataclass(frozen=True)
class _Errors:
    """Columns of errors that share a unit, in the head, and a number of decimals."""

    unit: str
    scale: float | None

    def head(self, name: str) -> Column:
        return Column(f"{name}, {self.unit}" if self.unit else name, "number")

    def cell(self, part: dict[str, Any], key: str) -> str:
        return metric(number(part, key), like=self.scale)

    @property
    def columns(self) -> tuple[Column, ...]:
        names = (self.head("RMSE"), self.head("Baseline RMSE"))
        return (Column("Rows", "number"), *names, Column("Gain", "number"))

    def cells(self, part: dict[str, Any]) -> tuple[Cell, ...]:
        change = percent(_gain(part), signed=True)
        scores = (self.cell(part, "rmse"), self.cell(part, "baseline_rmse"))
        return (count(number(part, "rows")), *scores, change)


def _gain(part: dict[str, Any]) -> float | None:
    return gain(number(part, "rmse"), number(part, "baseline_rmse"))


def _overall(overall: dict[str, Any], unit: str) -> Table:
    columns = (
        Column("Measure"),
        Column("Champions", "number"),
        Column("Baseline", "number"),
        Column("Gain", "number"),
        Column("Meaning", "prose"),
    )
    rows = [
        _measure(overall, "RMSE", "rmse", unit, "typical error; large ones weigh more"),
        _measure(overall, "MAE", "mae", unit, "mean size of the error"),
        _measure(overall, "Bias", "bias", unit, "mean of predicted \u2212 actual; zero is best"),
        _measure(overall, "R²", "r2", "", "share of the variance explained; 1 is best"),
    ]
    known, rows_in = number(overall, "rows_scored_against_truth"), number(overall, "rows")
    note = f"{count(known)} of {count(rows_in)} scored rows have a known truth."
    return Table("Errors on the held-out rows", columns, rows, note)


def _measure(
    overall: dict[str, Any], name: str, key: str, unit: str, meaning: str
) -> tuple[Cell, ...]:
    score, base = number(overall, key), number(overall, f"baseline_{key}")
    scale = 1.0 if key == "r2" else number(overall, "rmse")
    change = percent(gain(score, base), signed=True) if key in ("rmse", "mae") else NONE
    return (name, metric(score, unit, scale), metric(base, unit, scale), change, meaning)


def _periods(periods: list[dict[str, Any]], errors: _Errors) -> Table:
    shown = periods[-MAX_PERIODS:]
    rows = [(label(period.get("period", "?")), *errors.cells(period)) for period in shown]
    hidden = len(periods) - len(shown)
    note = f"{hidden:,} earlier periods left out." if hidden else ""
    return Table("By period", (Column("Period"), *errors.columns), rows, note)


def _segments(segments: dict[str, Any], limit: int, errors: _Errors) -> Table:
    every = [{"key": key, **mapping(segments, key)} for key in segments]
    picked = chosen(every, limit, lambda part: number(part, "rows") or 0, _gain)
    rows = [
        (label(text(part, "label") or part["key"]), *errors.cells(part),
         errors.cell(part, "mae"), errors.cell(part, "bias"))
        for part in picked
    ]  # fmt: skip
    columns = (Column("Segment"), *errors.columns, errors.head("MAE"), errors.head("Bias"))
    note = left_out(len(every), picked, "infer's manifest")
    return Table("By segment, most rows first", columns, rows, note)


def _drift(drift: dict[str, Any]) -> Table:
    ordered = sorted(drift.items(), key=lambda item: (-(number(item[1], "psi") or 0), item[0]))
    columns = (
        Column("Feature"),
        Column("PSI", "number"),
        Column("Reading"),
        Column("Empty in train", "number"),
        Column("Empty in scored rows", "number"),
    )
    rows = [
        (label(name), metric(number(d, "psi"), like=1.0), _reading(number(d, "psi")),
         percent(number(d, "null_share_train")), percent(number(d, "null_share_scored")))
        for name, d in ordered[:MAX_FEATURES]
    ]  # fmt: skip
    hidden = len(ordered) - len(rows)
    note = "PSI: population stability index of scored against training rows; by custom, below 0.1 "
    note += "is stable, above 0.25 a shift."
    note += f" {hidden:,} more features left out." if hidden else ""
    return Table("Drift of the features", columns, rows, note)


def _reading(psi: float | None) -> Cell:
    if psi is None:
        return NONE
    word, tone = _band(psi)
    return Badge(word, tone)


def _band(psi: float) -> tuple[str, Tone]:
    if psi < 0.1:
        return "stable", "good"
    return ("some shift", "warn") if psi < 0.25 else ("shifted", "bad")
