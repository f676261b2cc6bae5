"""Find the raw files of a source."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.place import SourcePlace
from pipeline.config.uri import is_remote, local_path
from pipeline.errors import DataRefused
from pipeline.store.fingerprint import HashCache
from pipeline.store.objects import RemoteFile, find_objects

_FILE_SUFFIXES = {".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".log", ".gz", ".bz2"}
"""Spark itself writes folders named x.parquet; a folder named x.csv is a mistake."""


@dataclass(frozen=True)
class Inputs:
    """The raw files of one source as they are now.

    Attributes:
        local: content hash by path.
        remote: objects that URIs name, which are still to be copied.
        root: the project's folder; paths below it are shown relative to it.
    """

    local: dict[Path, str]
    remote: tuple[RemoteFile, ...]
    root: Path

    @property
    def hashes(self) -> dict[str, str]:
        """Content hash by the name that a reader knows the file by: a short path, or a URI."""
        found = {self.shown(path): value for path, value in self.local.items()}
        return found | {file.uri: file.hash for file in self.remote}

    def shown(self, path: Path) -> str:
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)


def table_input(name: str, place: SourcePlace) -> str:
    """How plans and manifests call the input of a source that has no files."""
    return f"{name}: {place.place}"


def find_inputs(
    root: Path, place: SourcePlace, source: str, cache: HashCache, *, fresh: bool = False
) -> Inputs:
    """Find and fingerprint the files of a source; ``fresh`` reads every local one again.

    Raises:
        DataRefused: as :func:`find_files` and ``objects.find_objects``; or a file cannot be read.
    """
    paths = tuple(local_path(path) for path in place.paths if not is_remote(path))
    uris = [path for path in place.paths if is_remote(path)]
    files = find_files(root, paths, source)
    remote = find_objects(source, uris, place.storage)
    return Inputs(cache.hashes(files, fresh=fresh), tuple(remote), root)


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
        _check_links(root, pattern, files, source)
        found |= files
    return sorted(found)


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for file in path.rglob("*"):
        hidden = any(part.startswith((".", "_")) for part in file.relative_to(path).parts)
        if not hidden and file.is_file():
            yield file


def _check_links(root: Path, pattern: str, files: set[Path], source: str) -> None:
    """What is found below the folder named must lie there; the folder itself may be a link."""
    if root / pattern in files:
        return  # named itself, whatever it leads to
    named = root / re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    folder = (named if named.is_dir() else named.parent).resolve()
    for file in sorted(files):
        if not file.resolve().is_relative_to(folder):
            raise DataRefused(
                f"source {source!r}: {file} is a link that leads out of {folder}",
                hint="Name the file or folder that it leads to as another path of the source.",
            )
