"""What came of one fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

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
        score: of the scorer that decides, on the validation rows; None unless ``ok``.
        seconds: wall time of fit and predict; 0 where a pooled fit is scored on a segment's rows.
        warnings: how many warnings the fit gave.
        error: ``Type: message`` if it failed, the reason if it was skipped.
        also: those of ``train.also_score``, in its order, each None where the rows allow none;
            empty unless ``ok``.
        predictions: (n_validation_rows,), or a column a class or quantile, if asked for.
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
    also: tuple[float | None, ...] = ()
    predictions: Floats | None = field(default=None, compare=False, repr=False)


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
        ("also", pa.list_(pa.float64())),
    ]
)


def to_table(results: Iterable[FitResult]) -> pa.Table:
    """One row a fit, in the given order."""
    every = list(results)
    columns = {name: [getattr(r, name) for r in every] for name in LEADERBOARD.names}
    return pa.table(columns, schema=LEADERBOARD)


def published(table: pa.Table, scorers: Sequence[str]) -> pa.Table:
    """A leaderboard for people: each of ``train.also_score`` has a column ``score_<name>``."""
    also = table.column("also").to_pylist()
    table = table.drop_columns(["also"])
    for i, name in enumerate(scorers):
        scores = pa.array([found[i] if found else None for found in also], pa.float64())
        table = table.append_column(f"score_{name}", scores)
    return table


def from_table(table: pa.Table) -> list[FitResult]:
    """The fits of a leaderboard's rows, without their predictions."""
    return [FitResult(**{**row, "also": tuple(row["also"] or ())}) for row in table.to_pylist()]


def in_order(table: pa.Table, rows: int = 50_000) -> Iterator[pa.Table]:
    """A leaderboard by segment, scope, candidate and fold, whatever the order of work was.

    In pieces of about ``rows``, each with whole segments, so that few fits are in memory at a time.
    """
    keys = [(name, "ascending") for name in ("segment", "scope", "candidate", "fold")]
    order = pc.sort_indices(table.select([name for name, _ in keys]), sort_keys=keys)
    start = 0
    while start < len(order):
        piece = table.take(order.slice(start, rows))
        stop = start + piece.num_rows
        if stop < len(order):
            last = piece.column("segment")[-1]
            whole = pc.index(piece.column("segment"), last).as_py()
            if not whole:  # a segment with more fits than that
                yield from in_order(table.take(order.slice(start)), 2 * rows)
                return
            piece, stop = piece.slice(0, whole), start + whole
        yield piece
        start = stop


def error_text(error: BaseException) -> str:
    """``Type: message`` on one line: it goes to logs, where a line break could forge a line."""
    text = f"{type(error).__name__}: {error}"
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:_ERROR_LENGTH]
