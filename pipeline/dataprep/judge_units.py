"""What a source's key and rules come to, where its rows were checked unit by unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from pyspark.sql import DataFrame

from pipeline.config.rules import (
    DUPLICATE_KEY,
    FreshRule,
    LikeLastRunRule,
    counted_rules,
    measured_columns,
)
from pipeline.dataprep.examples import examples_of_reasons
from pipeline.dataprep.last_runs import LastRun
from pipeline.dataprep.measure import Measures, TableStatistics, measure_rows
from pipeline.dataprep.quarantine import Reason
from pipeline.dataprep.rules import TableRules
from pipeline.dataprep.verdict import Example, RuleResult, judge
from pipeline.store.units import RuleCount, UnitRecord


def judge_units(
    rules: TableRules,
    total: UnitRecord,
    reasons: Sequence[Reason],
    good: Callable[[], DataFrame],
    last: Sequence[LastRun],
    newest_of: Callable[[str], datetime | None],
) -> tuple[list[RuleResult], TableStatistics]:
    """The results and statistics that a source has when it is read as a whole.

    Args:
        rules: of the source.
        total: the record of its units together.
        reasons: of the quarantined rows.
        good: reads all rows that come out, which costs a job; called where rules compare them.
        last, newest_of: as ``verdict.judge`` is given them.
    """
    measured = _measured(rules, total.rows_out, good)
    repeated = sum(reason.count for reason in reasons if reason.rule == DUPLICATE_KEY)
    # Rows that break anything else do not compete for the key.
    key = {DUPLICATE_KEY: total.rows_out + repeated} if DUPLICATE_KEY in rules.rules else {}
    none = RuleCount(0, 0)  # of files without any row that could be checked
    counts = {n: total.rules.get(n, none) for n in counted_rules(rules.rules) if n not in key}
    measured = replace(
        measured,
        checked=key | {name: count.checked for name, count in counts.items()},
        broken=dict.fromkeys(key, repeated) | {n: count.broken for n, count in counts.items()},
    )
    examples = examples_of_reasons(reasons)
    for name, count in counts.items():
        if count.first is not None:
            file, row, value = count.first
            examples[name] = Example(value, file, row)
    return judge(rules, measured, examples, last, newest_of), measured.statistics


def _measured(rules: TableRules, rows: int, good: Callable[[], DataFrame]) -> Measures:
    kinds = FreshRule | LikeLastRunRule
    whole = {name: rule for name, rule in rules.rules.items() if isinstance(rule, kinds)}
    if rules.of_kind(FreshRule) or measured_columns(whole):
        return measure_rows(good(), TableRules({}, whole, {}))
    return Measures({}, {}, {}, {}, {}, TableStatistics(rows, {}))
