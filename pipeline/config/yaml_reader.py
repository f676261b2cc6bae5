"""YAML as declared: no surprises of YAML 1.1, no duplicate keys, and a line for every key."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import ConfigError

MAX_NODES = 100_000
KeyPath = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core types: ``no``, ``0777`` and dates stay text; ``1e3`` is a number."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|false)$", "tf"),
    ("null", r"^(?:~|null|)$", "~n\0"),
    ("int", r"^[-+]?(?:0|[1-9]\d*)$", "-+0123456789"),
    (
        "float",
        r"^[-+]?(?:(?:0|[1-9]\d*)\.\d*|\.\d+|(?:0|[1-9]\d*)(?=[eE]))(?:[eE][-+]?\d+)?$",
        "-+.0123456789",
    ),
):
    for _character in _first:
        _Loader.yaml_implicit_resolvers.setdefault(
            "" if _character == "\0" else _character, []
        ).append((f"tag:yaml.org,2002:{_tag}", re.compile(_pattern)))


@dataclass(frozen=True)
class Document:
    """A parsed file: its plain data, and where each key path stands (line numbers from 1)."""

    data: dict[str, Any]
    lines: dict[KeyPath, str] = field(default_factory=dict)


def read_yaml(path: Path, shown: str) -> Document:
    """Parse one file.

    Raises:
        ConfigError: not readable, not YAML, a duplicate key, not a mapping, or an alias bomb.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(
            f"{shown}: no such configuration file", hint="Check the path after -c and --env."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{shown}: cannot be read as UTF-8 text: {error}") from error
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{shown}: not valid YAML: {' '.join(str(error).split())}") from error
    if node is None:
        return Document({})
    if _size(node, {}) > MAX_NODES:
        raise ConfigError(f"{shown}: expands to more than {MAX_NODES:,} values (aliases?)")
    problems: list[str] = []
    lines: dict[KeyPath, str] = {}
    _walk(node, (), shown, lines, problems)
    if problems:
        raise ConfigError("\n".join(problems))
    data = parse_value(text)
    if not isinstance(data, dict):
        raise ConfigError(f"{shown}: must be a mapping of sections. Got a {_kind(data)} instead")
    return Document(data, lines)


def parse_value(text: str) -> Any:
    """One YAML value, with the same types as in a file."""
    return yaml.load(text, Loader=_Loader)


def _size(node: yaml.Node, seen: dict[int, int]) -> int:
    """Values after aliases are expanded; computed once a node, or a bomb would go off here."""
    if id(node) not in seen:
        seen[id(node)] = MAX_NODES  # an alias to its own parent
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        seen[id(node)] = 1 + sum(_size(child, seen) for child in children)
    return seen[id(node)]


def _walk(
    node: yaml.Node, at: KeyPath, shown: str, lines: dict[KeyPath, str], problems: list[str]
) -> None:
    lines[at] = f"{shown}:{node.start_mark.line + 1}"
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            _walk(child, (*at, index), shown, lines, problems)
    if not isinstance(node, yaml.MappingNode):
        return
    first: dict[str, int] = {}
    for key, child in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag not in _TEXT_KEYS:
            problems.append(f"{shown}:{line}: {dotted(at)}: a key must be text; put it in quotes")
            continue
        name = str(key.value)
        if name in first:
            path = dotted((*at, name))
            problems.append(f"{shown}:{line}: {path}: duplicate key; first on line {first[name]}")
        first.setdefault(name, line)
        _walk(child, (*at, name), shown, lines, problems)
        lines[(*at, name)] = f"{shown}:{line}"


_TEXT_KEYS = ("tag:yaml.org,2002:str",)


def _kind(value: Any) -> str:
    return {list: "list", str: "text", int: "number", float: "number"}.get(
        type(value), type(value).__name__
    )


def dotted(path: KeyPath) -> str:
    """``("train", "folds", 0)`` as ``train.folds[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the top level"
