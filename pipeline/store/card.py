"""The dataset card: what ``convert`` verified, and all that is needed to open the data again."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from pipeline.store.layout import write_text

CARD = "card.json"

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class DatasetCard:
    """A verified dataset: its files, its columns' roles, and how it is split.

    Attributes:
        artifact: fingerprint of the preprocess artifact that holds the files.
        files: Parquet files below that artifact, in row order.
        sha256: of each file.
        rows: rows of each file.
        columns: name → Arrow type, as text.
        segment, key: columns that name the segment, and the row.
        test_from: first instant of the test period, ISO 8601 UTC; None of a test that is not by
            time.
        folds: per fold (end of training, start of validation, end of validation), ISO 8601 UTC;
            none where there is a ``fold_column``.
        fold_kind: ``time``, ``group`` or ``stratified``.
        fold_column: of the kinds that are not by time, the column that holds each row's fold.
        n_folds: how many folds that column has.
        test_column: of a test that is not by time, the column that says ``test`` of its rows.
        test_rule: equal of datasets of which a row that is held out in one is never trained on in
            another; None of a test by time, whose ``test_from`` tells it.
    """

    artifact: str
    files: tuple[str, ...]
    sha256: tuple[str, ...]
    rows: tuple[int, ...]
    columns: dict[str, str]
    key: tuple[str, ...]
    time: str
    segment: tuple[str, ...]
    target: str
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    test_from: str | None
    folds: tuple[tuple[str, str, str], ...]
    fold_kind: str = "time"  # cards from before there were other kinds have none of these
    fold_column: str | None = None
    n_folds: int = 0
    test_column: str | None = None
    test_rule: str | None = None

    @property
    def test_micros(self) -> int | None:
        """``test_from`` in microseconds since 1970 UTC, exact."""
        if self.test_from is None:
            return None
        return (datetime.fromisoformat(self.test_from) - _EPOCH) // timedelta(microseconds=1)

    @property
    def periods(self) -> tuple[tuple[datetime, datetime, datetime], ...]:
        instant = datetime.fromisoformat
        return tuple((instant(a), instant(b), instant(c)) for a, b, c in self.folds)

    def write(self, folder: Path) -> None:
        write_text(folder / CARD, json.dumps(dataclasses.asdict(self), indent=1) + "\n")


def read_card(folder: Path) -> DatasetCard:
    """The card of a published convert artifact."""
    data: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
    for name, value in data.items():
        if isinstance(value, list):
            data[name] = tuple(tuple(v) if isinstance(v, list) else v for v in value)
    return DatasetCard(**data)
