"""The rule that a source's key is, where its rows were checked unit by unit."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.config.rules import DUPLICATE_KEY, UniqueRule
from pipeline.dataprep.measure import Measures, TableStatistics
from pipeline.dataprep.quarantine import Reason
from pipeline.dataprep.rules import TableRules
from pipeline.dataprep.verdict import Example, RuleResult, judge


def judge_key(
    key: tuple[str, ...], statistics: TableStatistics, reasons: Sequence[Reason]
) -> list[RuleResult]:
    """The result that a source has for its key when it is read as a whole; none without a key.

    Args:
        key: columns that are unique together.
        statistics: of the rows that come out.
        reasons: of the quarantined rows.
    """
    if not key:
        return []
    repeated = [reason for reason in reasons if reason.rule == DUPLICATE_KEY]
    broken = sum(reason.count for reason in repeated)
    checked = statistics.rows + broken  # rows that break anything else are not compared
    rules = TableRules(
        {}, {DUPLICATE_KEY: UniqueRule(kind="unique", columns=key)}, {DUPLICATE_KEY: key}
    )
    measured = Measures({}, {DUPLICATE_KEY: checked}, {DUPLICATE_KEY: broken}, {}, {}, statistics)
    examples = {r.rule: Example(r.value, r.file, r.row) for r in repeated}
    return judge(rules, measured, examples, (), lambda _: None)
