"""``train.candidates.NAME.search``: parameters that are tried in several values."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from pipeline.config.section import Count, Name, Section

Param = bool | int | float | str | None
"""A parameter's value, as YAML gives it."""

ParamValue = Param | tuple[Param, ...]

_Number = int | float


class RangeConfig(Section):
    """A uniform distribution over ``low`` to ``high``, both included; over the logarithm with
    ``log``, over whole numbers with ``int``."""

    low: _Number
    high: _Number
    log: bool = False
    int: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> RangeConfig:
        if not self.low < self.high:
            raise ValueError(f"low must be below high. Got {self.low} and {self.high} instead")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be above 0 with log: true. Got {self.low} instead")
        if self.int and (self.low != round(self.low) or self.high != round(self.high)):
            raise ValueError(
                "low and high must be whole numbers with int: true. "
                f"Got {self.low} and {self.high} instead"
            )
        return self


class ChoicesConfig(Section):
    """Values of equal chance."""

    choices: Annotated[tuple[ParamValue, ...], Field(min_length=1)]


class SearchConfig(Section):
    """Either ``grid``, every combination of listed values, or ``random``, ``n`` drawn ones."""

    grid: dict[Name, Annotated[tuple[ParamValue, ...], Field(min_length=1)]] = Field(
        default={}, description="parameter → its values, the simplest first"
    )
    random: dict[Name, RangeConfig | ChoicesConfig] = Field(
        default={}, description="parameter → {low, high, log, int} or {choices}"
    )
    n: Count | None = Field(default=None, description="how many are drawn; with random alone")

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that are searched."""
        return (*self.grid, *self.random)

    @model_validator(mode="after")
    def _one_kind(self) -> SearchConfig:
        if bool(self.grid) == bool(self.random):
            raise ValueError("must name parameters in grid or in random, one of the two")
        if bool(self.random) != (self.n is not None):
            raise ValueError("n, the number of draws, goes with random and is needed there")
        return self
