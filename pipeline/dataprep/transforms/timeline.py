"""Rows and facts on one line of time, so that one pass in order answers what was known when.

A join on times would compare each row with each fact of its group, and a sliding frame of Spark
adds up its whole window again for each row. Here facts and questions are sorted together and a
running total answers every question: n log n for any number of rows in a group, in memory that
spills.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import and_

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

Columns = Mapping[str, Column]

_ROW, _ASKS = "__row", "__asks"
AT = "__at"
"""When a fact becomes known or a row asks, in microseconds."""


def own_timeline(frame: DataFrame, facts: Columns, questions: Columns) -> DataFrame:
    """Each row twice: as a fact and as a question.

    The frame is read once: a plan that named it twice would double with every transform.

    Args:
        frame: the rows.
        facts: of each row as a fact, its group, :data:`AT` and its values, by name.
        questions: of each row as a question, its group and :data:`AT`; values become null.
    """
    row = F.struct(*(F.col(f"`{name}`") for name in frame.columns))
    fact = F.struct(
        F.when(F.lit(False), row).alias(_ROW),
        F.lit(False).alias(_ASKS),
        *(column.alias(name) for name, column in facts.items()),
    )
    question = F.struct(
        row.alias(_ROW),
        F.lit(True).alias(_ASKS),
        *(
            questions.get(name, F.when(F.lit(False), column)).alias(name)
            for name, column in facts.items()
        ),
    )
    return frame.select(F.inline(F.array(fact, question)))


def joint_timeline(
    frame: DataFrame, table: DataFrame, facts: Columns, questions: Columns
) -> DataFrame:
    """The rows of ``frame`` as questions and those of ``table`` as facts; see own_timeline."""
    row = F.struct(*(F.col(f"`{name}`") for name in frame.columns))
    asking = frame.select(
        row.alias(_ROW),
        F.lit(True).alias(_ASKS),
        *(column.alias(name) for name, column in questions.items()),
    )
    telling = table.select(
        F.lit(False).alias(_ASKS), *(column.alias(name) for name, column in facts.items())
    )
    return asking.unionByName(telling, allowMissingColumns=True)


def answer(
    timeline: DataFrame,
    groups: list[str],
    totals: Columns,
    *,
    inclusive: bool,
    backwards: bool = False,
) -> DataFrame:
    """The questioning rows with ``totals`` over the facts of their group before their ``AT``.

    Args:
        timeline: of own_timeline or joint_timeline.
        groups: its columns that make a group. A fact without a time or a group tells nothing, and
            a question without one learns nothing.
        totals: new column → aggregate over the values of facts, which are null in questions.
        inclusive: whether facts at the very ``AT`` of a question count.
        backwards: facts after the question's ``AT`` instead of those before it.
    """
    complete = reduce(and_, (F.col(name).isNotNull() for name in (*groups, AT)))
    # Last, the values: sums of fractions depend on the order in which they are added up.
    taken = {_ROW, _ASKS, AT, *groups}
    values = [name for name in timeline.columns if name not in taken]
    at = F.desc_nulls_first(AT) if backwards else F.asc_nulls_first(AT)
    facts_first = F.asc(_ASKS) if inclusive else F.desc(_ASKS)
    window = (
        Window.partitionBy(*groups)
        .orderBy(at, facts_first, *values)
        .rowsBetween(Window.unboundedPreceding, Window.currentRow)
    )
    known = timeline.filter(complete | F.col(_ASKS))
    answered = known.select(
        _ROW, _ASKS, *(total.over(window).alias(name) for name, total in totals.items())
    )
    return answered.filter(_ASKS).select(f"{_ROW}.*", *totals)
