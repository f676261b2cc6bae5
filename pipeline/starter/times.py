"""Dates and times in texts: the pattern, in Spark's letters, that all of them are written in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from itertools import pairwise

_ZONE = r"(Z|[+-]\d{2}(:?\d{2})?)?"
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_ISO = re.compile(rf"\d{{4}}-\d{{2}}-\d{{2}}([T ]\d{{2}}:\d{{2}}(:\d{{2}}(\.\d{{1,9}})?)?{_ZONE})?")
_LETTERS = {
    # Spark's letters: (regular expression, Python's directive)
    "yyyy": (r"\d{4}", "%Y"),
    "yy": (r"\d{2}", "%y"),
    "MMMM": (r"[A-Za-z]{3,9}", "%B"),
    "MMM": (r"[A-Za-z]{3}", "%b"),
    "MM": (r"\d{2}", "%m"),
    "M": (r"\d{1,2}", "%m"),
    "dd": (r"\d{2}", "%d"),
    "d": (r"\d{1,2}", "%d"),
    "HH": (r"\d{2}", "%H"),
    "H": (r"\d{1,2}", "%H"),
    "hh": (r"\d{2}", "%I"),
    "h": (r"\d{1,2}", "%I"),
    "mm": (r"\d{2}", "%M"),
    "ss": (r"\d{2}", "%S"),
    "SSSSSS": (r"\d{1,6}", "%f"),
    "a": (r"[AaPp][Mm]", "%p"),
    "XXX": (r"(?:Z|[+-]\d{2}:\d{2})", "%z"),
    "XX": (r"(?:Z|[+-]\d{4})", "%z"),
}
_TOKEN = re.compile("|".join(sorted(_LETTERS, key=len, reverse=True)) + "|'T'|.")
_CLOCKS = ("", "H:mm", "H:mm:ss", "H:mm:ss.SSSSSS", "h:mm a", "h:mm:ss a")
_ENOUGH = 300
"""So many values tell a pattern from all others; the rest is only checked."""


@dataclass(frozen=True)
class TimePattern:
    """How a column's dates or times are written.

    Attributes:
        kind: ``date`` or ``timestamp``.
        format: Spark's pattern; None for ISO 8601.
        other: a second pattern that all values fit too, if days and months cannot be told apart.
        has_zone: whether values name their offset from UTC.
    """

    kind: str
    format: str | None
    has_zone: bool
    other: str | None = None


def time_pattern(texts: Sequence[str]) -> TimePattern | None:
    """The pattern that all texts are written in, or None; they are distinct and in file order."""
    if not texts or not any(char.isdigit() for char in texts[0]) or len(texts[0]) > 40:
        return None
    if all(_ISO.fullmatch(text) for text in texts):
        if any(parse(text, None) is None for text in texts):
            return None
        is_date = all(_ISO_DATE.fullmatch(text) for text in texts)
        has_zone = all(re.search(r":\d{2}(\.\d+)?(Z|[+-]\d{2}(:?\d{2})?)$", text) for text in texts)
        return TimePattern("date" if is_date else "timestamp", None, has_zone)
    fitting = [p for p in _patterns(texts[0]) if _all_fit(texts[:_ENOUGH], p)]
    fitting = [p for p in fitting if _all_fit(texts, p)]
    if not fitting:
        return None
    # Files are mostly written in order of time: the right reading goes back and forth the least.
    ranked = sorted(fitting, key=lambda p: _detours(texts[:_ENOUGH], p))
    best = ranked[0]
    other = next((p for p in ranked if _order(p) != _order(best)), None)
    kind = "timestamp" if "m" in best.replace("'T'", "") else "date"
    return TimePattern(kind, best, "X" in best, other)


def parse(text: str, pattern: str | None) -> datetime | None:
    """A text as UTC, by Spark's pattern or ISO 8601; None if it is none or its year is not 1-9999.

    Without an offset the time is UTC already.
    """
    try:
        if pattern is None:
            fraction = re.sub(r"(\.\d{6})\d+", r"\1", text)
            moment = _from_iso(fraction)
        else:
            moment = datetime.strptime(text, _for_python(pattern))
    except ValueError:
        return None
    return moment.astimezone(timezone.utc) if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _from_iso(text: str) -> datetime:
    if len(text) == 10:
        return datetime.combine(date.fromisoformat(text), datetime.min.time())
    # Before Python 3.11 Z, +01, +0100 and fractions of other than 3 or 6 digits are not known.
    found = re.fullmatch(r"(.{10}).(\d\d:\d\d)(:\d\d)?(\.\d+)?(Z|[+-]\d\d(?::?\d\d)?)?", text)
    if not found:
        raise ValueError(text)
    day, clock, seconds, fraction, zone = found.groups()
    offset = {None: "", "Z": "+0000"}.get(zone, (zone or "").replace(":", ""))
    offset += "00" if len(offset) == 3 else ""
    written = f"{day} {clock}{seconds or ':00'}{fraction or '.0'}{offset}"
    return datetime.strptime(written, "%Y-%m-%d %H:%M:%S.%f" + ("%z" if offset else ""))


def _patterns(example: str) -> Iterator[str]:
    """Patterns that the example's separators allow."""
    digits = re.match(r"(19|20)\d{6}(?!\d)", example)
    marks = re.match(r"\w+([-/. ]|, )\w+([-/. ]|, )\d", example)
    days = list(_days(marks)) if marks else ["yyyyMMdd"] if digits else []
    between = " " if " " in example[6:] or "T" not in example else "'T'"
    for day in days:
        for clock in _CLOCKS:
            for zone in ("", "XXX", "XX", " XXX", " XX") if clock else ("",):
                for padded in (True, False):
                    joined = f"{day}{between}{clock}{zone}" if clock else day
                    if padded:
                        yield _padded(joined)
                    else:
                        yield joined


