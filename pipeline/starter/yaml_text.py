"""YAML with comments, line by line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

WIDTH = 100


def flow(value: Any) -> str:
    """A value on one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=float("inf")
    )
    return text.removesuffix("...\n").rstrip("\n")


def entry(depth: int, key: str, value: Any, comment: str = "") -> str:
    """``key: value  # comment``, ``depth`` levels deep."""
    return _commented(f"{'  ' * depth}{flow(key)}: {flow(value)}", comment)


def opened(depth: int, key: str, comment: str = "") -> str:
    """The line above a nested section."""
    return _commented(f"{'  ' * depth}{flow(key)}:", comment)


def remark(depth: int, text: str) -> list[str]:
    """Lines of a comment."""
    start = f"{'  ' * depth}# "
    lines, line = [], start
    for word in one_line(text).split(" "):
        if len(line) + len(word) > WIDTH and line != start:
            lines.append(line.rstrip())
            line = start
        line += f"{word} "
    return [*lines, line.rstrip()]


def names(depth: int, key: str, values: Sequence[str]) -> list[str]:
    """A list of names, over several lines if it is long."""
    one = entry(depth, key, list(values))
    if len(one) <= WIDTH:
        return [one]
    indent, lines = "  " * (depth + 1), [f"{'  ' * depth}{key}: ["]
    line = indent
    for value in values:
        word = f"{flow(value)}, "
        if len(line) + len(word) > WIDTH:
            lines.append(line.rstrip())
            line = indent
        line += word
    return [*lines, line.rstrip(), f"{'  ' * depth}]"]


def one_line(text: str) -> str:
    """Text of the data in a comment: no line end or control character gets out of it."""
    return "".join(char if char.isprintable() else " " for char in text)


def _commented(line: str, comment: str) -> str:
    return f"{line}  # {one_line(comment)}" if comment else line
