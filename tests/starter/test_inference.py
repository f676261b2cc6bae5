"""What a look at texts says about them."""

from __future__ import annotations

import pytest

from pipeline.starter.column import column_of_texts, names_of
from pipeline.starter.dialect import dialect_of, encoding_of
from pipeline.starter.header import has_header
from pipeline.starter.numbers import number_pattern
from pipeline.starter.times import time_pattern

TIMES = [
    (["2013-02-01", "2013-02-28"], ("date", None)),
    (["2013-02-01T10:00:00Z", "2013-02-01 10:00+05:30"], ("timestamp", None)),
    (["01.02.2013", "31.12.2013"], ("date", "dd.MM.yyyy")),
    (["1/2/2013", "12/31/2013"], ("date", "M/d/yyyy")),
    (["01/02/2013", "12/31/2013"], ("date", "MM/dd/yyyy")),
    (["20130102", "20131231"], ("date", "yyyyMMdd")),
    (["12-Jan-2013", "31-Dec-2013"], ("date", "dd-MMM-yyyy")),
    (["January 5, 2013"], ("date", "MMMM d, yyyy")),
    (["01.02.13 10:30"], ("timestamp", "dd.MM.yy HH:mm")),
    (["3/22/2013 1:30 PM"], ("timestamp", "M/d/yyyy h:mm a")),
    (["2013/01/02T10:00:00.12"], ("timestamp", "yyyy/MM/dd'T'HH:mm:ss.SSSSSS")),
    (["22/01/2013 10:00:00 +01:00"], ("timestamp", "dd/MM/yyyy HH:mm:ss XXX")),
    (["2013-02-30"], None),
    (["10:30"], None),
    (["12345678"], None),
    (["10.0.0.1"], None),
    (["2013-01-01", "soon"], None),
]


@pytest.mark.parametrize(("texts", "expected"), TIMES)
def test_times_are_read_by_the_pattern_that_fits_all(
    texts: list[str], expected: tuple[str, str | None] | None
) -> None:
    found = time_pattern(texts)
    assert (found and (found.kind, found.format)) == expected


def test_days_and_months_that_cannot_be_told_apart_go_by_the_order_of_the_file() -> None:
    daily = [f"{day:02d}/03/2013" for day in range(1, 13)]
    monthly = [f"{month:02d}/03/2013" for month in range(1, 13)]
    found = time_pattern(daily)
    assert found and (found.format, found.other) == ("dd/MM/yyyy", "MM/dd/yyyy")
    assert time_pattern([*daily, "13/03/2013"]).other is None  # type: ignore[union-attr]
    assert time_pattern([text[3:] and f"03/{text[:2]}/2013" for text in monthly])


NUMBERS = [
    (["1", "-2"], False, ("long", ".", None)),
    (["1.5", "2", "1e3"], False, ("double", ".", None)),
    (["1,234", "5"], False, ("long", ".", ",")),
    (["1,234", "5"], True, ("double", ",", None)),
    (["1,234", "0,5"], False, ("double", ",", None)),
    (["1.234,5", "7"], False, ("double", ",", ".")),
    (["1 234", "5"], False, ("long", ".", " ")),
    (["1'234.50"], False, ("double", ".", "'")),
    (["007", "12"], False, None),
    (["9" * 20], False, None),
    (["12 apples"], False, None),
    (["1,23,4"], False, None),
]


@pytest.mark.parametrize(("texts", "decimal_comma", "expected"), NUMBERS)
def test_numbers_have_the_marks_that_fit_all(
    texts: list[str], decimal_comma: bool, expected: tuple[str, str, str | None] | None
) -> None:
    found = number_pattern(texts, decimal_comma)
    assert (found and (found.kind, found.decimal, found.thousands)) == expected


def test_missing_values_are_told_by_their_mark_or_by_being_far_off() -> None:
    marked = column_of_texts("a", "a", ["1", "?", "3", "NA", ""], False)
    assert (marked.type, marked.values.to_pylist()) == ("long", [1, None, 3, None, None])
    assert marked.nulls == {"?", "NA", ""}
    far = column_of_texts("a", "a", ["1.5", "-999", "3.5", "-999", "2.0"], False)
    assert far.values.to_pylist() == [1.5, None, 3.5, None, 2.0] and far.nulls == {"-999"}
    near = column_of_texts("a", "a", ["-99", "-120", "-99", "50", "-80"], False)
    assert not near.nulls
    text = column_of_texts("a", "a", ["?", "-", "x"], False)
    assert (text.type, text.nulls) == ("string", frozenset())


def test_booleans_are_words_and_not_numbers() -> None:
    assert column_of_texts("a", "a", ["Yes", "no", ""], False).values.to_pylist() == [
        True,
        False,
        None,
    ]
    assert column_of_texts("a", "a", ["1", "0"], False).type == "long"


def test_names_are_letters_and_digits_and_each_is_there_once() -> None:
    found = names_of(["Größe (m²)", "größe__m2", "2nd", "split", "id", "ID", "日本"])
    assert found == ["Grosse_m2", "grosse_m2_2", "c_2nd", "split_2", "id", "ID_2", "column"]


def test_the_dialect_cuts_most_lines_alike() -> None:
    assert dialect_of(['a;"b;c";d\n', "1,5;2;3\n"], "UTF-8").delimiter == ";"
    assert dialect_of(["'a','b'\n", "'x, y','z'\n"], "UTF-8").quote == "'"
    assert dialect_of(["only\n", "one\n"], "UTF-8").delimiter == ","
    assert dialect_of(["a\tb,c\n", "1\t2\n"], "UTF-8").delimiter == "\t"


def test_the_encoding_is_utf_8_where_all_of_it_is() -> None:
    assert encoding_of(["größe".encode()]) == "UTF-8"
    assert encoding_of([b"a", "größe".encode("latin-1")]) == "ISO-8859-1"
    assert encoding_of(["5 €".encode("cp1252")]) == "windows-1252"
    assert encoding_of(["a".encode("utf-16")]) == "UTF-16"


def test_a_first_line_of_values_is_no_header() -> None:
    assert has_header([["id", "at"], ["1", "2013-01-01"]])
    assert has_header([["land", "2013", "2014"], ["de", "1", "2"]])
    assert has_header([["a", "b"], ["x", "y"]])
    assert not has_header([["7", "x", "2013-01-01"], ["8", "y", "2013-01-02"]])
