"""What came of one fit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import pyarrow as pa

from pipeline.models.entry import Scope
from pipeline.training.matrix import Floats

Status = Literal["ok", "failed", "skipped"]

BASELINE = "baseline"
"""The candidate name of the segment's mean or median; no configuration can take it."""

GLOBAL_BASELINE = "baseline of all segments"
"""The same of all training rows, for segments without rows enough. Not a slug, so not taken."""

_ERROR_LENGTH = 500


@dataclass(frozen=True, slots=True)  # slots: there may be millions
class FitResult:
    """One candidate on one fold of one segment.

    Attributes:
        segment: its key, or ``*`` for all segments together.
        score: error on the validation rows, in the target's unit; None unless ``ok``.
        seconds: wall time of fit and predict; 0 where a pooled fit is scored on a segment's rows.
        warnings: how many warnings the fit gave.
        error: ``Type: message`` if it failed, the reason if it was skipped.
        predictions: (n_validation_rows,), if asked for.
    """

    segment: str
    candidate: str
    scope: Scope
    fold: int
    status: Status
    score: float | None
    rows_train: int
    rows_valid: int
    seconds: float = field(default=0.0, compare=False)
    warnings: int = 0
    error: str | None = None
    predictions: Floats | None = field(default=None, compare=False, repr=False)

    def record(self) -> dict[str, Any]:
        """The result without its predictions, as JSON takes it."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "predictions"}


LEADERBOARD = pa.schema(
    [
        ("segment", pa.string()),
        ("candidate", pa.string()),
        ("scope", pa.string()),
        ("fold", pa.int32()),
        ("status", pa.string()),
        ("score", pa.float64()),
        ("rows_train", pa.int64()),
        ("rows_valid", pa.int64()),
        ("seconds", pa.float64()),
        ("warnings", pa.int32()),
        ("error", pa.string()),
    ]
)


def leaderboard(results: Iterable[FitResult]) -> pa.Table:
    """One row a fit, in an order that does not depend on the order of work."""
    ordered = sorted(results, key=lambda r: (r.segment, r.scope, r.candidate, r.fold))
    columns = {name: [getattr(r, name) for r in ordered] for name in LEADERBOARD.names}
    return pa.table(columns, schema=LEADERBOARD)


def error_text(error: BaseException) -> str:
    """``Type: message`` on one line: it goes to logs, where a line break could forge a line."""
    text = f"{type(error).__name__}: {error}"
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:_ERROR_LENGTH]
