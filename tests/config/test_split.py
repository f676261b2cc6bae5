"""The kinds of folds in the configuration, and what each of them refuses."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.config.preprocess import PreprocessConfig, SplitConfig

TEST = datetime(2024, 1, 1, tzinfo=timezone.utc)


def split(**given: Any) -> SplitConfig:
    section = {"test_from": TEST.isoformat(), **given}
    return SplitConfig.model_validate_json(json.dumps(section))


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


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"test_from": None}, "test_from must be given with test.kind: time. Got none instead"),
        (
            {"test": {"kind": "hash"}, "kind": "stratified"},
            "test_from must be left out with test.kind: hash. Got 2024-01-01T00:00:00+00:00",
        ),
        (
            {"test": {"kind": "hash"}, "test_from": None},
            "kind: time needs test.kind: time, for the folds end where the test begins. Got "
            "test.kind: hash instead",
        ),
        ({"test": {"kind": "group"}}, "group must name the columns whose values are a group"),
        ({"test": {"kind": "group", "group": ["id", "id"]}}, "group must name each column once"),
        ({"test": {"share": 0.1}}, "share is of kind: group and kind: hash and kind: stratified"),
        ({"test": {"kind": "hash", "gap_days": 1}}, "gap_days is of kind: time. Got 1 with kind"),
        ({"test": {"kind": "stratified", "key": ["id"]}}, "key is of kind: hash. Got id with"),
        ({"test": {"kind": "hash", "share": 1}}, "less than 1"),
    ],
)
def test_settings_of_another_test_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        split(**given)
    assert message in str(refused.value)


def test_a_test_that_is_not_by_time_needs_a_share_and_columns_with_a_role() -> None:
    drawn = {"test_from": None, "kind": "stratified"}
    assert split(**drawn, test={"kind": "stratified"}).test.share == 0.2
    known = roles(**drawn, test={"kind": "hash", "key": ["customer"], "share": 0.1})
    assert (known.split.test.key, known.split.periods()) == (("customer",), [])
    with pytest.raises(ValidationError, match=r"split.test.group must name columns that have a"):
        roles(**drawn, test={"kind": "group", "group": ["patient"]})


def test_folds_by_time_end_where_the_gap_begins() -> None:
    later = split(test={"gap_days": 7})
    assert later.periods()[-1][2] == later.train_until == TEST - timedelta(days=7)
    assert split().periods()[-1][2] == TEST


def test_a_test_by_time_alone_is_no_part_of_the_fingerprint() -> None:
    assert "test" not in split().model_dump(mode="json")
    assert split(test={"gap_days": 7}).model_dump(mode="json")["test"]["gap_days"] == 7
