"""Whether rules hold, from what was measured; and how that is said."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pipeline.config.rules import (
    CompleteRule,
    ConditionRule,
    ForeignKeyRule,
    FreshRule,
    LikeLastRunRule,
    RowsRule,
    UniqueRule,
)
from pipeline.dataprep.comparison import change
from pipeline.dataprep.last_runs import LastRun
from pipeline.dataprep.measure import Measures, TableStatistics
from pipeline.dataprep.rules import TableRules

_log = logging.getLogger(__name__)
CountedRule = ConditionRule | UniqueRule | ForeignKeyRule | CompleteRule


@dataclass(frozen=True)
class Example:
    """A row that breaks a rule: the first one, and the values that show why.

    Of a source it has its file and its number there, of the feature table its key.
    """

    value: str | None
    file: str | None = None
    row: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        place = f"in {self.file} row {self.row}" if self.key is None else f"with key {self.key}"
        return f"{self.value!r} {place}"


@dataclass(frozen=True)
class RuleResult:
    """What became of one rule.

    Attributes:
        checked: rows that it was checked on.
        broken: rows that break it; None of rules over the table as a whole.
        share: broken ÷ checked.
        threshold: what the configuration allows, by setting; empty where that is none, or, of a
            quarantine, any number.
        passed: whether that was kept.
        found: what was found, in words.
        example: the first row that breaks it.
        compared_with: fingerprint of the artifact that was compared with, if any.
    """

    name: str
    kind: str
    level: str
    checked: int
    broken: int | None
    share: float | None
    threshold: dict[str, Any]
    passed: bool
    found: str
    example: Example | None = None
    compared_with: str | None = None

    @property
    def is_refused(self) -> bool:
        return not self.passed and self.level != "warn"

    @property
    def is_warned(self) -> bool:
        return not self.passed and self.level == "warn"

    def __str__(self) -> str:
        allowed = ", ".join(f"{name} {_shown(value)}" for name, value in self.threshold.items())
        example = f"; for example {self.example}" if self.example else ""
        return (
            f"rule {self.name} ({self.kind}): {self.found}; allowed: {allowed or 'none'}{example}"
        )

    @property
    def advice(self) -> str:
        """What to do where the rule is broken."""
        if self.kind == "like_last_run":
            return (
                "if the change is right, run once with the rule's level: warn; the next run is "
                "compared with that one"
            )
        if self.kind == "fresh":
            return "fetch newer files, or correct as_of"
        return "correct the files or the rule, allow more, or set its level: warn"


def refusals(table: str, results: Sequence[RuleResult]) -> tuple[list[str], list[str]]:
    """Say which rules warn; return what those that refuse say, and what to do."""
    for result in results:
        if result.is_warned:
            _log.warning("%s: %s", table, result)
    refused = [result for result in results if result.is_refused]
    return [f"{table}: {result}" for result in refused], [result.advice for result in refused]


def judge(
    rules: TableRules,
    measured: Measures,
    examples: Mapping[str, Example],
    last: Sequence[LastRun],
    newest_of: Callable[[str], datetime | None],
) -> list[RuleResult]:
    """Compare what was measured with what the rules allow.

    Args:
        rules: of the table.
        measured: of its rows.
        examples: a row that breaks a rule, by rule.
        last: earlier runs that were not refused, the last one first.
        newest_of: the newest value of ``source.column``.
    """
    results: list[RuleResult] = []
    for name, rule in rules.rules.items():
        if isinstance(rule, CountedRule):
            results.append(_counted(name, rule, measured, examples.get(name)))
        elif isinstance(rule, RowsRule):
            results.append(_rows(name, rule, measured.statistics.rows))
        elif isinstance(rule, FreshRule):
            as_of = newest_of(rule.as_of) if isinstance(rule.as_of, str) else rule.as_of
            newest = measured.newest[rule.column]
            results.append(_fresh(name, rule, measured.statistics.rows, newest, as_of))
        elif isinstance(rule, LikeLastRunRule):
            results.append(_like_last_run(name, rule, measured.statistics, last))
    return results


def _counted(
    name: str, rule: CountedRule, measured: Measures, example: Example | None
) -> RuleResult:
    checked, broken = measured.checked[name], measured.broken[name]
    share = broken / checked if checked else 0.0
    limits = {"max_share": rule.max_share, "max_rows": rule.max_rows}
    threshold = {key: limit for key, limit in limits.items() if limit is not None}
    if threshold:
        passed = share <= threshold.get("max_share", 1.0)
        passed = passed and broken <= threshold.get("max_rows", broken)
    else:
        passed = not broken or rule.level == "quarantine"
    found = f"{broken:,} of {checked:,} rows ({share:.2%}) break it"
    return RuleResult(
        name, rule.kind, rule.level, checked, broken, share, threshold, passed, found, example
    )


def _rows(name: str, rule: RowsRule, rows: int) -> RuleResult:
    limits = {"min": rule.min, "max": rule.max}
    threshold = {key: limit for key, limit in limits.items() if limit is not None}
    passed = threshold.get("min", rows) <= rows <= threshold.get("max", rows)
    found = f"{rows:,} rows"
    return _of_table(name, rule, rows, threshold, passed, found)


def _fresh(
    name: str, rule: FreshRule, rows: int, newest: datetime | None, as_of: datetime | None
) -> RuleResult:
    passed = newest is not None and as_of is not None
    if newest is None:
        found = f"{rule.column} has no value"
    elif as_of is None:
        found = f"{rule.as_of} has no value"
    else:
        age = as_of - newest
        passed = age <= timedelta(hours=rule.max_age_hours)
        hours = age.total_seconds() / 3600
        found = f"the newest {rule.column} is {_shown(newest)}, {hours:,.1f} h before as_of"
    threshold = {"max_age_hours": rule.max_age_hours, "as_of": _shown(as_of)}
    return _of_table(name, rule, rows, threshold, passed, found)


def _like_last_run(
    name: str, rule: LikeLastRunRule, now: TableStatistics, last: Sequence[LastRun]
) -> RuleResult:
    """Compare each measure with the last run that knows it; where none does, it passes."""
    passed, words, compared = True, [], None
    for measure, tolerance in rule.tolerances.items():
        changes = ((run, change(measure, rule.column, run.statistics, now)) for run in last)
        run, found = next(((run, found) for run, found in changes if found), (None, None))
        if run is None or found is None:
            words.append(f"{measure}: no earlier run to compare with")
            continue
        compared = compared or run.artifact
        passed = passed and found.size <= tolerance
        words.append(found.words)
    return _of_table(name, rule, now.rows, rule.tolerances, passed, "; ".join(words), compared)


def _of_table(
    name: str,
    rule: RowsRule | FreshRule | LikeLastRunRule,
    rows: int,
    threshold: Mapping[str, Any],
    passed: bool,
    found: str,
    compared: str | None = None,
) -> RuleResult:
    return RuleResult(
        name, rule.kind, rule.level, rows, None, None, dict(threshold), passed, found,
        compared_with=compared,
    )  # fmt: skip


def _shown(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
