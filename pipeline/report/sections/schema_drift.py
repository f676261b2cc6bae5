"""One line that says how the columns of a source's files differ from the declared ones."""

from __future__ import annotations

from typing import Any

from pipeline.report.formats import plural
from pipeline.report.pick import mapping, number
from pipeline.report.visible import label

MAX_NAMES = 5  # of each kind
_SAID = {
    "missing": "{} missing, filled",
    "retyped": "{}, read where it fits",
    "extra": "{} ignored",
}


def drift_line(name: str, source: Any) -> str | None:
    """For example ``sales: more ignored (2 files); price missing, filled (1 file)``."""
    drift = mapping(source, "drift")
    parts = []
    for kind, said in _SAID.items():
        files = mapping(drift, kind)
        parts += [
            f"{said.format(label(found, 80))} ({plural(number(files, found) or 0, 'file')})"
            for found in list(files)[:MAX_NAMES]
        ]
        if len(files) > MAX_NAMES:
            parts.append(f"{plural(len(files) - MAX_NAMES, 'more column')} {kind}")
    if reordered := number(drift, "reordered"):
        parts.append(f"columns in another order, read by name ({plural(reordered, 'file')})")
    return f"{label(name)}: {'; '.join(parts)}" if parts else None
