"""One declared column of a source: what its values are, and how files write them."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from pipeline.config.section import Section
from pipeline.config.time_zone import TimeZone

_TYPES = ("string", "int", "long", "float", "double", "boolean", "date", "timestamp")
_NUMBERS = re.compile(r"int|long|float|double|decimal.*")
_WHOLE = {"int": 31, "long": 63}


def _known_type(value: str) -> str:
    if value not in _TYPES and not re.fullmatch(r"decimal\(\d{1,2}, ?\d{1,2}\)", value):
        allowed = ", ".join((*_TYPES, "decimal(precision, scale)"))
        raise ValueError(f"must be one of {allowed}. Got {value!r} instead")
    return value


ColumnType = Annotated[str, AfterValidator(_known_type)]
Scalar = bool | int | float | str


class ColumnConfig(Section):
    """One declared column. A row that breaks any part of it is quarantined with the reason."""

    model_config = ConfigDict(serialize_by_alias=True)

    type: ColumnType
    from_: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        default=None,
        alias="from",
        description="its name in the files, or its path in nested records, as a.b[0].c",
    )
    nullable: bool = True
    default: Scalar | None = Field(default=None, description="stands where a value is missing")
    min: int | float | None = None
    max: int | float | None = None
    allowed: tuple[Scalar, ...] | None = None
    pattern: str | None = None
    format: str | None = Field(
        default=None, description="Spark's date or time pattern, for example yyyy-MM-dd HH:mm"
    )
    zone: TimeZone | None = Field(
        default=None, description="of times that are written without an offset; else they are UTC"
    )
    decimal: Literal[".", ","] = "."
    thousands: Literal[",", ".", " ", "'", "_", "\u00a0", "\u202f"] | None = None
    unit: str | None = None
    description: str | None = None

    @model_validator(mode="after")
    def _marks_and_zone_fit_the_type(self) -> ColumnConfig:
        number = _NUMBERS.fullmatch(self.type)
        if (self.decimal != "." or self.thousands is not None) and not number:
            raise ValueError(f"decimal and thousands are for numbers, not {self.type}")
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands must differ. Got {self.decimal!r} for both")
        if self.zone is not None and self.type != "timestamp":
            raise ValueError(f"zone is for timestamps, not {self.type}")
        return self

    @model_validator(mode="after")
    def _default_fits_the_type(self) -> ColumnConfig:
        if self.default is not None and not _is_value(self.default, self.type):
            raise ValueError(
                f"default must be a value of {self.type}. Got {self.default!r} instead"
            )
        return self


def _is_value(value: Scalar, kind: str) -> bool:
    if kind == "boolean" or isinstance(value, bool):
        return kind == "boolean" and isinstance(value, bool)
    if kind in _WHOLE:
        return isinstance(value, int) and -(2 ** _WHOLE[kind]) <= value < 2 ** _WHOLE[kind]
    if kind in ("float", "double"):
        return isinstance(value, int | float)
    if kind.startswith("decimal"):
        return _is_decimal(value, kind)
    return isinstance(value, str) and (kind == "string" or _is_time(value, kind))


def _is_decimal(value: Scalar, kind: str) -> bool:
    precision, scale = (int(part) for part in kind[8:-1].split(","))
    try:
        exact = Decimal(str(value))
    except InvalidOperation:
        return False
    rounded = round(exact, scale) if exact.is_finite() else None
    return rounded == exact and abs(exact) < 10 ** (precision - scale)


def _is_time(value: str, kind: str) -> bool:
    shape = r"\d{4}-\d\d-\d\d" if kind == "date" else r"\d{4}-\d\d-\d\d([T ].*)?"
    try:
        parsed = (date if kind == "date" else datetime).fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return False
    return bool(parsed) and re.fullmatch(shape, value) is not None
