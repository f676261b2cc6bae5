"""What was read, what was refused, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.report.blocks import (
    Block,
    Cell,
    Column,
    Fold,
    Notice,
    Pair,
    Section,
    Table,
    not_yet,
)
from pipeline.report.files import first_rows
from pipeline.report.formats import NONE, count, decimal, percent, plural
from pipeline.report.inline import bar
from pipeline.report.inputs import ReportInputs
from pipeline.report.pick import listing, mapping, number, records, text
from pipeline.report.sections.rules import dropped_rows, filters_table, rules_table
from pipeline.report.sections.schema_drift import drift_line
from pipeline.report.visible import label, visible

EXAMPLES = 5
MAX_REASONS = 12  # of a source
MAX_SOURCES = 30
MAX_COLUMNS = 60  # of a source
_SOURCES = (
    Column("Source", "prose"),
    Column("Files", "number"),
    Column("Rows in", "number"),
    Column("Rows out", "number"),
    Column("Quarantined", "number"),
    Column("Share", "number"),
    Column("Dropped by filters", "number"),
)
_REASONS = (
    Column("Source"),
    Column("Rule"),
    Column("Column", "code"),
    Column("Rows", "number"),
    Column("Of the source's reasons", "graphic"),
)
_EXAMPLES = (
    Column("Row", "number"),
    Column("File", "code"),
    Column("Reasons", "prose"),
    Column("As it was read", "code"),
)
_DECLARED = (
    Column("Column", "code"),
    Column("Type", "code"),
    Column("Unit"),
    Column("May be empty"),
    Column("Description", "prose"),
)


def build(inputs: ReportInputs) -> Section:
    sources = mapping(inputs.metrics("ingest"), "sources")
    if not sources:
        return not_yet("data-in", "Data in", "ingest")
    lead = "Rows that break a declared rule are set aside with the reason. None is lost: rows in "
    lead += "are rows out, quarantined rows, and rows that a declared filter drops."
    shown = dict(list(sources.items())[:MAX_SOURCES])
    hidden = len(sources) - len(shown)
    note = f"{plural(hidden, 'more source')} left out." if hidden else ""
    rows = [_source(name, source) for name, source in shown.items()]
    declared = mapping(inputs.config("ingest"), "sources")
    blocks: list[Block] = [Table("Sources", _SOURCES, rows, note)]
    drift = [line for name, source in shown.items() if (line := drift_line(name, source))]
    if drift:
        blocks.append(Notice(f"Columns that differ from the declared ones. {'. '.join(drift)}."))
    blocks += [notice for name, source in shown.items() if (notice := _empty(name, source))]
    blocks += filters_table(shown, declared)
    features = {"feature table": inputs.metrics("preprocess")}
    blocks += rules_table("Rules over the data", shown | features)
    reasons = [row for name, source in shown.items() for row in _reasons(name, source)]
    if reasons:
        blocks.append(Table("Why rows were quarantined", _REASONS, reasons))
        blocks += [fold for name in shown if (fold := _examples(inputs, name))]
    else:
        blocks.append(Notice("No row was quarantined."))
    blocks += [fold for name in shown if (fold := _columns(name, declared.get(name)))]
    return Section("data-in", "Data in", lead, blocks)


def _empty(name: str, source: Any) -> Notice | None:
    names = [label(column) for column in listing(source, "empty_columns")]
    if not names:
        return None
    return Notice(f"{label(name)} has no value in {', '.join(names[:MAX_COLUMNS])}.", "warn")


def _source(name: str, source: Any) -> tuple[Cell, ...]:
    rows, bad = number(source, "rows_in"), number(source, "rows_quarantined")
    description = text(source, "description")
    return (
        Pair(label(name), visible(description)) if description else label(name),
        count(len(listing(source, "files"))),
        count(rows),
        count(number(source, "rows_out")),
        count(bad),
        percent(bad / rows) if rows and bad is not None else NONE,
        count(dropped_rows(source)),
    )


def _reasons(name: str, source: Any) -> list[tuple[Cell, ...]]:
    """One row a rule and column, the most frequent first; a row may break several rules."""
    counted = {key: number(value) or 0 for key, value in mapping(source, "reasons").items()}
    total = sum(counted.values())
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    rows: list[tuple[Cell, ...]] = []
    for key, broken in ordered[:MAX_REASONS]:
        rule, _, column = key.partition(":")
        graphic = bar(broken / total if total else 0)
        rows.append((label(name), label(rule), label(column) if column else NONE, count(broken),
                     graphic))  # fmt: skip
    rest = ordered[MAX_REASONS:]
    if rest:
        broken = sum(value for _, value in rest)
        graphic = bar(broken / total if total else 0)
        rows.append((label(name), f"{len(rest):,} other reasons", NONE, count(broken), graphic))
    return rows


def _examples(inputs: ReportInputs, source: str) -> Fold | None:
    rows: list[tuple[Cell, ...]] = []
    for found in first_rows(_inside(inputs.file("ingest", "quarantine"), source), EXAMPLES):
        place = found.get("row")
        rows.append((
            count(place) if isinstance(place, int) else visible(NONE if place is None else place),
            visible(Path(str(found.get("file", NONE))).name, 80),
            "; ".join(_reason(reason) for reason in records(found, "reasons")) or NONE,
            visible(NONE if found.get("raw") is None else found["raw"], 200),
        ))  # fmt: skip
    if not rows:
        return None
    caption = f"First quarantined rows of {label(source)}, shortened"
    summary = f"{label(source)}: {plural(len(rows), 'quarantined row')} as an example"
    return Fold(summary, (Table(caption, _EXAMPLES, rows),))


def _reason(reason: dict[str, Any]) -> str:
    where = f"{label(reason.get('rule', '?'))} in {label(reason.get('column') or 'the row')}"
    value = reason.get("value")
    return where if value is None else f"{where}: {visible(value, 60)}"


def _inside(folder: Path | None, name: str) -> Path | None:
    """A folder below ``folder``; a source named ``../x`` leads nowhere."""
    if folder is None:
        return None
    path = (folder / name).resolve()
    return path if path.is_dir() and folder.resolve() in path.parents else None


def _columns(name: str, source: Any) -> Fold | None:
    columns = mapping(source, "columns")
    rows: list[tuple[Cell, ...]] = []
    for column, spec in list(columns.items())[:MAX_COLUMNS]:
        low, high = number(spec, "min"), number(spec, "max")
        limits = f"{decimal(low)} to {decimal(high)}" if low is not None or high is not None else ""
        words = ". ".join(part for part in (text(spec, "description"), limits) if part)
        rows.append((
            label(column), label(text(spec, "type") or NONE), label(text(spec, "unit") or NONE),
            "no" if isinstance(spec, dict) and spec.get("nullable") is False else "yes",
            visible(words or NONE),
        ))  # fmt: skip
    if not rows:
        return None
    summary = f"{label(name)}: {plural(len(columns), 'declared column')}"
    hidden = len(columns) - len(rows)
    note = f"{plural(hidden, 'more column')} left out." if hidden else ""
    return Fold(summary, (Table(f"Declared columns of {label(name)}", _DECLARED, rows, note),))
