"""The SQL steps of ``preprocess``: one SELECT each, over given views alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from pyspark.errors import AnalysisException, ParseException, PySparkException
from pyspark.sql import DataFrame, SparkSession

from pipeline.dataprep.sql_guard import check_query
from pipeline.errors import ConfigError

Param = int | float | str
_PLACE = re.compile(r"\$\{([^}]*)\}?")
_TEXT = re.compile(r"[\w.:+ -]*")
_POSITION = re.compile(r"\(line (\d+), pos \d+\)|; line (\d+) pos \d+")


def run_query(
    spark: SparkSession, name: str, text: str, views: Mapping[str, DataFrame]
) -> DataFrame:
    """Analyse one step's SQL; nothing runs until the result is used.

    Args:
        spark: the session, in which the views have their names.
        name: the step's.
        text: its SQL, parameters put in.
        views: what it may read.

    Raises:
        ConfigError: it is not one SELECT, reads something else than the views, calls a function
            that reaches outside them or differs from run to run, or has an unknown column.
    """
    try:
        check_query(spark, name, text, list(views))
        return spark.sql(text)
    except (ParseException, AnalysisException) as error:
        raise ConfigError(
            describe_problem(f"step {name}", error), hint=f"correct the SQL of step {name}"
        ) from error


def substitute(
    steps: Sequence[tuple[str, str]], params: Mapping[str, Param], *, all_used: bool = True
) -> list[tuple[str, str]]:
    """Replace every ``${name}`` by its value as a whole SQL literal: text in quotes.

    Args:
        steps: (name, SQL text).
        params: values by name.
        all_used: refuse parameters that no text uses.

    Raises:
        ConfigError: all unknown and unused parameters, with the nearest names.
    """
    used: set[str] = set()
    problems: list[str] = []
    texts = []
    for step, text in steps:
        parts, end = [], 0
        for match in _PLACE.finditer(text):
            name, line = match[1], text.count("\n", 0, match.start()) + 1
            parts.append(text[end : match.start()])
            end = match.end()
            # Spark itself would put environment variables in for ${env:…}.
            if name not in params or not match[0].endswith("}"):
                problems.append(f"step {step}, line {line}: unknown parameter {match[0]!r}")
                problems[-1] += _nearest(name, params)
                continue
            if text[: match.start()].endswith(("'", '"', "`")):
                problems.append(f"step {step}, line {line}: write {match[0]} without quotes")
            used.add(name)
            parts.append(_literal(name, params[name]))
        texts.append((step, "".join([*parts, text[end:]])))
    unused = [name for name in params if name not in used] if all_used else []
    problems += [f"preprocess.params.{name}: no step uses it" for name in unused]
    if problems:
        raise ConfigError("\n".join(problems), hint="correct the name, or remove the parameter")
    return texts


def _literal(name: str, value: Param) -> str:
    if isinstance(value, str):
        if not _TEXT.fullmatch(value):
            raise ConfigError(f"preprocess.params.{name}: characters that are not allowed")
        return f"'{value}'"
    text = f"{value}D" if isinstance(value, float) else str(value)
    return f" {text}" if value < 0 else text  # two minus signs would begin a comment


def _nearest(name: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(name, list(known), 1)
    return f" (there is {near[0]!r})" if near else f" (there are {', '.join(known) or 'none'})"


def describe_problem(what: str, error: PySparkException) -> str:
    """Spark's first line, with the line of the SQL it points to."""
    message = str(error).strip()
    found = _POSITION.search(message)
    line = f", line {found[1] or found[2]}" if found else ""
    first = _POSITION.sub("", message.splitlines()[0]).rstrip(";. ")
    return f"{what}{line}: {first}"
