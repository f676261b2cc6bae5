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
    Figure,
    Grid,
    Notice,
    Pair,
    Section,
    Table,
    Tone,
    not_yet,
)
from pipeline.report.champions import chosen, left_out
from pipeline.report.formats import NONE, count, gain, metric, percent, plural, when
from pipeline.report.inputs import ReportInputs
from pipeline.report.pick import interval, mapping, number, records, text
from pipeline.report.plots.reliability import reliability
from pipeline.report.plots.whiskers import Estimate, whiskers
from pipeline.report.visible import label, visible

MAX_PERIODS = 60
MAX_FEATURES = 100
_DIFFERENCE = "difference_rmse"
_BELOW = "Below a value, and as the difference, stands its bootstrap interval."


def build(inputs: ReportInputs) -> Section:
    metrics = inputs.metrics("infer")
    if not metrics:
        return not_yet("held-out", "Held-out test", "infer")
    unit = label(inputs.measure_unit, 12) if inputs.measure_unit else ""
    overall = mapping(metrics, "overall")
    errors = _Errors(unit, number(overall, inputs.measure[0]), *inputs.measure)
    blocks: list[Block] = [_overall(overall, unit, inputs)]
    figures, said = _plots(inputs, metrics)
    blocks += [Grid(figures)] if figures else []
    blocks += [Notice(said)] if said else []
    periods = records(metrics, "by_period")
    blocks += [_periods(periods, errors)] if periods else []
    segments = mapping(metrics, "by_segment")
    blocks += _differences(segments, inputs.segments_shown, errors)
    blocks += [_segments(segments, inputs.segments_shown, errors)] if segments else []
    drift = mapping(metrics, "drift")
    blocks += [_drift(drift)] if drift else []
    return Section("held-out", "Held-out test", _lead(inputs), blocks)


def _plots(inputs: ReportInputs, metrics: dict[str, Any]) -> tuple[tuple[Figure, ...], str]:
    if inputs.task == "regression":
        return predictions.plots(inputs)
    bins = [b for b in records(metrics, "reliability") if number(b, "rows")]
    return ((reliability(bins),), "") if bins else ((), "")


def _lead(inputs: ReportInputs) -> str:
    split = mapping(inputs.metrics("preprocess"), "split")
    test_from, rule = text(split, "test_from"), text(split, "test", "rule")
    drawn = f"The held-out rows ({visible(rule)})" if rule else "The held-out rows"
    rows = f"Rows from {when(test_from)} on" if test_from else drawn
    return f"{rows} took no part in any fit or choice; they show how the champions do on new rows."


@dataclass(frozen=True)
class _Errors:
    """Columns of errors that share a unit, in the head, and a number of decimals."""

    unit: str
    scale: float | None
    key: str
    name: str

    def head(self, name: str) -> Column:
        return Column(f"{name}, {self.unit}" if self.unit else name, "number")

    def cell(self, part: dict[str, Any], key: str) -> str:
        return metric(number(part, key), like=self.scale)

    @property
    def columns(self) -> tuple[Column, ...]:
        name = self.name if self.key == "rmse" else self.name.lower()
        names = (self.head(self.name), self.head(f"Baseline {name}"))
        return (Column("Rows", "number"), *names, Column("Gain", "number"))

    def cells(self, part: dict[str, Any]) -> tuple[Cell, ...]:
        change = percent(self.gain(part), signed=True)
        score = _with_range(self.cell(part, self.key), interval(part, self.key), self.scale)
        scores = (score, self.cell(part, f"baseline_{self.key}"))
        return (count(number(part, "rows")), *scores, change)

    def gain(self, part: dict[str, Any]) -> float | None:
        return gain(number(part, self.key), number(part, f"baseline_{self.key}"))

    def difference(self, part: dict[str, Any]) -> tuple[str, ...]:
        """To the baseline, as an interval; only the errors of regressions have one."""
        return (_range(interval(part, _DIFFERENCE), self.scale),) if self.key == "rmse" else ()

    @property
    def more(self) -> tuple[tuple[str, str], ...]:
        """Further measures of a segment: key and name."""
        return _MORE.get(self.key, ())


_MORE = {
    "rmse": (("mae", "MAE"), ("bias", "Bias")),
    "log_loss": (("accuracy", "Accuracy"), ("balanced_accuracy", "Balanced accuracy")),
    "pinball": (("coverage", "Coverage"),),
}
_Measure = tuple[str, str, bool, str]
_CLASSES: tuple[_Measure, ...] = (
    ("Log loss", "log_loss", False, "mean of \u2212ln of the true class's probability"),
    ("Brier score", "brier", False, "mean square of the probabilities' errors"),
    ("Accuracy", "accuracy", True, "share of rows whose class is predicted right"),
    ("Balanced accuracy", "balanced_accuracy", True, "mean of the classes' shares predicted right"),
    (
        "ROC AUC",
        "roc_auc",
        True,
        "chance that a row of the class is ranked above another; 0.5 is none",
    ),
    ("ROC AUC", "roc_auc_ovr", True, "mean over the classes, each against the rest; 0.5 is none"),
)
_QUANTILES: tuple[_Measure, ...] = (
    (
        "Pinball loss",
        "pinball",
        False,
        "mean over the quantiles; errors above and below weigh by it",
    ),
)


