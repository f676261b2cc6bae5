"""Find the raw files of a source."""

from __future__ import annotations

import glob
from pathlib import Path

from pipeline.errors import DataRefused


def find_files(root: Path, patterns: tuple[str, ...], source: str) -> list[Path]:
    """Files that match, sorted by path, each once; a folder stands for the files in it.

    Names that begin with ``.`` or ``_`` below a folder are left out, as Spark does.

    Raises:
        DataRefused: a pattern matches nothing, or a link leads out of the folder named.
    """
    found: set[Path] = set()
    for pattern in patterns:
        matches = [Path(m) for m in glob.glob(str(root / pattern), recursive=True)]
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
