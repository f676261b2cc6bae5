"""Sources and columns: what is declared fits together, or is refused before anything runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.config.field_path import parse_path
from pipeline.config.ingest import SourceConfig

COLUMN = {"a": {"type": "int"}}


def source(**settings: Any) -> SourceConfig:
    return SourceConfig.model_validate_json(json.dumps({"path": "x", "columns": COLUMN} | settings))


def test_a_path_names_fields_and_places() -> None:
    assert parse_path("a.b[0].c") == ("a", "b", 0, "c")
    assert parse_path("`a.b`[1][2].Total (USD)") == ("a.b", 1, 2, "Total (USD)")


@pytest.mark.parametrize("path", ["", "a..b", "[0]", "a.[0]", "a[x]", "a.", "`a"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="must be a path"):
        parse_path(path)
    with pytest.raises(ValidationError):
        source(format="json", columns={"a": {"type": "int", "from": path}})


def test_a_name_in_a_csv_file_is_no_path() -> None:
    config = source(columns={"a": {"type": "int", "from": "a..b [%]"}})
    assert config.names_in_files == {"a": "a..b [%]"}
    dumped = config.model_dump(mode="json")
    assert dumped["columns"]["a"]["from"] == "a..b [%]"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"format": "parquet", "header": False}, "header is for format csv, not parquet"),
    ({"explode": "b"}, "explode is for format json or parquet or orc, not csv"),
    ({"format": "text"}, "pattern must be set"),
    ({"format": "text", "pattern": "(?P<b>.)"}, "must have a group .* for column 'a'; it has b"),
    ({"format": "text", "pattern": "(?P<a>"}, "no regular expression"),
    ({"comment": "#", "multiline": True}, "comment and multiline"),
    ({"columns": {"a": {"type": "string", "decimal": ","}}}, "for numbers, not string"),
    ({"columns": {"a": {"type": "int", "thousands": "."}}}, "must differ"),
    ({"columns": {"a": {"type": "date", "zone": "UTC"}}}, "for timestamps, not date"),
    ({"columns": {"a": {"type": "timestamp", "zone": "Mars/Base"}}}, "IANA time zone"),
    ({"columns": {"a": {"type": "int", "default": "x"}}}, "must be a value of int"),
    ({"columns": {"a": {"type": "int", "default": 2**31}}}, "must be a value of int"),
    ({"columns": {"a": {"type": "boolean", "default": 1}}}, "must be a value of boolean"),
    ({"columns": {"a": {"type": "decimal(3,1)", "default": 1.25}}}, "must be a value of decimal"),
    ({"columns": {"a": {"type": "date", "default": "2013-02-30"}}}, "must be a value of date"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_what_does_not_fit_together_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        source(**settings)
