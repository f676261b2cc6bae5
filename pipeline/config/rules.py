"""Rules over the data: what must hold of a table's rows, and of the table as a whole.

Rules see the rows that fit their declared columns and that no filter drops. Row rules
(``condition``, ``unique``, ``foreign_key``) are broken row by row; ``complete`` counts nulls, and
``rows``, ``fresh`` and ``like_last_run`` are about all rows that come out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from difflib import get_close_matches
from typing import Annotated, Literal, Protocol

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from pipeline.config.section import Name, Section

Level = Literal["warn", "quarantine", "refuse"]
TableLevel = Literal["warn", "refuse"]
Share = Annotated[float, Field(ge=0, le=1)]
Columns = Annotated[tuple[Name, ...], Field(min_length=1)]
Condition = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
Tolerance = Annotated[float, Field(ge=0)]
Reference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*\.[A-Za-z_]\w*$")]
"""``source.column``."""
DUPLICATE_KEY = "duplicate_key"
"""The rule that a source's key makes."""


def _in_utc(value: datetime) -> datetime:
    zoned = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
    return zoned.astimezone(timezone.utc)


class _Rule(Section):
    description: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that the rule names."""
        return ()


class _CountedRule(_Rule):
    """A rule that counts rows which break it.

    ``warn`` says so and keeps the rows; ``quarantine`` sets them aside; ``refuse`` refuses the
    whole source. More broken rows than ``max_share`` (of the rows checked) or ``max_rows`` is too
    many: a warning at ``warn``, a refusal at the other two. With neither, ``quarantine`` allows
    any number, and the others none.
    """

    max_share: Share | None = None
    max_rows: Annotated[int, Field(ge=0)] | None = None


class RowRule(_CountedRule):
    """A rule that a single row breaks."""

    level: Level = "quarantine"


class ConditionRule(RowRule):
    """A SQL condition over one row; a row breaks it where it is false.

    Where it is null, as comparisons with null are, the row fits, as with CHECK in SQL;
    ``nulls: break`` has it break the rule.
    """

    kind: Literal["condition"]
    sql: Condition
    nulls: Literal["pass", "break"] = "pass"


class UniqueRule(RowRule):
    """Rows with equal values in ``columns``: one fits, the others break the rule.

    ``first`` and ``last`` are by ``by``, smallest first and null the worst, then by file and row.
    As with UNIQUE in SQL, rows with a null in ``columns`` are not compared.
    """

    kind: Literal["unique"]
    columns: Columns
    keep: Literal["first", "last"] = "first"
    by: Name | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.columns, *((self.by,) if self.by else ()))


class ForeignKeyRule(RowRule):
    """The values of ``columns`` must be those of a row that comes out of another source.

    As with foreign keys in SQL, a row with a null in ``columns`` fits.
    """

    kind: Literal["foreign_key"]
    columns: Columns
    references: Reference | Annotated[tuple[Reference, ...], Field(min_length=1)]

    @property
    def names(self) -> tuple[str, ...]:
        return self.columns

    @property
    def parent(self) -> str:
        """The source referred to."""
        return self._references[0].partition(".")[0]

    @property
    def parent_columns(self) -> tuple[str, ...]:
        return tuple(reference.partition(".")[2] for reference in self._references)

    @property
    def _references(self) -> tuple[str, ...]:
        return (self.references,) if isinstance(self.references, str) else self.references

    @model_validator(mode="after")
    def _pairs(self) -> ForeignKeyRule:
        if len({reference.partition(".")[0] for reference in self._references}) > 1:
            raise ValueError(
                f"references must be columns of one source. Got {', '.join(self._references)}"
            )
        if len(self._references) != len(self.columns):
            raise ValueError(
                f"references must name a column for each of columns. Got {len(self._references)} "
                f"for {len(self.columns)}"
            )
        return self


class CompleteRule(_CountedRule):
    """Rows with a null in one of ``columns``: at most ``max_share`` or ``max_rows``; else none."""

    kind: Literal["complete"]
    columns: Columns
    level: TableLevel = "refuse"

    @property
    def names(self) -> tuple[str, ...]:
        return self.columns


class RowsRule(_Rule):
    """How many rows come out, at least and at most."""

    kind: Literal["rows"]
    min: Annotated[int, Field(ge=0)] | None = None
    max: Annotated[int, Field(ge=0)] | None = None
    level: TableLevel = "refuse"

    @model_validator(mode="after")
    def _bounds(self) -> RowsRule:
        if self.min is None and self.max is None:
            raise ValueError("must set min, max or both. Got neither instead")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min must be at most max. Got {self.min} and {self.max} instead")
        return self


class FreshRule(_Rule):
    """The newest value of a date or time is at most ``max_age_hours`` before ``as_of``.

    ``as_of`` is an instant (without an offset: UTC), or ``source.column`` for the newest value
    there. It is never the clock: the same files and settings give the same answer. A scheduler
    sets it for each run with ``--set``.
    """

    kind: Literal["fresh"]
    column: Name
    max_age_hours: Annotated[float, Field(ge=0)]
    as_of: Annotated[datetime, AfterValidator(_in_utc)] | Reference
    level: TableLevel = "refuse"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def parent(self) -> str | None:
        """The source that ``as_of`` refers to."""
        return self.as_of.partition(".")[0] if isinstance(self.as_of, str) else None


class LikeLastRunRule(_Rule):
    """Statistics of the rows that come out, against those of the last run that was not refused.

    Attributes:
        rows, distinct: by how much of the last count the number of rows, or of distinct values
            (an estimate, within 1 %), may change: 0.5 is half.
        mean: by how many of the last standard deviations the mean may change.
        null_share: by how much the share of nulls may change: 0.02 is two points in a hundred.
        shares: by how much the share of any one value may change, of the hundred most frequent.
    """

    kind: Literal["like_last_run"]
    column: Name | None = None
    rows: Tolerance | None = None
    mean: Tolerance | None = None
    null_share: Share | None = None
    distinct: Tolerance | None = None
    shares: Share | None = None
    level: TableLevel = "refuse"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.column,) if self.column else ()

    @property
    def tolerances(self) -> dict[str, float]:
        """Tolerance by measure, of those that are set."""
        measures = ("rows", "mean", "null_share", "distinct", "shares")
        return {name: value for name in measures if (value := getattr(self, name)) is not None}

    @model_validator(mode="after")
    def _measures(self) -> LikeLastRunRule:
        if not self.tolerances:
            raise ValueError("must set rows, mean, null_share, distinct or shares. Got none")
        if self.column is None and set(self.tolerances) != {"rows"}:
            raise ValueError("column must be set for all measures but rows. Got none instead")
        return self


class FeatureCondition(ConditionRule):
    """A condition over a row of the feature table; SQL steps are where rows are left out."""

    level: TableLevel = "refuse"


class FeatureUnique(UniqueRule):
    """Columns of the feature table that are unique besides its key."""

    level: TableLevel = "refuse"


class FeatureFresh(FreshRule):
    """Of the feature table; ``as_of`` is an instant."""

    as_of: Annotated[datetime, AfterValidator(_in_utc)]


AnyRule = (
    ConditionRule
    | UniqueRule
    | ForeignKeyRule
    | CompleteRule
    | RowsRule
    | FreshRule
    | LikeLastRunRule
)
RowAloneRule = ConditionRule | CompleteRule
"""Rules that look at one row alone: what they count in parts of a table adds up."""
Rule = Annotated[AnyRule, Field(discriminator="kind")]
Rules = dict[Name, Rule]
FeatureRule = Annotated[
    FeatureCondition | FeatureUnique | CompleteRule | RowsRule | FeatureFresh | LikeLastRunRule,
    Field(discriminator="kind"),
]
FeatureRules = dict[Name, FeatureRule]
Filters = dict[Name, Condition]
"""Name → SQL condition; rows for which it is false or null are dropped and counted."""


class _Column(Protocol):
    @property
    def type(self) -> str | None: ...


@dataclass(frozen=True)
class ColumnOfType:
    """A column that is not declared; its type may be known from its role."""

    type: str | None


class _Source(Protocol):
    @property
    def columns(self) -> Mapping[str, _Column]: ...
    @property
    def rules(self) -> Mapping[str, AnyRule]: ...


def problems_of_rules(rules: Mapping[str, AnyRule], columns: Mapping[str, _Column]) -> list[str]:
    """What is wrong with rules over a table with these columns, one line each."""
    problems = ["rules: duplicate_key is the rule of the key; name yours otherwise"]
    problems = problems if DUPLICATE_KEY in rules else []
    for name, rule in rules.items():
        unknown = [column for column in rule.names if column not in columns]
        problems += [f"rules.{name}: {_no_column(column, columns)}" for column in unknown]
        if not unknown:
            problems += [f"rules.{name}: {p}" for p in _problems_of_types(rule, columns)]
    return problems


def problems_of_units(rules: Mapping[str, AnyRule]) -> list[str]:
    """Why rules cannot be checked on a source that is read unit by unit, one line each."""
    unique = (
        "unique compares rows of all files, and with incremental only new ones are read; make "
        "its columns the source's key, or a unique rule of preprocess.rules, or remove incremental"
    )
    foreign_key = (
        "foreign_key of rows that were read before would change with the source that it refers "
        "to, and with incremental only new rows are read; join that source in a step and set a "
        "condition in preprocess.rules, or remove incremental"
    )
    why = {UniqueRule: unique, ForeignKeyRule: foreign_key}
    return [f"rules.{name}: {why[type(rule)]}" for name, rule in rules.items() if type(rule) in why]


def problems_between(sources: Mapping[str, _Source]) -> list[str]:
    """What is wrong with rules that refer to other sources, one line each."""
    problems = []
    for name, source in sources.items():
        for rule_name, rule in source.rules.items():
            found = _problems_of_references(rule, source, sources)
            problems += [f"{name}.rules.{rule_name}: {problem}" for problem in found]
    return problems or _circles(sources)


def parents_of(rules: Mapping[str, AnyRule]) -> tuple[str, ...]:
    """The sources that rules refer to."""
    found = (r.parent for r in rules.values() if isinstance(r, ForeignKeyRule | FreshRule))
    return tuple(dict.fromkeys(parent for parent in found if parent is not None))


def _problems_of_types(rule: AnyRule, columns: Mapping[str, _Column]) -> list[str]:
    if isinstance(rule, FreshRule) and columns[rule.column].type not in ("date", "timestamp", None):
        found = columns[rule.column].type
        return [f"{rule.column} must be a date or timestamp. Got {found} instead"]
    if isinstance(rule, LikeLastRunRule) and rule.column is not None:
        found = columns[rule.column].type
        if rule.mean is not None and found in ("string", "boolean", "date", "timestamp"):
            return [f"mean is for numbers. Got {found} {rule.column} instead"]
    return []


def _problems_of_references(
    rule: AnyRule, source: _Source, sources: Mapping[str, _Source]
) -> list[str]:
    if isinstance(rule, ForeignKeyRule):
        pairs = list(zip(rule.columns, rule.parent_columns, strict=True))
        parent = rule.parent
    elif isinstance(rule, FreshRule) and isinstance(rule.as_of, str):
        parent, _, column = rule.as_of.partition(".")
        pairs = [(rule.column, column)]
    else:
        return []
    if parent not in sources:
        near = get_close_matches(parent, list(sources), 1)
        return [f"no source {parent!r}" + (f" (there is {near[0]!r})" if near else "")]
    columns = sources[parent].columns
    problems = [f"{parent}: {_no_column(b, columns)}" for _, b in pairs if b not in columns]
    for mine, other in pairs:
        types = (source.columns[mine].type, columns[other].type if other in columns else None)
        if types[1] is not None and not _comparable(
            types[0], types[1], isinstance(rule, FreshRule)
        ):
            problems.append(f"{mine} is {types[0]}, but {parent}.{other} is {types[1]}")
    return problems


def _comparable(one: str | None, other: str | None, times: bool) -> bool:
    alike = ({"int", "long"}, {"date", "timestamp"} if times else set())
    return one == other or any({one, other} <= group for group in alike)


def parents_first(sources: Mapping[str, _Source]) -> list[str]:
    """The sources, each behind those that its rules refer to; those in circles are left out."""
    ordered: list[str] = []
    waiting = {name: set(parents_of(source.rules)) for name, source in sources.items()}
    while ready := [name for name, parents in waiting.items() if parents <= set(ordered)]:
        ordered += ready
        waiting = {name: parents for name, parents in waiting.items() if name not in ready}
    return ordered


def _circles(sources: Mapping[str, _Source]) -> list[str]:
    circling = sorted(set(sources) - set(parents_first(sources)))
    return [f"rules refer to each other in a circle: {', '.join(circling)}"] if circling else []


def _no_column(column: str, columns: Mapping[str, _Column]) -> str:
    near = get_close_matches(column, list(columns), 1)
    return f"no column {column!r}" + (f" (there is {near[0]!r})" if near else "")


def counted_rules(
    rules: Mapping[str, AnyRule],
) -> dict[str, ConditionRule | UniqueRule | ForeignKeyRule | CompleteRule]:
    """The rules that count the rows which break them."""
    kinds = ConditionRule | UniqueRule | ForeignKeyRule | CompleteRule
    return {name: rule for name, rule in rules.items() if isinstance(rule, kinds)}


def measured_columns(rules: Mapping[str, AnyRule]) -> dict[str, set[str]]:
    """The columns whose statistics rules compare, and the measures of each."""
    found: dict[str, set[str]] = {}
    for rule in rules.values():
        if isinstance(rule, LikeLastRunRule) and rule.column is not None:
            found.setdefault(rule.column, set()).update(rule.tolerances)
    return found
