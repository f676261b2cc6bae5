"""Records as texts of columns: their own digits, and a reason where there is no text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.cells import Cells
from pipeline.dataprep.json_cells import JsonParser


def parse(text: str, *paths: str, **settings: Any) -> list[Cells]:
    columns = {f"c{n}": {"type": "string", "from": path} for n, path in enumerate(paths or ("a",))}
    source = {"path": "x", "format": "json", "columns": columns} | settings
    return list(JsonParser.of(SourceConfig.model_validate_json(json.dumps(source)))(text))


def test_values_keep_their_texts() -> None:
    text = '{"a": 1.10, "b": true, "c": NaN, "d": 12345678901234567890.1234567890, "e": null}'
    assert parse(text, "a", "b", "c", "d", "e", "f") == [
        Cells(None, ["1.10", "true", "NaN", "12345678901234567890.1234567890", None, None])
    ]


def test_nested_values_are_found_by_path() -> None:
    text = '{"a": {"b": [{"c": 1.10, "d": "2"}]}, "e.f": "x"}'
    (row,) = parse(text, "a.b[0].c", "a.b[1].c", "a.b", "`e.f`", "a.b.c")
    assert row.texts == ["1.10", None, '[{"c":1.10,"d":"2"}]', "x", None]


def test_elements_of_an_array_are_rows() -> None:
    text = '{"id": 7, "order": {"lines": [{"n": 1}, {"n": {"m": 2.0}}]}}'
    paths = ("id", "order.lines.n")
    rows = parse(text, *paths, explode="order.lines")
    assert rows == [Cells(1, ["7", "1"]), Cells(2, ["7", '{"m":2.0}'])]
    for empty in ('{"id": 7, "order": {"lines": []}}', '{"id": 7}'):
        assert parse(empty, *paths, explode="order.lines") == [Cells(None, ["7", None])]
    (broken,) = parse('{"id": 7, "order": {"lines": 5}}', *paths, explode="order.lines")
    assert (broken.rule, broken.found) == ("not_an_array", "5")


BROKEN = {
    '{"a": 1': ("not_json", "Expecting ',' delimiter at character 8"),
    '{"a": 1} {"a": 2}': ("not_json", "Extra data at character 10"),
    '{"a": 01}': ("not_json", "Expecting ',' delimiter at character 8"),
    "[1]": ("not_an_object", "[1]"),
    '{"a": 1, "b": 2, "a": 3}': ("repeated_key", "a"),
    '{"a": {"b": 1, "b": 2}}': ("repeated_key", "b"),
    '{"a": "\\ud800"}': ("wrong_encoding", '{"a": "\\ud800"}'),
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_record_is_one_row_with_a_rule(text: str) -> None:
    (row,) = parse(text)
    assert (row.rule, row.found) == BROKEN[text]
    assert row.texts == [None]


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_a_record_that_is_nested_too_deep_is_one_row_with_a_rule(opening: str) -> None:
    (row,) = parse(opening * 10_000)
    assert row.rule == "nested_too_deep"


def test_a_text_that_is_nested_too_deep_is_one_row_with_a_rule() -> None:
    (row,) = parse('{"a":' + "[" * 400 + "]" * 400 + "}")
    assert row.rule in (None, "nested_too_deep")  # as deep as this Python goes


def test_an_undeclared_key_is_let_pass_or_refused() -> None:
    assert parse('{"a": 1, "b": 2}')[0].rule is None
    (row,) = parse('{"a": 1, "b": 2}', extra_columns="refuse")
    assert (row.rule, row.found) == ("undeclared_key", "b")
