"""``preprocess.split.test``: which rows no model is trained on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.config.section import Name, Section

HeldOutKind = Literal["time", "group", "hash", "stratified"]

SHARE = 0.2
"""Of the test, where it is not by time and no share is given."""

_OF = {
    "gap_days": ("time",),
    "share": ("group", "hash", "stratified"),
    "group": ("group",),
    "key": ("hash",),
    "seed": ("group", "hash", "stratified"),
}


class HeldOutConfig(Section):
    """The rows of the test.

    ``kind: time``: those from ``split.test_from`` on. The rows of ``gap_days`` before it are
    neither trained on nor tested: they are dropped, and counted.

    ``group``: rows with equal values in the columns of ``group`` are all in the test or all in
    training, in all segments. ``hash``: the same for the columns of ``key``, or of
    ``preprocess.key`` where it is left out, so that single rows are drawn. Of both, about
    ``share`` of the groups or keys is in the test, chosen by a hash of their values: each stays
    where it is when rows are added.

    ``stratified``: ``share`` of every class of a segment, or of every tenth of a segment's targets
    if they are numbers with a fraction, to a row. Rows move when others are added.
    """

    kind: HeldOutKind = "time"
    gap_days: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="of kind: time; none when left out"
    )
    share: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description=f"of the other kinds; {SHARE:g} when left out"
    )
    group: tuple[Name, ...] = Field(default=(), description="of kind: group: columns with a role")
    key: tuple[Name, ...] = Field(
        default=(), description="of kind: hash: columns with a role; preprocess.key when left out"
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        default=0, description="of the hash that draws the rows of the other kinds"
    )

    @property
    def by_time(self) -> bool:
        return self.kind == "time"

    @model_validator(mode="after")
    def _settings_of_the_kind(self) -> HeldOutConfig:
        problems = [
            f"{name} is of kind: {' and kind: '.join(kinds)}. "
            f"Got {_shown(getattr(self, name))} with kind: {self.kind} instead"
            for name, kinds in _OF.items()
            if getattr(self, name) and self.kind not in kinds
        ]
        if self.kind == "group" and not self.group:
            problems.append("group must name the columns whose values are a group. Got none")
        for name in ("group", "key"):
            columns = getattr(self, name)
            if len(set(columns)) < len(columns):
                found = ", ".join(columns)
                problems.append(f"{name} must name each column once. Got {found} instead")
        if problems:
            raise ValueError("; ".join(problems))
        if not self.by_time and self.share is None:
            # The section is frozen for all others; a validator is the last hand on it.
            object.__setattr__(self, "share", SHARE)
        return self


def _shown(value: float | tuple[str, ...]) -> str:
    return ", ".join(value) if isinstance(value, tuple) else f"{value:g}"