def _overall(overall: dict[str, Any], unit: str, inputs: ReportInputs) -> Table:
    difference = (Column("Difference to baseline", "number"),)
    columns = (
        Column("Measure"),
        Column("Champions", "number"),
        Column("Baseline", "number"),
        Column("Gain", "number"),
        *(difference if inputs.task == "regression" else ()),
        Column("Meaning", "prose"),
    )
    rows = _rows(overall, unit, inputs.task) or [
        _measure(overall, "RMSE", "rmse", unit, "typical error; large ones weigh more"),
        _measure(overall, "MAE", "mae", unit, "mean size of the error"),
        _measure(overall, "Bias", "bias", unit, "mean of predicted \u2212 actual; zero is best"),
        _measure(overall, "R²", "r2", "", "share of the variance explained; 1 is best"),
    ]
    known, rows_in = number(overall, "rows_scored_against_truth"), number(overall, "rows")
    note = f"{count(known)} of {count(rows_in)} scored rows have a known truth."
    if "intervals" in overall:
        note += f" {_BELOW}"
    return Table("Errors on the held-out rows", columns, rows, note)


def _rows(overall: dict[str, Any], unit: str, task: str) -> list[tuple[Cell, ...]]:
    """The measures of classes or of quantiles; none of a regression."""
    measures = {"classification": _CLASSES, "quantile": _QUANTILES}.get(task, ())
    rows: list[tuple[Cell, ...]] = []
    for name, key, greater, meaning in measures:
        if key not in overall:
            continue
        score, base = number(overall, key), number(overall, f"baseline_{key}")
        change = percent(gain(score, base, greater), signed=True)
        like = 1.0 if task == "classification" else score
        rows.append((name, metric(score, unit, like), metric(base, unit, like), change, meaning))
    if task == "quantile":
        score, base = number(overall, "coverage"), number(overall, "baseline_coverage")
        meaning = "share of the rows from the lowest quantile to the highest"
        rows.append(("Coverage", percent(score), percent(base), NONE, meaning))
        for level, share in mapping(overall, "below").items():
            meaning = f"share of the rows at or below it; {percent(float(level))} is best"
            known = number({"share": share}, "share")
            rows.append((f"Quantile {label(level, 12)}", percent(known), NONE, NONE, meaning))
    return rows


def _measure(
    overall: dict[str, Any], name: str, key: str, unit: str, meaning: str
) -> tuple[Cell, ...]:
    score, base = number(overall, key), number(overall, f"baseline_{key}")
    scale = 1.0 if key == "r2" else number(overall, "rmse")
    change = percent(gain(score, base), signed=True) if key in ("rmse", "mae") else NONE
    return (
        name,
        _with_range(metric(score, unit, scale), interval(overall, key), scale),
        _with_range(metric(base, unit, scale), interval(overall, f"reference_{key}"), scale),
        change,
        _range(interval(overall, f"difference_{key}"), scale),
        meaning,
    )


def _with_range(value: str, found: tuple[float, float] | None, like: float | None) -> Cell:
    return value if found is None else Pair(value, _range(found, like))


def _range(found: tuple[float, float] | None, like: float | None) -> str:
    return NONE if found is None else " to ".join(metric(end, like=like) for end in found)


def _periods(periods: list[dict[str, Any]], errors: _Errors) -> Table:
    shown = periods[-MAX_PERIODS:]
    rows = [(label(period.get("period", "?")), *errors.cells(period)) for period in shown]
    hidden = len(periods) - len(shown)
    note = f"{hidden:,} earlier periods left out." if hidden else ""
    return Table("By period", (Column("Period"), *errors.columns), rows, note)


def _segments(segments: dict[str, Any], limit: int, errors: _Errors) -> Table:
    every = [{"key": key, **mapping(segments, key)} for key in segments]
    picked = chosen(every, limit, lambda part: number(part, "rows") or 0, errors.gain)
    rows = [
        (label(text(part, "label") or part["key"]), *errors.cells(part),
         *errors.difference(part), *(errors.cell(part, key) for key, _ in errors.more))
        for part in picked
    ]  # fmt: skip
    difference = [Column("Difference of RMSE", "number")] if errors.key == "rmse" else []
    more = [errors.head(name) for _, name in errors.more]
    columns = (Column("Segment"), *errors.columns, *difference, *more)
    note = left_out(len(every), picked, "infer's manifest")
    return Table("By segment, most rows first", columns, rows, note)


def _differences(segments: dict[str, Any], limit: int, errors: _Errors) -> list[Block]:
    """The segments' differences to their baselines, with whiskers; none without intervals."""
    known = [part for key in segments if interval(part := mapping(segments, key), _DIFFERENCE)]
    picked = chosen(known, limit, lambda part: number(part, "rows") or 0, errors.gain)
    estimates = [e for part in picked if (e := _estimate(part)) is not None]
    if not estimates:
        return []
    ordered = sorted(estimates, key=lambda e: (e.value, e.label))
    better, worse = sum(e.high < 0 for e in ordered), sum(e.low > 0 for e in ordered)
    said = f"Of {plural(len(ordered), 'segment')} with an interval, {count(better)} lie wholly "
    said += f"below zero (better than the baseline) and {count(worse)} wholly above."
    axis = "champion's RMSE \u2212 baseline's" + (f" ({errors.unit})" if errors.unit else "")
    return [whiskers("differences", ordered, axis, alt=said, caption=said)]


def _estimate(part: dict[str, Any]) -> Estimate | None:
    score, base = number(part, "rmse"), number(part, "baseline_rmse")
    found = interval(part, _DIFFERENCE)
    if score is None or base is None or found is None:
        return None
    return Estimate(text(part, "label") or "?", score - base, *found)


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
