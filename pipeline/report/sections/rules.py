"""What became of each rule over the data, and which rows the filters dropped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.report.blocks import Badge, Block, Cell, Column, Pair, Table, Tone
from pipeline.report.formats import NONE, count, decimal, percent
from pipeline.report.pick import mapping, number, records, text
from pipeline.report.visible import label, visible

MAX_RULES = 200
_RULES = (
    Column("Of"),
    Column("Rule", "prose"),
    Column("Result"),
    Column("Checked", "number"),
    Column("Broken", "number"),
    Column("Share", "number"),
    Column("Allowed", "prose"),
    Column("What was found", "prose"),
)
_FILTERS = (
    Column("Source"),
    Column("Filter"),
    Column("Condition", "code"),
    Column("Rows dropped", "number"),
)
_WORST_FIRST = ("refused", "warned", "set aside", "passed")


def rules_table(caption: str, tables: Mapping[str, Any]) -> list[Block]:
    """One row a rule, those that rows broke first.

    Args:
        caption: of the table.
        tables: name → anything with ``rules`` as the manifest has them.
    """
    found = [(name, rule) for name, table in tables.items() for rule in records(table, "rules")]
    ordered = sorted(found, key=lambda item: _WORST_FIRST.index(_result(item[1])[0]))
    rows = [_row(name, rule) for name, rule in ordered[:MAX_RULES]]
    hidden = len(found) - len(rows)
    note = f"{hidden:,} more rules left out; those that rows break come first." if hidden else ""
    return [Table(caption, _RULES, rows, note)] if rows else []


def filters_table(sources: Mapping[str, Any], declared: Mapping[str, Any]) -> list[Block]:
    """One row a filter.

    Args:
        sources: name → metrics with ``rows_dropped``.
        declared: name → the source's settings.
    """
    rows: list[tuple[Cell, ...]] = [
        (
            label(name), label(filter_name),
            visible(text(declared.get(name), "filters", filter_name) or NONE),
            count(number(dropped)),
        )
        for name, source in sources.items()
        for filter_name, dropped in mapping(source, "rows_dropped").items()
    ]  # fmt: skip
    return [Table("Rows dropped by declared filters", _FILTERS, rows)] if rows else []


def dropped_rows(source: Any) -> float:
    """Rows of a source that its filters dropped."""
    return sum(number(value) or 0 for value in mapping(source, "rows_dropped").values())


def _row(name: str, rule: dict[str, Any]) -> tuple[Cell, ...]:
    broken, share = number(rule, "broken"), number(rule, "share")
    word, tone = _result(rule)
    found = visible(text(rule, "found") or NONE, 400)
    example = _example(rule)
    return (
        label(name),
        Pair(label(rule.get("name", NONE)), label(text(rule, "kind") or NONE).replace("_", " ")),
        Badge(word, tone),
        count(number(rule, "checked")),
        NONE if broken is None else count(broken),
        NONE if share is None else percent(share),
        _allowed(rule),
        Pair(found, example) if example else found,
    )


def _result(rule: dict[str, Any]) -> tuple[str, Tone]:
    if rule.get("passed") is not True:
        return ("warned", "warn") if rule.get("level") == "warn" else ("refused", "bad")
    if rule.get("level") == "quarantine" and number(rule, "broken"):
        return "set aside", "accent"
    return "passed", "good"


def _example(rule: dict[str, Any]) -> str:
    example = mapping(rule, "example")
    if not example:
        return ""
    value, key = visible(repr(example.get("value")), 80), text(example, "key")
    if key is not None:
        return f"{value} with key {visible(key, 80)}"
    file = Path(str(example.get("file", NONE))).name
    return f"{value} in {visible(file, 80)} row {count(number(example, 'row'))}"


def _allowed(rule: dict[str, Any]) -> str:
    threshold = mapping(rule, "threshold")
    if not threshold:
        return "any number" if rule.get("level") == "quarantine" else "none"
    return ", ".join(_limit(name, value) for name, value in threshold.items())


def _limit(name: str, value: Any) -> str:
    limit = number(value)
    if limit is None:
        return f"{label(name.replace('_', ' '))} {visible(value, 60)}"
    words = {
        "max_share": f"at most {percent(limit)}",
        "max_rows": f"at most {count(limit)} rows",
        "min": f"at least {count(limit)} rows",
        "max": f"at most {count(limit)} rows",
        "max_age_hours": f"at most {decimal(limit)} h old",
        "rows": f"rows ± {percent(limit)}",
        "distinct": f"distinct ± {percent(limit)}",
        "mean": f"mean ± {decimal(limit)} standard deviations",
        "null_share": f"share of nulls ± {percent(limit)}",
        "shares": f"each share ± {percent(limit)}",
    }
    return words.get(name, f"{label(name)} {decimal(limit)}")