def _days(marks: re.Match[str]) -> Iterator[str]:
    first, second = marks[1], marks[2]
    parts = re.split(r"[-/., ]+", marks.string)
    months = "MMM" if any(len(part) == 3 and part.isalpha() for part in parts[:2]) else "MMMM"
    if any(part.isalpha() for part in parts[:2]):
        for year in ("yyyy", "yy"):
            yield f"d{first}{months}{second}{year}"
            yield f"{months}{first}d{second}{year}"
        return
    yield f"yyyy{first}M{second}d"
    for year in ("yyyy", "yy"):
        yield f"d{first}M{second}{year}"
        yield f"M{first}d{second}{year}"


def _padded(pattern: str) -> str:
    """With two digits for days, months and hours, as most writers have it."""
    single = {"M": "MM", "d": "dd", "H": "HH", "h": "hh"}
    return "".join(single.get(token, token) for token in _TOKEN.findall(pattern))


def _all_fit(texts: Sequence[str], pattern: str) -> bool:
    shape = re.compile(_shape(pattern))
    return all(shape.fullmatch(text) and parse(text, pattern) for text in texts)


def _shape(pattern: str) -> str:
    tokens = _TOKEN.findall(pattern)
    return "".join(
        _LETTERS[t][0] if t in _LETTERS else "T" if t == "'T'" else re.escape(t) for t in tokens
    )


def _for_python(pattern: str) -> str:
    tokens = _TOKEN.findall(pattern)
    return "".join(_LETTERS[t][1] if t in _LETTERS else "T" if t == "'T'" else t for t in tokens)


def _order(pattern: str) -> list[str]:
    """The letters of days, months and years as they follow each other."""
    return [token[0] for token in _TOKEN.findall(pattern) if token[0] in "dMy"]


def _detours(texts: Sequence[str], pattern: str) -> float:
    """How far one goes from text to text, in days, as a multiple of the whole way."""
    moments = [moment.timestamp() for text in texts if (moment := parse(text, pattern))]
    steps = sum(abs(b - a) for a, b in pairwise(moments))
    return steps / ((max(moments) - min(moments)) or 1.0)
