"""Layers of settings become one checked :class:`PipelineConfig`, or every problem at once."""

from __future__ import annotations

import difflib
import json
import os
import re
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.config.pipeline import PipelineConfig
from pipeline.config.steps import SqlStep
from pipeline.config.uri import is_remote, local_path, problem_of_uri, scheme_of
from pipeline.config.yaml_reader import Document, KeyPath, dotted, parse_value, read_yaml
from pipeline.errors import ConfigError

_SET_HERE = ("root", "file", "secrets")
_HIDDEN = re.compile(r"\.(user|password)$|\.(properties|storage)\.")
"""Keys whose values are not shown, wherever they came from."""
_SECRET = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


def load_config(
    path: str | Path, *, env: str | None = None, overrides: Iterable[str] = ()
) -> PipelineConfig:
    """Read ``base.yaml`` beside the file, the file, ``env/ENV.yaml`` and ``a.b=c`` overrides.

    A later layer wins key by key; a list replaces a list. Paths in the result are relative to
    the folder above ``conf/`` (or to the file's own folder when that is not named ``conf``).

    Raises:
        ConfigError: with one line for each problem, its place, and the nearest valid name.
    """
    path = Path(path).resolve()
    folder = path.parent
    root = folder.parent if folder.name == "conf" else folder
    documents = [_read(folder / "base.yaml", root)] if (folder / "base.yaml").exists() else []
    documents.append(_read(path, root))
    if env is not None:
        documents.append(_read(folder / "env" / f"{env}.yaml", root))
    documents.append(_read_overrides(overrides))
    data: dict[str, Any] = {}
    lines: dict[KeyPath, str] = {}
    for document in documents:
        _merge(data, document.data)
        lines |= document.lines
    problems: list[str] = []
    for name in _SET_HERE:
        if name in data:
            problems.append(f"{_place((name,), lines)}{name}: unknown key")
    secrets: dict[str, str] = {}
    data = _fill_secrets(data, (), lines, problems, secrets)
    data |= {"root": str(root), "file": str(path), "secrets": secrets}
    config = _validate(data, lines, problems)
    _check_paths(config)
    return config


def _read(path: Path, root: Path) -> Document:
    shown = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    return read_yaml(path, shown)


def _read_overrides(overrides: Iterable[str]) -> Document:
    data: dict[str, Any] = {}
    lines: dict[KeyPath, str] = {}
    for text in overrides:
        name, equals, value = text.partition("=")
        parts = name.strip().split(".")
        if not equals or not all(parts):
            raise ConfigError(
                f"--set {text}: must be key.path=value",
                hint="For example --set train.min_rows=500",
            )
        try:
            nested: Any = parse_value(value)
        except yaml.YAMLError:
            nested = value  # such as a cron expression, whose * begins an alias in YAML
        for part in reversed(parts):
            nested = {part: nested}
        _merge(data, nested)
        for depth in range(1, len(parts) + 1):
            lines[tuple(parts[:depth])] = f"--set {name}"
    return Document(data, lines)


