"""What the configuration alone gives away of the target is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.config.preprocess import PreprocessConfig

LAG = {"kind": "lag", "by": ["shop"], "columns": ["sold"]}


def config(*transforms: dict[str, Any], features: tuple[str, ...] = ("price",)) -> None:
    settings = {
        "steps": [{"name": "made", "input": "sales", "transforms": transforms}],
        "key": ["id"],
        "time": "at",
        "segment": ["shop"],
        "target": "sold",
        "features": {"numeric": features},
        "split": {"test_from": "2024-01-01T00:00:00Z"},
    }
    PreprocessConfig.model_validate_json(json.dumps(settings))


@pytest.mark.parametrize(
    "transforms",
    [
        [LAG],
        [{**LAG, "horizon": "7d"}],
        [{**LAG, "kind": "rolling", "windows": ["7d"], "aggregates": ["mean"]}],
        [{**LAG, "kind": "expanding", "aggregates": ["mean"]}],
        [{**LAG, "kind": "join_as_of", "table": "sales"}],
        [{"kind": "log", "columns": ["sold"]}, {**LAG, "columns": ["price", "sold_log"]}],
    ],
)
def test_the_targets_history_needs_to_say_when_it_is_known(transforms: Any) -> None:
    with pytest.raises(ValidationError, match=r"recalls the target .* set known_after"):
        config(*transforms)
    config(*({**t, "known_after": "1d"} if t["kind"] != "log" else t for t in transforms))


def test_a_row_never_counts_its_own_target() -> None:
    for known_after in ("0s", "sold_at"):
        with pytest.raises(ValidationError, match="own target"):
            config({**LAG, "known_after": known_after, "inclusive": True})
        config({**LAG, "known_after": known_after, "inclusive": True, "horizon": "1h"})
        config({**LAG, "known_after": known_after})


@pytest.mark.parametrize(
    ("transform", "feature"),
    [
        ({"kind": "log", "columns": ["sold"]}, "sold_log"),
        ({"kind": "impute_flags", "columns": ["sold"]}, "sold_missing"),
        ({"kind": "ratio", "numerator": "price", "denominator": "sold"}, "price_per_sold"),
        ({"kind": "clip", "columns": ["sold"], "low": 0.0}, "sold_clipped"),
    ],
)
def test_what_is_made_of_the_target_is_no_feature(transform: Any, feature: str) -> None:
    with pytest.raises(ValidationError, match=f"{feature}' is made of the target"):
        config(transform, features=("price", feature))
    again = {"kind": "ratio", "numerator": feature, "denominator": "price", "name": "again"}
    with pytest.raises(ValidationError, match="'again' is made of the target"):
        config(transform, again, features=("again",))
    config(transform)


def test_other_columns_need_no_declaration() -> None:
    config({**LAG, "columns": ["price"], "inclusive": True})
