"""Numbers in texts, with the marks that people put between their digits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_WHOLE = re.compile(r"[+-]?\d+")
_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_CODE = re.compile(r"0\d+")
_GROUPS = (",", ".", " ", "'", "\u00a0", "\u202f")
_MOST_LONG = 2**63


@dataclass(frozen=True)
class NumberPattern:
    """How a column's numbers are written.

    Attributes:
        kind: ``long`` or ``double``.
        decimal: the mark before the fraction.
        thousands: the mark between groups of three digits, if there is one.
        guessed: whether the two marks could be the other way round.
    """

    kind: str
    decimal: str = "."
    thousands: str | None = None
    guessed: bool = False


def number_pattern(texts: Sequence[str], decimal_comma: bool) -> NumberPattern | None:
    """The pattern that all texts are written in, or None.

    Args:
        texts: distinct values without spaces around them.
        decimal_comma: what a comma before three digits is where nothing else tells.
    """
    if not texts or any(_CODE.fullmatch(text) for text in texts):
        return None  # 007 is a name
    if all(_WHOLE.fullmatch(text) for text in texts):
        return NumberPattern("long") if _are_long(texts) else None
    if all(_PLAIN.fullmatch(text) for text in texts):
        return NumberPattern("double")
    fitting = [
        NumberPattern("", decimal, thousands)
        for decimal in (".", ",")
        for thousands in (None, *_GROUPS)
        if decimal != thousands and _all_fit(texts, decimal, thousands)
    ]
    if not fitting:
        return None
    wanted = "," if decimal_comma else "."
    best = next((p for p in fitting if p.decimal == wanted), fitting[0])
    # One mark that is always before three digits: 1,234 is either.
    guessed = any(p.thousands == best.decimal or p.decimal == best.thousands for p in fitting)
    plain = [as_number(text, best) for text in texts]
    kind = "long" if all(map(_WHOLE.fullmatch, plain)) and _are_long(plain) else "double"
    return NumberPattern(kind, best.decimal, best.thousands, guessed)


def as_number(text: str, pattern: NumberPattern) -> str:
    """The text as programs write numbers."""
    if pattern.thousands:
        text = text.replace(pattern.thousands, "")
    return text.replace(pattern.decimal, ".")


def _all_fit(texts: Sequence[str], decimal: str, thousands: str | None) -> bool:
    group = rf"\d{{1,3}}({re.escape(thousands)}\d{{3}})+|" if thousands else ""
    shape = re.compile(rf"[+-]?({group}\d+)({re.escape(decimal)}\d*)?([eE][+-]?\d+)?")
    marks = (decimal if decimal == "," else "") + (thousands or "")
    used = not marks or any(mark in text for text in texts for mark in marks)
    return used and all(shape.fullmatch(text) for text in texts)


def _are_long(texts: Sequence[str]) -> bool:
    return all(-_MOST_LONG <= int(text) < _MOST_LONG for text in texts)
