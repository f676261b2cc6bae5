"""The kinds of folds in the configuration, and what each of them refuses."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.config.preprocess import PreprocessConfig, SplitConfig

TEST = datetime(2024, 1, 1, tzinfo=timezone.utc)


def split(**given: Any) -> SplitConfig:
    return SplitConfig.model_validate_json(json.dumps({"test_from": TEST.isoformat(), **given}))


def roles(**given: Any) -> PreprocessConfig:
    section = {
        "steps": [{"name": "last", "sql": "x.sql"}],
        "key": ["id"],
        "time": "at",
        "segment": ["shop"],
        "target": "sold",
        "features": {"numeric": ["price"]},
        "carry": ["customer"],
        "split": {"test_from": TEST.isoformat(), **given},
    }
    return PreprocessConfig.model_validate_json(json.dumps(section))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"kind": "group", "group": ["id"], "validation_days": 30, "gap_days": 0},
            "validation_days is of kind: time alone; with kind: group leave it out or set it to "
            "null. Got 30 instead; gap_days is of kind: time alone",
        ),
        ({"kind": "stratified", "gap_days": 2}, "gap_days is of kind: time alone"),
        (
            {"kind": "stratified", "folds": 1},
            "folds must be at least 2 with kind: stratified. Got 1 instead",
        ),
        ({"kind": "group"}, "go together. Got kind 'group' and group [] instead"),
        ({"group": ["id"]}, "go together. Got kind 'time' and group ['id'] instead"),
        ({"kind": "stratified", "group": ["id"]}, "Got kind 'stratified' and group ['id']"),
        ({"kind": "group", "group": ["id", "id"]}, "group must name each column once"),
        ({"seed": 7}, "seed is of kind: group and kind: stratified. Got 7"),
        ({"kind": "random"}, "should be 'time', 'group' or 'stratified'"),
    ],
)
def test_settings_of_another_kind_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        split(**given)
    assert message in str(refused.value)


def test_a_group_must_be_a_column_of_the_feature_table() -> None:
    found = roles(kind="group", group=["id", "shop", "price", "customer"])
    assert set(found.split.group) <= set(found.columns)
    with pytest.raises(ValidationError) as refused:
        roles(kind="group", group=["shop", "patient"])
    assert "must name columns that have a role" in str(refused.value)
    assert "Got patient instead; add it to key" in str(refused.value)


def test_days_are_of_time_and_have_defaults_there_alone() -> None:
    by_time = split()
    assert (by_time.validation_days, by_time.gap_days, len(by_time.periods())) == (30, 1, 3)
    assert split(gap_days=0).gap_days == 0
    other = split(kind="stratified", validation_days=None)  # as a later layer takes them back
    assert (other.validation_days, other.gap_days, other.periods()) == (None, None, [])


@pytest.mark.parametrize("given", [{}, {"kind": "stratified"}, {"kind": "group", "group": ["id"]}])
def test_what_a_manifest_keeps_can_be_read_again(given: dict[str, Any]) -> None:
    section = split(**given)
    assert SplitConfig.model_validate_json(section.model_dump_json()) == section
