"""One JSON record as the texts of the declared columns.

Python's own parser is used and not Spark's: numbers keep their digits (Spark's pass through a
double), a key that is there twice is seen, text behind a record is not overlooked, and a record
that is nested too deep is an error of that record and not of the JVM.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline.config.field_path import Step
from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.cells import Cells

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class _RepeatedKey(ValueError):
    pass


class _Number(str):
    """A number's own text, where it must be told from a string."""

    __slots__ = ()


class _Record:
    def __init__(self, text: str) -> None:
        self.text = text
        self.value = load_record(text)

    @cached_property
    def _exact(self) -> Any:
        """The value again, with numbers that can be told from strings; that takes longer."""
        return _NUMBERS.decode(self.text)

    def cell(self, path: tuple[Step, ...]) -> str | None:
        value = value_at(self.value, path)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        return _dump(value_at(self._exact, path))


@dataclass(frozen=True)
class JsonParser:
    """Texts of JSON records.

    Attributes:
        paths: where each column's value stands in a record.
        explode: where the array stands whose elements become rows; empty for none.
        known: the keys that a record may have; None where others are let pass.
    """

    paths: tuple[tuple[Step, ...], ...]
    explode: tuple[Step, ...]
    known: frozenset[str] | None

    @staticmethod
    def of(source: SourceConfig) -> JsonParser:
        paths = tuple(source.steps_to(column) for column in source.columns)
        tops = frozenset(str(path[0]) for path in paths) | {str(s) for s in source.array[:1]}
        return JsonParser(paths, source.array, tops if source.extra_columns == "refuse" else None)

    def __call__(self, text: str) -> Iterable[Cells]:
        try:
            return list(self._rows(_Record(text)))
        except _RepeatedKey as error:
            return [self._broken("repeated_key", str(error))]
        except RecursionError:
            return [self._broken("nested_too_deep", text)]
        except json.JSONDecodeError as error:
            return [self._broken("not_json", f"{error.msg} at character {error.pos + 1}")]

    def _rows(self, record: _Record) -> Iterator[Cells]:
        if not isinstance(record.value, dict):
            yield self._broken("not_an_object", record.text)
            return
        if self.known is not None and not self.known.issuperset(record.value):
            yield self._broken("undeclared_key", ", ".join(sorted(set(record.value) - self.known)))
            return
        items = value_at(record.value, self.explode) if self.explode else None
        if items is not None and not isinstance(items, list):
            yield self._broken("not_an_array", record.cell(self.explode))
            return
        suspicious = _SURROGATE.search(record.text) is not None
        # A record without elements is a row too, else it would vanish.
        for place in range(len(items)) if items else [None]:
            cells = [record.cell(self._path(path, place)) for path in self.paths]
            item = None if place is None else place + 1
            if suspicious and not all(_is_unicode(cell) for cell in cells):
                yield self._broken("wrong_encoding", record.text, item)
            else:
                yield Cells(item, cells)

    def _path(self, path: tuple[Step, ...], place: int | None) -> tuple[Step, ...]:
        """The path in the whole record: an element of the array stands for the array."""
        depth = len(self.explode)
        if not depth or path[:depth] != self.explode:
            return path
        # No element, no value: no array has so many.
        return (*self.explode, sys.maxsize if place is None else place, *path[depth:])

    def _broken(self, rule: str, found: str | None, item: int | None = None) -> Cells:
        shown = None if found is None else found[:200].encode("utf-8", "replace").decode()
        return Cells(item, [None] * len(self.paths), rule, shown)


def load_record(text: str) -> Any:
    """A JSON value; numbers, and NaN and Infinity, as their own texts.

    Raises:
        ValueError: it is not JSON, or an object has a key twice.
        RecursionError: it is nested too deep.
    """
    return _TEXTS.decode(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _RepeatedKey(next(key for key in keys if keys.count(key) > 1))
    return found


def _decoder(number: type[str]) -> json.JSONDecoder:
    return json.JSONDecoder(
        parse_float=number,
        parse_int=number,
        parse_constant=number,
        object_pairs_hook=_unique,
    )


_TEXTS, _NUMBERS = _decoder(str), _decoder(_Number)


def value_at(record: Any, path: Sequence[Step]) -> Any:
    """The value at a path, or None where there is none."""
    for step in path:
        if isinstance(step, str):
            record = record.get(step) if isinstance(record, dict) else None
        else:
            is_there = isinstance(record, list) and step < len(record)
            record = record[step] if is_there else None
    return record


def _dump(value: Any) -> str:
    if isinstance(value, dict):
        parts = (f"{json.dumps(k, ensure_ascii=False)}:{_dump(v)}" for k, v in value.items())
        return "{" + ",".join(parts) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_dump, value)) + "]"
    return value if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False)


def _is_unicode(cell: str | None) -> bool:
    try:
        (cell or "").encode()
    except UnicodeEncodeError:  # half of a pair of surrogates
        return False
    return True
