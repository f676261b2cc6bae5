"""``promotion``: when a challenger becomes champion. Never part of a fingerprint."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.section import Count, Section


class PromotionConfig(Section):
    """Champion and challenger are scored on the same held-out rows that neither was trained on.

    That is so for ``rmse`` and ``mae`` of regressions. With another task or scorer a version is
    decided upon as a whole, by its score on the held-out rows when it was trained; the champion's
    counts if it was found on the same rows, else the challenger need only beat the baseline.
    """

    margin: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="share of the champion's score by which the challenger must win"
    )
    by: Literal["segment", "version"] = Field(
        default="segment", description="decide for each segment alone, or once for all of them"
    )
    min_rows: Count = Field(
        default=30,
        description="held-out rows under which a segment follows the decision over all rows",
    )
