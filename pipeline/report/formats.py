"""Numbers as people read them: separators, units, no false precision."""

from __future__ import annotations

import math
from datetime import datetime, timezone

NONE = "\u2013"
_SPACE = "\u00a0"  # a number stays on one line with its unit


def _minus(text: str) -> str:
    return text.replace("-", "\u2212", 1) if text.startswith("-") else text


def count(value: float | None) -> str:
    """336776 → 336,776."""
    return NONE if value is None else _minus(f"{round(value):,}")


def decimal(value: float | None, unit: str = "") -> str:
    """About four significant digits: 40.123 → 40.12, 0.04567 → 0.0457."""
    if value is None or not math.isfinite(value):
        return NONE
    size = abs(value)
    if value == int(value) and size < 1e15:
        shown = f"{int(value):,}"
    elif size >= 1e9 or size < 1e-4:
        shown = f"{value:.3g}"
    elif size >= 1000:
        shown = f"{value:,.0f}"
    elif size >= 100:
        shown = f"{value:.1f}"
    else:
        shown = f"{value:.2f}" if size >= 1 else f"{value:.3g}"
    return _minus(shown) + (_SPACE + unit if unit else "")


def metric(value: float | None, unit: str = "", like: float | None = None) -> str:
    """A score with as many decimals as suit ``like``, so that a column of scores lines up.

    Args:
        value: the score.
        unit: put behind it.
        like: a score of the usual size there; ``value`` itself when left out.
    """
    if value is None or not math.isfinite(value):
        return NONE
    scale = abs(value if like is None else like)
    if scale >= 1e9 or 0 < scale < 1e-6:
        return decimal(value, unit)
    digits = 2 if scale >= 1 or scale == 0 else 2 + math.ceil(-math.log10(scale))
    shown = f"{value:,.{digits}f}"
    shown = shown.lstrip("-") if float(shown.replace(",", "")) == 0 else shown
    return _minus(shown) + (_SPACE + unit if unit else "")


def percent(share: float | None, signed: bool = False) -> str:
    """0.0861 → 8.6 %."""
    if share is None or not math.isfinite(share):
        return NONE
    if share == 0:
        return f"0{_SPACE}%"
    if 0 < abs(share) < 0.0005:
        return f"<{_SPACE}0.1{_SPACE}%"
    shown = f"{share * 100:{'+' if signed else ''},.1f}"
    return _minus(shown) + _SPACE + "%"


def duration(seconds: float | None) -> str:
    """134.2 → 2 min 14 s."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds < 9.95:
        return f"{seconds:.2f}{_SPACE}s" if seconds < 0.995 else f"{seconds:.1f}{_SPACE}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{_SPACE}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}{_SPACE}min {rest:02d}{_SPACE}s"
    return f"{minutes // 60:,}{_SPACE}h {minutes % 60:02d}{_SPACE}min"


def size(value: float | None) -> str:
    """Bytes in binary units: 185000000 → 176 MiB."""
    if value is None:
        return NONE
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f}{_SPACE}{unit}" if value >= 100 else f"{value:.3g}{_SPACE}{unit}"
        value /= 1024
    return f"{value:,.1f}{_SPACE}TiB"


def instant(value: object) -> datetime | None:
    """A time out of JSON: ISO text or seconds since 1970; without a zone it is UTC."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, timezone.utc)
        parsed = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except (ValueError, OverflowError, OSError):
        return None
    if parsed.tzinfo is None:
        return parsed.replace(tzinfo=timezone.utc)
    return parsed.astimezone(timezone.utc)


def when(value: object) -> str:
    """An instant as "2026-11-23 08:13 UTC"; text that is no time is shown as it is."""
    parsed = instant(value)
    if parsed is None:
        return NONE if value is None else str(value)
    return f"{parsed:%Y-%m-%d %H:%M} UTC"


def plural(value: float, one: str, many: str | None = None) -> str:
    """3, "model" → 3 models."""
    return f"{count(value)} {one if round(value) == 1 else many or one + 's'}"


def gain(
    score: float | None, baseline: float | None, greater_is_better: bool = False
) -> float | None:
    """Share by which a score is better than the baseline's; negative where it is worse."""
    if score is None or baseline is None or baseline == 0:
        return None
    if greater_is_better:
        return (score - baseline) / abs(baseline)
    return 1 - score / baseline if baseline > 0 else None
