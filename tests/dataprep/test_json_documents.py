"""Documents cut into records: the texts are those of the file, wherever its chunks end."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.dataprep.json_documents import UNCLOSED, Piece, split_documents

_TEXT = st.text(alphabet='ab"\\{}[],: \né', max_size=5)
_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


def split(text: str, chars: int = 7, limit: int = 1 << 20) -> list[Piece]:
    chunks = [text[at : at + chars] for at in range(0, len(text), chars)]
    return list(split_documents(chunks, limit))


@given(
    records=st.lists(st.dictionaries(_TEXT, _VALUE, max_size=3), max_size=4),
    indent=st.sampled_from([None, 1]),
    chars=st.integers(1, 9),
    in_array=st.booleans(),
)
def test_records_are_those_that_a_parser_sees(
    records: list[dict[str, Any]], indent: int | None, chars: int, in_array: bool
) -> None:
    texts = [json.dumps(record, indent=indent, ensure_ascii=False) for record in records]
    text = f"[{', '.join(texts)}]" if in_array else "\n".join(texts)
    assert [piece.text for piece in split(text, chars)] == texts
    assert all(piece.rule is None for piece in split(text, chars))


def test_what_is_no_record_is_accounted_for() -> None:
    assert split('[1, "x", {"a": 1}, [2]]') == [
        Piece('1, "x"'),
        Piece('{"a": 1}'),
        Piece("[2]"),
    ]
    assert split("nonsense ]") == [Piece("nonsense ]")]
    assert split(" [ ] ") == split("") == []


def test_a_file_that_was_cut_ends_with_a_broken_piece() -> None:
    assert split('[{"a": 1},') == [Piece('{"a": 1}'), Piece("", UNCLOSED)]
    assert split('[{"a": 1}, {"b": "x]') == [
        Piece('{"a": 1}'),
        Piece('{"b": "x]'),
        Piece("", UNCLOSED),
    ]
    assert split('{"a": "\\') == [Piece('{"a": "\\')]


def test_of_a_long_record_the_beginning_is_kept() -> None:
    text = '[{"a": "' + "x" * 50_000 + '"}, {"b": 1}]'
    long, short = split(text, 1000, limit=20_000)
    assert (long.rule, len(long.text)) == ("record_too_long", 10_000)
    assert short == Piece('{"b": 1}')
