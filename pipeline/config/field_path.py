"""Where a value stands in a nested record: ``order.lines[0].price``."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

Step = str | int
"""The name of a field, or the place of an element from 0."""

_STEP = re.compile(r"(?:^|\.)(?:`(?P<quoted>[^`]+)`|(?P<name>[^.\[\]`]+))|\[(?P<index>\d+)\]")


def parse_path(text: str) -> tuple[Step, ...]:
    """The steps of a path; a name that holds dots or brackets stands between backticks.

    Raises:
        ValueError: the text is not a path that begins with a name.
    """
    steps: list[Step] = []
    at = 0
    while at < len(text) or not steps:
        found = _STEP.match(text, at)
        if found is None or (not steps and found["index"] is not None):
            raise ValueError(
                f"must be a path of names and places, as a.b[0].c or `a.b`.c. Got {text!r} instead"
            )
        name = found["quoted"] or found["name"]
        steps.append(int(found["index"]) if name is None else name)
        at = found.end()
    return tuple(steps)


def as_step(name: str) -> str:
    """A name as a step of a path, between backticks where it must be; it holds none itself."""
    return f"`{name}`" if re.search(r"[.\[\]]", name) else name


def _is_path(text: str) -> str:
    parse_path(text)
    return text


FieldPath = Annotated[str, AfterValidator(_is_path)]
"""A path that ``parse_path`` understands."""
