"""One version of a pipeline's models: a file that is written once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import StoreError
from pipeline.models.entry import ModelEntry
from pipeline.store.layout import write_text

DEFAULT = "*"
"""The entry for rows of segments that were not trained on."""

_PIPELINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_VERSION = re.compile(r"v(\d{4,})-([0-9a-f]{12})")


@dataclass(frozen=True)
class Version:
    """The models of all segments.

    Attributes:
        name: ``v0007-`` and 12 hex digits of the content's hash.
        entries: by segment key.
    """

    name: str
    entries: Mapping[str, ModelEntry]

    @property
    def default(self) -> ModelEntry | None:
        """The model for rows of segments that were not trained on."""
        return self.entries.get(DEFAULT)


def registry_folder(store: Path, pipeline: str) -> Path:
    if not _PIPELINE.fullmatch(pipeline):
        raise StoreError(
            f"A pipeline's name must be letters, digits, - and _. Got {pipeline!r} instead."
        )
    return store / "registry" / pipeline


def list_versions(store: Path, pipeline: str) -> list[str]:
    """Names, oldest first."""
    folder = registry_folder(store, pipeline) / "versions"
    names = [path.stem for path in folder.glob("v*.json")]
    return sorted((name for name in names if _VERSION.fullmatch(name)), key=_number)


def write_version(store: Path, pipeline: str, entries: Iterable[ModelEntry]) -> Version:
    """Write a version, unless one with the same models is there.

    Raises:
        StoreError: there are no entries, or two for one segment.
    """
    by_segment: dict[str, ModelEntry] = {}
    for entry in entries:
        if entry.segment in by_segment:
            raise StoreError(f"Two models were given for segment {entry.segment}.")
        by_segment[entry.segment] = entry
    if not by_segment:
        raise StoreError("A version must have at least one model. Got none instead.")
    content = _content_hash(by_segment)
    existing = list_versions(store, pipeline)
    for name in existing:
        if name.endswith(content):
            return read_version(store, pipeline, name)
    number = _number(existing[-1]) + 1 if existing else 1
    version = Version(f"v{number:04d}-{content}", by_segment)
    records = [by_segment[key].record() for key in sorted(by_segment)]
    text = json.dumps({"version": version.name, "entries": records}, ensure_ascii=False, indent=0)
    write_text(_file(store, pipeline, version.name), text + "\n")
    return version


def read_version(store: Path, pipeline: str, name: str) -> Version:
    """Read a version and check it against the hash in its name.

    Raises:
        StoreError: there is no such version, or its file is damaged.
    """
    path = _file(store, pipeline, name)
    try:
        records = json.loads(path.read_text(encoding="utf-8"))["entries"]
        entries = {record["segment"]: ModelEntry(**record) for record in records}
    except FileNotFoundError as error:
        known = ", ".join(list_versions(store, pipeline)[-5:]) or "none"
        raise StoreError(
            f"Pipeline {pipeline!r} has no version {name!r}. The latest are: {known}."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: damaged: {error}.", hint="Promote another version.") from error
    if not name.endswith(_content_hash(entries)):
        raise StoreError(
            f"{path}: was changed after it was written: its content does not fit its name.",
            hint="Restore it from a backup, or promote another version.",
        )
    return Version(name, entries)


def _content_hash(entries: Mapping[str, ModelEntry]) -> str:
    """12 hex digits over the models; when they were made does not make other models of them."""
    records: list[dict[str, Any]] = []
    for key in sorted(entries):
        record = entries[key].record()
        del record["created_at"]
        records.append(record)
    text = json.dumps(records, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _file(store: Path, pipeline: str, name: str) -> Path:
    if not _VERSION.fullmatch(name):
        raise StoreError(f"A version looks like v0001-0123456789ab. Got {name!r} instead.")
    return registry_folder(store, pipeline) / "versions" / f"{name}.json"


def _number(name: str) -> int:
    return int(name.split("-")[0][1:])
