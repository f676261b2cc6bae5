"""One segment's champion as the registry keeps it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias

from sklearn.base import BaseEstimator

from pipeline.errors import StoreError
from pipeline.models.constant import constant_model
from pipeline.models.persistence import load_model

_SHA256 = re.compile(r"[0-9a-f]{64}")


Scope: TypeAlias = Literal["own", "blend", "parent", "pooled", "baseline"]
"""Where a model was fitted: on its segment, in halves there and on all segments, on a wider group
of segments, on all segments, or nowhere (a constant)."""

Prediction: TypeAlias = float | tuple[float, ...]
"""What a baseline says of every row: a number, or one a class or a quantile."""


@dataclass(frozen=True)
class ModelEntry:
    """Which model predicts a segment's rows, where it lies and how it came about.

    Attributes:
        segment: its key; ``*`` for rows of segments that were not trained on.
        candidate: name of the candidate, or of the baseline.
        scope: ``own``, ``blend`` (of two candidates: ``ridge&boosting-pooled``), ``parent`` (the
            candidate then names the level: ``ridge@carrier``), ``pooled`` or ``baseline``.
        fingerprint: of the train artifact.
        created_at: UTC, ISO 8601.
        file: path of the model, relative to the store; None for a constant.
        sha256: of the model's bytes.
        member: the model's name, if the file is a bundle.
        constant: the one prediction of a baseline: a number in the target's unit, the share of
            each class, or one number a quantile.
        fallback: why the choice was narrowed, or None.
        metrics: scores, in the target's unit, by name.
        classes: what the model tells apart, as text, sorted; of classification only.
        quantiles: what the model predicts, ascending; of quantile only.
    """

    segment: str
    candidate: str
    scope: Scope
    fingerprint: str
    created_at: str
    file: str | None = None
    sha256: str | None = None
    member: str | None = None
    constant: Prediction | None = None
    fallback: str | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    quantiles: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("constant", "classes", "quantiles"):
            if isinstance(value := getattr(self, name), list):  # as JSON gives it back
                object.__setattr__(self, name, tuple(value))
        if (self.file is None) == (self.constant is None):
            raise StoreError(f"Model of segment {self.segment}: must be a file or a constant.")
        if self.file is not None:
            _check_inside(self.file)
            if not _SHA256.fullmatch(self.sha256 or ""):
                raise StoreError(
                    f"Model of segment {self.segment}: sha256 must be 64 hex digits. "
                    f"Got {self.sha256!r} instead."
                )

    @property
    def model(self) -> str:
        """What a prediction's ``model`` column says: ``scope:candidate``."""
        return self.candidate if self.scope == "baseline" else f"{self.scope}:{self.candidate}"

    @property
    def is_shared(self) -> bool:
        """Whether other segments may have the same fitted model."""
        return self.scope in ("parent", "pooled")

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for entries that are the same model."""
        return self.file, self.member, self.constant, self.classes

    def record(self) -> dict[str, Any]:
        record = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("classes", "quantiles"):
            # Left out of other tasks' records, whose hash names their version.
            if not record[name]:
                del record[name]
        return {**record, "metrics": dict(self.metrics)}


def load_entry(entry: ModelEntry, store: Path) -> BaseEstimator:
    """The fitted model of an entry.

    Raises:
        StoreError: see :func:`~pipeline.models.persistence.load_model`; or the path leaves the
            store through a link.
    """
    if entry.constant is not None:
        return constant_model(entry.constant, entry.classes)
    assert entry.file is not None and entry.sha256 is not None  # __post_init__ saw to it
    path = (store / entry.file).resolve()
    if not path.is_relative_to(store.resolve()):
        raise StoreError(f"{entry.file}: a model must lie in the store. Got {path} instead.")
    return load_model(path, entry.sha256, entry.member)


def _check_inside(file: str) -> None:
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or "\\" in file or "://" in file:
        raise StoreError(f"A model's file must be a path below the store. Got {file!r} instead.")
