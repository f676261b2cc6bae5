"""What every section of the configuration has in common."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Frozen and strict: no unknown key, and no silent change of type (``"8"`` is not 8)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


Count = Annotated[int, Field(gt=0)]
"""A whole number above zero."""


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", value):
        raise ValueError(f"must be a name of letters, digits and _. Got {value!r} instead")
    return value


def _slug(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", value):
        raise ValueError(f"must be a name of letters, digits, - and _. Got {value!r} instead")
    return value


Name = Annotated[str, AfterValidator(_name)]
"""A name that is safe as a SQL view, a column and a folder."""

Slug = Annotated[str, AfterValidator(_slug)]
"""A name that is safe as a folder."""
