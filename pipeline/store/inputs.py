"""Find the raw files of a source."""

from __future__ import annotations

import glob
from pathlib import Path

from pipeline.errors import DataRefused

_FILE_SUFFIXES = {".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".log", ".gz", ".bz2"}
"""Spark itself writes folders named x.parquet; a folder named x.csv is a mistake."""


def find_files(root: Path, patterns: tuple[str, ...], source: str) -> list[Path]:
    """Files that match, sorted by path, each once; a folder stands for the files in it.

    Names that begin with ``.`` or ``_`` below a folder are left out, as Spark does.

    Raises:
        DataRefused: a pattern matches nothing, or a link leads out of the folder named.
    """
    found: set[Path] = set()
    for pattern in patterns:
        matches = [Path(m) for m in glob.glob(str(root / pattern), recursive=True)]
        for match in matches:
            if match.is_dir() and match.suffix in _FILE_SUFFIXES:
                raise DataRefused(
                    f"source {source!r}: {match} is a folder that is named like a file",
                    hint="Name the files in it, or rename the folder.",
                )
        files = {file for match in matches for file in _files(match)}
        if not files:
            raise DataRefused(
                f"source {source!r}: no file matches {pattern!r} (looked in {root})",
                hint=f"Put the file there or correct ingest.sources.{source}.path.",
            )
        found |= files
    return sorted(found)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [
        file
        for file in path.rglob("*")
        if file.is_file()
        and not any(part.startswith((".", "_")) for part in file.relative_to(path).parts)
    ]
