"""How the columns look in the training rows and in the held-out test rows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pipeline.report.blocks import (
    Badge,
    Block,
    Cell,
    Column,
    Figure,
    Fold,
    Heading,
    Notice,
    Pair,
    Section,
    Table,
    not_yet,
)
from pipeline.report.formats import NONE, count, decimal, instant, percent, plural, when
from pipeline.report.inline import Histogram, histogram
from pipeline.report.inputs import ReportInputs
from pipeline.report.pick import listing, mapping, number, numbers, records, text
from pipeline.report.plots.split import Fold as Period
from pipeline.report.plots.split import dealt_bars, split_bars
from pipeline.report.visible import label, visible

_HELD_APART = {
    "group": "By group: rows of one group are all validated on, or all trained on, in every fold.",
    "stratified": "Stratified: each fold validates on an equal share of the classes, or of low and "
    "high targets, of every segment.",
}
_FIRST = {"target": 0, "time": 1, "segment": 2}
_NUMERIC = ("Column", "Empty", "Distinct", "Mean", "Std. dev.", "Min", "Median", "Max")
_COUNTED = ("Column", "Empty", "Distinct")
_FOLDS = (
    Column("Fold"),
    Column("Train until", "number"),
    Column("Validate from", "number"),
    Column("Validate until", "number"),
    Column("Train rows", "number"),
    Column("Validation rows", "number"),
)
_DEALT = (
    Column("Fold"),
    Column("Train rows", "number"),
    Column("Validation rows", "number"),
    Column("Share validated", "number"),
)
_SIDES = (
    Column("Part"),
    Column("Rows", "number"),
    Column("With a target", "number"),
    Column("First row", "number"),
    Column("Last row", "number"),
)
_STEPS = (Column("Step"), Column("Kind"), Column("From", "code"))


def build(inputs: ReportInputs) -> Section:
    metrics = inputs.metrics("preprocess")
    if not metrics:
        return not_yet("profile", "Data profile", "preprocess")
    split, segments = mapping(metrics, "split"), mapping(metrics, "segments")
    lead = (
        f"{plural(number(split, 'train_rows') or 0, 'training row')} and "
        f"{plural(number(split, 'test_rows') or 0, 'held-out test row')} in "
        f"{plural(number(segments, 'count') or 0, 'segment')} of "
        f"{count(number(segments, 'smallest'))} to {count(number(segments, 'largest'))} rows."
    )
    blocks: list[Block] = []
    suspicious = records(metrics, "suspicious")
    if suspicious:
        blocks.append(_suspicious(suspicious))
    blocks += _without_use(mapping(metrics, "profile"))
    blocks += _profile(inputs, mapping(metrics, "profile"))
    blocks.append(Heading("Split and folds"))
    blocks += [_sides(split, segments)] if number(split, "train_rows") is not None else []
    if text(split, "kind") in _HELD_APART:
        blocks += _dealt(split)
    else:
        blocks += [figure] if (figure := _split(split)) else []
        blocks += [_folds(split)] if records(split, "folds") else []
    steps = [
        (label(s.get("name", "?")), label(kind), visible(s.get(kind) or NONE, 80))
        for s in records(metrics, "steps")
        for kind in [text(s, "kind") or "sql"]
    ]
    if steps:
        table = Table("Steps, in order", _STEPS, steps)
        blocks.append(Fold(plural(len(steps), "step"), (table,)))
    return Section("profile", "Data profile", lead, blocks)


def _suspicious(found: list[dict[str, Any]]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (Badge(label(item.get("feature", "?")), "warn"), visible(item.get("why", NONE)))
        for item in found[:50]
    ]
    hidden = len(found) - len(rows)
    note = f"{hidden:,} more left out." if hidden > 0 else ""
    columns = (Column("Feature"), Column("Why it needs a look", "prose"))
    return Table("Suspicious features", columns, rows, note)


def _without_use(profile: dict[str, Any]) -> list[Block]:
    """Features that no model can learn from."""
    kinds = {"all_null": "Features without any value", "constant": "Features with one value alone"}
    features = {n: c for n, c in profile.items() if text(c, "role") == "feature"}
    found = {
        words: [label(name) for name, column in features.items() if column.get(key) is True]
        for key, words in kinds.items()
    }
    return [Notice(f"{w}: {', '.join(n[:50])}.", "warn") for w, n in found.items() if n]


def _profile(inputs: ReportInputs, profile: dict[str, Any]) -> list[Block]:
    ordered = sorted(profile.items(), key=lambda item: _FIRST.get(str(text(item[1], "role")), 3))
    shown = ordered[: inputs.profile_columns]
    hidden = len(ordered) - len(shown)
    note = f"{plural(hidden, 'more column')} left out." if hidden else ""
    two = "upper line: training rows; lower line: test rows"
    numeric = [_numeric(inputs, n, c) for n, c in shown if not _is_counted(c)]
    counted = [_counted(inputs, n, c) for n, c in shown if _is_counted(c)]
    blocks: list[Block] = []
    if numeric:
        kinds = (Column(_NUMERIC[0]), *(Column(name, "number") for name in _NUMERIC[1:]))
        columns = (*kinds, Column("Distribution", "graphic"))
        key = note + " Distribution: training rows filled, test rows as a line."
        blocks.append(Table(f"Numeric columns ({two})", columns, numeric, key.strip()))
    if counted:
        kinds = (Column(_COUNTED[0]), *(Column(name, "number") for name in _COUNTED[1:]))
        columns = (*kinds, Column("Most frequent values", "prose"))
        blocks.append(Table(f"Categorical columns ({two})", columns, counted, note))
    return blocks


def _is_counted(column: Any) -> bool:
    return bool(mapping(column, "train").get("top") or mapping(column, "test").get("top"))


def _name(inputs: ReportInputs, name: str, column: Any) -> Pair:
    parts = [text(column, "role"), text(column, "type"), inputs.units.get(name)]
    if number(column, "train", "distinct") == 1:
        parts.append("constant")
    return Pair(label(name), " · ".join(label(part, 24) for part in parts if part))


def _both(column: Any, key: str) -> Pair:
    return Pair(_value(mapping(column, "train"), key), _value(mapping(column, "test"), key))


def _value(side: dict[str, Any], key: str) -> str:
    if key == "nulls":
        nulls, present = number(side, "nulls"), number(side, "count")
        rows = (nulls or 0) + (present or 0)
        return percent(nulls / rows) if nulls is not None and rows else NONE
    found = number(side, key)
    if key == "distinct":
        return count(found)
    if found is None and text(side, key):
        return when(side[key])  # a column of times has them as text
    return decimal(found)


def _numeric(inputs: ReportInputs, name: str, column: Any) -> tuple[Cell, ...]:
    middle = [number(column, side, "q50") for side in ("train", "test")]
    alt = f"Histogram of {name}; median {decimal(middle[0])} in train, {decimal(middle[1])} in test"
    graphic = histogram(_histogram(column, "train"), _histogram(column, "test"), alt)
    keys = ("nulls", "distinct", "mean", "std", "min", "q50", "max")
    return (_name(inputs, name, column), *(_both(column, key) for key in keys), graphic)


def _histogram(column: Any, side: str) -> Histogram | None:
    edges, counts = (numbers(column, side, "histogram", key) for key in ("edges", "counts"))
    return (edges, counts) if edges and counts else None


def _counted(inputs: ReportInputs, name: str, column: Any) -> tuple[Cell, ...]:
    top = Pair(_top(mapping(column, "train")), _top(mapping(column, "test")))
    return (_name(inputs, name, column), _both(column, "nulls"), _both(column, "distinct"), top)


def _top(side: dict[str, Any]) -> str:
    rows = number(side, "count") or 0
    shown = []
    for item in listing(side, "top")[:5]:
        if isinstance(item, list) and len(item) == 2 and (found := number({"n": item[1]}, "n")):
            value = "null" if item[0] is None else label(item[0], 24)
            shown.append(f"{value} {percent(found / rows)}" if rows else value)
    return ", ".join(shown) or NONE


def _sides(split: dict[str, Any], segments: dict[str, Any]) -> Table:
    """What is trained on, left out and tested, and by which rule."""

    def row(part: str, key: str) -> tuple[Cell, ...]:
        ends = (when(split.get(f"{key}_{end}")) for end in ("first", "last"))
        labelled = count(number(split, f"{key}_rows_with_target"))
        return (part, count(number(split, f"{key}_rows")), labelled, *ends)

    gap = number(split, "test", "gap_rows")
    left = [] if gap is None else [("Gap, left out", count(gap), NONE, NONE, NONE)]
    rows = [row("Training", "train"), *left, row("Held-out test", "test")]
    rules = (("Test", text(split, "test", "rule")), ("Folds", text(split, "folds_rule")))
    said = [f"{name}: {visible(rule)}." for name, rule in rules if rule]
    groups = [number(split, "test", f"groups_{side}") for side in ("train", "test")]
    if None not in groups:
        said.append(f"Groups: {count(groups[0])} in training, {count(groups[1])} in the test.")
    for key, what in (("without_training_rows", "to train on"), ("without_test_rows", "to test")):
        if found := number(segments, key):
            said.append(f"{plural(found, 'segment has', 'segments have')} no row {what}.")
    return Table("Training and test", _SIDES, rows, " ".join(said))


def _split(split: dict[str, Any]) -> Figure | None:
    test_from = instant(text(split, "test_from"))
    periods = [p for fold in records(split, "folds") if (p := _period(fold))]
    if test_from is None or not periods:
        return None
    step = max((p.valid_until - p.valid_from for p in periods), default=timedelta(days=1))
    first, last = instant(text(split, "train_first")), instant(text(split, "test_last"))
    earliest = min(p.train_until for p in periods)
    begin = first if first is not None and first < earliest else earliest - 3 * step
    end = last if last is not None and last > test_from else test_from + 2 * step
    train_until = instant(text(split, "test", "gap_from")) or test_from
    return split_bars(begin, periods, train_until, test_from, end, exact=begin == first)


def _period(fold: dict[str, Any]) -> Period | None:
    ends: list[datetime] = []
    for key in ("train_until", "valid_from", "valid_until"):
        found = instant(text(fold, key))
        if found is None:
            return None
        ends.append(found)
    return Period(*ends)


def _folds(split: dict[str, Any]) -> Table:
    rows = [
        (str(n), *(when(fold.get(key)) for key in ("train_until", "valid_from", "valid_until")),
         count(number(fold, "rows_train")), count(number(fold, "rows_valid")))
        for n, fold in enumerate(records(split, "folds"), 1)
    ]  # fmt: skip
    note = f"Held-out test from {when(split['test_from'])}." if text(split, "test_from") else ""
    return Table("Folds of the cross-validation", _FOLDS, rows, note)


def _dealt(split: dict[str, Any]) -> list[Block]:
    """Folds that are not by time."""
    folds = records(split, "folds")
    kind = text(split, "kind") or ""
    grouped = any(number(fold, "groups_valid") is not None for fold in folds)
    rows: list[tuple[Cell, ...]] = []
    for n, fold in enumerate(folds, 1):
        train, valid = number(fold, "rows_train") or 0, number(fold, "rows_valid") or 0
        share = percent(valid / (train + valid)) if train + valid else NONE
        row = (str(n), count(train), count(valid), share)
        rows.append((*row, count(number(fold, "groups_valid"))) if grouped else row)
    columns = (*_DEALT, Column("Groups validated", "number")) if grouped else _DEALT
    names = ", ".join(label(name) for name in listing(split, "group"))
    note = f"Rows with equal values of {names} are a group." if names else ""
    if text(split, "test_from"):
        note = f"{note} Held-out test from {when(split['test_from'])}.".strip()
    validated = [int(number(fold, "rows_valid") or 0) for fold in folds]
    figure = dealt_bars(validated, int(number(split, "test_rows") or 0), _HELD_APART[kind])
    return [figure, Table("Folds of the cross-validation", columns, rows, note)]