def _merge(into: dict[str, Any], layer: dict[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _fill_secrets(
    value: Any,
    at: KeyPath,
    lines: dict[KeyPath, str],
    problems: list[str],
    secrets: dict[str, str],
) -> Any:
    """Replace ``${env:NAME}`` in text, and remember where, so that no manifest shows the value."""
    if isinstance(value, dict):
        return {k: _fill_secrets(v, (*at, k), lines, problems, secrets) for k, v in value.items()}
    if isinstance(value, list):
        return [_fill_secrets(v, (*at, i), lines, problems, secrets) for i, v in enumerate(value)]
    names = _SECRET.findall(value) if isinstance(value, str) else []
    for name in names:
        if name not in os.environ:
            problems.append(
                f"{_place(at, lines)}{dotted(at)}: the environment variable {name} is not set"
            )
    if names:
        secrets[dotted(at)] = value
        return _SECRET.sub(lambda match: os.environ.get(match[1], ""), value)
    return value


def _validate(
    data: dict[str, Any], lines: dict[KeyPath, str], problems: list[str]
) -> PipelineConfig:
    config = None
    try:
        # JSON mode is strict about types and still takes a list for a tuple and text for a date.
        config = PipelineConfig.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        problems += _describe(error, lines, data)
    if problems or config is None:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in the configuration:\n"
        raise ConfigError(count + "\n".join(f"  {p}" for p in problems))
    return config


def _describe(error: ValidationError, lines: dict[KeyPath, str], data: dict[str, Any]) -> list[str]:
    """One line a key path; the members of a union that all failed are joined by "or"."""
    wanted: dict[str, tuple[list[str], str]] = {}
    for problem in error.errors(include_url=False):
        at = _key_path(problem, lines)
        if problem["type"] == "too_short" and problem["input"]:
            continue  # its items were wrong, and are reported
        if problem["type"] == "missing":
            wanted[f"{_place(at[:-1], lines)}{dotted(at)}: must be set"] = ([], "nothing")
            continue
        where = f"{_place(at, lines)}{dotted(at)}: "
        if problem["type"] == "extra_forbidden":
            wanted[f"{where}unknown key{_nearest(str(at[-1]), at[:-1], data)}"] = ([], "")
        elif problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
            wanted[f"{where}{_wrong_kind(problem)}"] = ([], "")
        elif problem["type"] == "value_error":
            wanted[where + str(problem["ctx"]["error"])] = ([], "")
        else:
            message = problem["msg"].removeprefix("Input should be ")
            found = data["secrets"].get(dotted(at), problem["input"])
            if _HIDDEN.search(dotted(at)):
                found = "…"
            shown = json.dumps(found, ensure_ascii=False, default=str)
            allowed, _ = wanted.setdefault(where + "must be ", ([], shown))
            allowed.append(message)
    return [
        start + " or ".join(allowed) + (f". Got {_short(found)} instead" if found else "")
        for start, (allowed, found) in wanted.items()
    ]


def _key_path(problem: ErrorDetails, lines: dict[KeyPath, str]) -> KeyPath:
    """A problem's place in the file.

    pydantic names the member of a union, or "[key]", as a step; a reader has no such key.
    """
    at: KeyPath = ()
    for part in problem["loc"]:
        at = (*at, part) if (*at, part) in lines else at
    if problem["type"] in ("missing", "extra_forbidden") and at[-1:] != problem["loc"][-1:]:
        at = (*at, problem["loc"][-1])
    return at


def _wrong_kind(problem: ErrorDetails) -> str:
    found = problem["input"].get("kind") if isinstance(problem["input"], dict) else None
    if problem["type"] == "union_tag_not_found" or not isinstance(found, str):
        return "kind: must be set"
    kinds = problem.get("ctx", {})["expected_tags"].replace("'", "").split(", ")
    near = difflib.get_close_matches(found, kinds, 1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return f"kind: must be one of {', '.join(kinds)}. Got {found!r} instead{meant}"


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def _place(at: KeyPath, lines: dict[KeyPath, str]) -> str:
    while at and at not in lines:
        at = at[:-1]
    return f"{lines[at]}: " if at in lines else ""


def _nearest(name: str, parent: KeyPath, data: dict[str, Any]) -> str:
    valid = _valid_names(parent, data)
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; allowed: {', '.join(sorted(valid))}" if valid else ""


def _valid_names(at: KeyPath, data: Any) -> list[str]:
    """Names of the fields at a key path, found by walking the models' annotations and the data."""
    annotation: Any = PipelineConfig
    for part in at:
        annotation = _section_of(annotation, data)
        if _is_section(annotation):
            field = annotation.model_fields.get(str(part))
            annotation = field.annotation if field else None
        else:  # a key of a dictionary or an index of a list
            members = [a for a in getattr(annotation, "__args__", ()) if a is not ...]
            annotation = members[-1] if members else None
        data = data[part] if isinstance(part, int) or part in data else {}
    annotation = _section_of(annotation, data)
    if not _is_section(annotation):
        return []
    return [name for name in annotation.model_fields if name not in _SET_HERE]


def _section_of(annotation: Any, data: Any) -> Any:
    """Of a union of sections the one that the data means; anything else as it is."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) not in (types.UnionType, Union):
        return annotation
    members = [_section_of(member, data) for member in get_args(annotation)]
    sections = [member for member in members if _is_section(member)]
    return max(sections, key=lambda section: _likeness(section, data), default=annotation)


def _likeness(section: type[BaseModel], data: Any) -> tuple[bool, int]:
    """Whether the data is of the section's kind, and how many of its keys are known there."""
    keys = data if isinstance(data, dict) else {}
    kind = section.model_fields.get("kind")
    named = kind is not None and keys.get("kind") in get_args(kind.annotation)
    return named, sum(key in section.model_fields for key in keys)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _check_paths(config: PipelineConfig) -> None:
    """No relative path leaves the project, and no run reads its own output as input."""
    problems = []
    texts: dict[str, tuple[str, ...]] = {"store": (config.store,)}
    for at, step in enumerate(config.preprocess.steps):
        if isinstance(step, SqlStep):
            texts[f"preprocess.steps[{at}].sql"] = (step.sql,)
    for name, source in config.ingest.sources.items():
        texts[f"ingest.sources.{name}.path"] = source.paths
        if source.corrections is not None:
            texts[f"ingest.sources.{name}.corrections"] = (source.corrections,)
        if source.jdbc is not None and source.jdbc.driver_jar is not None:
            texts[f"ingest.sources.{name}.jdbc.driver_jar"] = (source.jdbc.driver_jar,)
        for text in source.paths:
            folder = config.path(re.split(r"[*?\[]", local_path(text), maxsplit=1)[0])
            if not is_remote(text) and config.store_path.is_relative_to(folder):
                problems.append(
                    f"store: {config.store} lies inside the input of source {name!r} ({text}); "
                    "choose a store outside every source"
                )
    for where, paths in texts.items():
        may_be_uri = re.fullmatch(r"ingest\.sources\.\w+\.path", where) is not None
        for text in paths:
            if problem := _problem_of_path(config, text, may_be_uri):
                problems.append(f"{where}: {problem}")
    if problems:
        raise ConfigError("\n".join(problems))


def _problem_of_path(config: PipelineConfig, text: str, may_be_uri: bool) -> str | None:
    if scheme_of(text) is not None:
        problem = "must be a path of a local file system"
        if may_be_uri:
            problem = problem_of_uri(text) or ""
        # What stands before an @ may be a key.
        shown = re.sub(r"//[^/@]*@", "//…@", text)
        return f"{problem}. Got {shown!r} instead" if problem else None
    first, *rest = re.split(r"[*?\[]", text, maxsplit=1)
    if rest and ".." in rest[0].split("/"):
        return f"must not hold '..' behind a wildcard. Got {text!r} instead"
    if not Path(text).is_absolute() and not config.path(first).is_relative_to(config.root):
        return f"{text!r} leads out of the project; give an absolute path if that is what you mean"
    return None
