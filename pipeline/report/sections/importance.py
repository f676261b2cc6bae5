"""What the predictions of held-out rows owe to each feature."""

from __future__ import annotations

from typing import Any

from pipeline.report.blocks import Block, Column, Figure, Notice, Prose, Section, Table, not_yet
from pipeline.report.formats import count, metric, plural
from pipeline.report.inputs import ReportInputs
from pipeline.report.pick import mapping, number, records
from pipeline.report.plots.importance import Rise, importances
from pipeline.report.visible import label

PLOTTED = 20
MAX_FEATURES = 100

_FEW, _MANY = 0.01, 0.1  # shares of rows that cannot be permuted
_ID, _TITLE = "importance", "Feature importance"
_NAMES = {"rmse": "RMSE", "mae": "MAE", "log_loss": "log loss", "pinball": "pinball loss"}
_LIMITS = (
    "What it does not say: features that tell much the same share the effect, so each of them can "
    "look unimportant alone; a feature that is constant within its segment (the columns that make "
    "up the segment are) shows zero; below zero the models did better without the feature on these "
    "rows, by chance or because what they learned of it has changed; and it tells what the models "
    "use, not what causes the target."
)


def build(inputs: ReportInputs) -> Section:
    metrics = inputs.metrics("infer")
    if not metrics:
        return not_yet(_ID, _TITLE, "infer")
    found = mapping(metrics, "importance")
    rises = [
        Rise(str(f.get("name", "?")), float(mean), float(number(f, "std") or 0))
        for f in records(found, "features")
        if (mean := number(f, "mean")) is not None
    ]
    if not rises:
        said = "Feature importance was not computed: infer.importance.rows is 0, or no held-out "
        return Section(_ID, _TITLE, "", (Notice(f"{said}row has a known target."),))
    name = _NAMES.get(str(found.get("measure")), "error")
    unit = label(inputs.measure_unit, 12) if inputs.measure_unit else ""
    blocks: list[Block] = [Prose(_LIMITS), *_alone(found)]
    blocks += [_plot(rises, name, unit), _table(rises, name, unit, number(found, "plain"))]
    return Section(_ID, _TITLE, _lead(found, name), blocks)


def _lead(found: dict[str, Any], name: str) -> str:
    rows, repeats = number(found, "rows") or 0, number(found, "repeats") or 0
    return (
        f"By how much the {name} of the champions rises when one feature's values change places "
        f"among the rows of a segment, on {plural(rows, 'held-out row')}; mean and standard "
        f"deviation of {plural(repeats, 'permutation')}."
    )


def _alone(found: dict[str, Any]) -> list[Block]:
    alone, rows = number(found, "rows_alone") or 0, number(found, "rows") or 0
    if alone <= rows * _FEW:
        return []
    said = "Rows that are alone in their segment change places with none, which makes every value "
    said += f"smaller; here they are {count(alone)} of {count(rows)}. A larger "
    said += "infer.importance.rows draws more of each segment."
    return [Notice(said, "warn" if alone > rows * _MANY else "plain")]


def _plot(rises: list[Rise], name: str, unit: str) -> Figure:
    shown = rises[:PLOTTED]
    said = "; ".join(
        f"{label(r.feature, 30)} {metric(r.mean, unit, shown[0].mean)}" for r in shown[:5]
    )
    hidden = (
        f" The other {count(len(rises) - PLOTTED)} are in the table." if rises[PLOTTED:] else ""
    )
    return importances(
        shown,
        f"rise of {name}" + (f" ({unit})" if unit else ""),
        alt=f"Rise of {name} with each feature permuted, the largest first: {said}.",
        caption=f"The larger the rise, the more the champions rely on the feature. Lines span one "
        f"standard deviation to each side.{hidden}",
    )


def _table(rises: list[Rise], name: str, unit: str, plain: float | None) -> Table:
    scale = max(abs(r.mean) for r in rises)
    columns = (
        Column("Feature"),
        Column(f"Rise of {name}" + (f", {unit}" if unit else ""), "number"),
        Column("± over permutations", "number"),
    )
    rows = [
        (label(r.feature), metric(r.mean, like=scale), metric(r.std, like=scale))
        for r in rises[:MAX_FEATURES]
    ]
    hidden = len(rises) - len(rows)
    note = f"Unpermuted, the {name} of these rows is {metric(plain, unit)}."
    note += f" {hidden:,} more features left out." if hidden else ""
    return Table("Features, the most important first", columns, rows, note)
