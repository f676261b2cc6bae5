"""JSON documents cut into records without being parsed: the text of each record as it stands.

A file may hold one document, an array of records, or documents one after another. Each object is
a record, and so is whatever stands between them where only commas and blanks may stand: it will
turn out to be no record, and is accounted for. Nothing is nested here but a number, so that no
depth is too deep; and nothing is kept but one record, and of one that is too long its beginning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

KEPT_CHARS = 10_000  # of a record that is too long
UNCLOSED = "unclosed_array"
_BETWEEN = " \t\r\n,"
# Strings are skipped whole, in one step of the regular expression's engine. Each repetition
# begins with another character, so that there is one way to match and no search among many.
_STRING_REST = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_NO_BRACKET = re.compile(r'(?:[^"{}\[\]]+|"[^"\\]*(?:\\.[^"\\]*)*")*', re.DOTALL)


class Piece(NamedTuple):
    """The text of a record, and the rule that it breaks already, if any."""

    text: str
    rule: str | None = None


def split_documents(chunks: Iterable[str], max_chars: int) -> Iterator[Piece]:
    """Cut text that comes in chunks of any size into records.

    Of a record longer than ``max_chars`` its first 10,000 characters are given, with the rule
    ``record_too_long``. Text that ends inside an array ends with an empty piece and the rule
    ``unclosed_array``: a file that was cut between two records is not whole.
    """
    splitter = _Splitter(max_chars)
    for chunk in chunks:
        yield from splitter.feed(chunk)
    yield from splitter.close()


class _Splitter:
    def __init__(self, max_chars: int) -> None:
        self._max_chars = max_chars
        self._parts: list[str] = []  # of the record, or of what stands between two
        self._chars = 0
        self._depth = 0
        self._level = 0  # the depth at which records stand: 1 in an array
        self._in_string = False
        self._carry = ""

    def feed(self, chunk: str) -> Iterator[Piece]:
        chunk, at = self._carry + chunk, 0
        self._carry = ""
        while at < len(chunk):
            rest = _STRING_REST if self._in_string else _NO_BRACKET
            end = rest.match(chunk, at).end()  # type: ignore[union-attr]  # it matches nothing too
            self._keep(chunk[at:end])
            if end == len(chunk):
                return
            mark, at = chunk[end], end + 1
            if mark == "\\":  # the chunk ends inside an escape
                self._carry = mark
            elif mark == '"':
                self._keep(mark)
                self._in_string = not self._in_string
            else:
                yield from self._bracket(mark)

    def close(self) -> Iterator[Piece]:
        self._keep(self._carry)
        yield from self._cut()
        if self._level:
            yield Piece("", UNCLOSED)

    def _bracket(self, mark: str) -> Iterator[Piece]:
        outside, opens = self._depth == self._level, mark in "{["
        if outside and opens:
            yield from self._cut()
            if mark == "[" and not self._level:
                self._level = self._depth = 1
                return
        elif outside and mark == "]" and self._level:
            yield from self._cut()
            self._level = self._depth = 0
            return
        self._keep(mark)
        if not outside or opens:
            self._depth += 1 if opens else -1
            if self._depth == self._level:
                yield from self._cut()

    def _keep(self, text: str) -> None:
        if self._chars <= self._max_chars:
            self._parts.append(text)
        self._chars += len(text)

    def _cut(self) -> Iterator[Piece]:
        """What was kept, if it is more than what may stand between two records."""
        text = "".join(self._parts).strip(_BETWEEN)
        if self._chars > self._max_chars and text:
            yield Piece(text[:KEPT_CHARS], "record_too_long")
        elif text:
            yield Piece(text)
        self._parts, self._chars = [], 0
