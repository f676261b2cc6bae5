"""Read JSON that may lack any part.

A report is most wanted when something went wrong, so a missing or odd value must never stop it.
"""

from __future__ import annotations

import math
from typing import Any


def at(data: Any, *path: str) -> Any:
    """The value under a path of keys; None where there is none."""
    for key in path:
        if not isinstance(data, dict):
            return None
        data = data.get(key)
    return data


def mapping(data: Any, *path: str) -> dict[str, Any]:
    value = at(data, *path)
    return value if isinstance(value, dict) else {}


def listing(data: Any, *path: str) -> list[Any]:
    value = at(data, *path)
    return value if isinstance(value, list) else []


def text(data: Any, *path: str) -> str | None:
    value = at(data, *path)
    return value if isinstance(value, str) and value else None


def number(data: Any, *path: str) -> float | None:
    """A finite number; None for anything else, so that NaN never reaches a table or a plot."""
    value = at(data, *path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def numbers(data: Any, *path: str) -> list[float]:
    return [value for item in listing(data, *path) if (value := number(item)) is not None]


def interval(data: Any, name: str) -> tuple[float, float] | None:
    """The (low, high) under ``intervals`` and a name; None where it was not computed."""
    found = numbers(data, "intervals", name)
    return (found[0], found[1]) if len(found) == 2 else None


def records(data: Any, *path: str) -> list[dict[str, Any]]:
    return [item for item in listing(data, *path) if isinstance(item, dict)]
