"""What identifies an artifact: a hash over everything that shapes its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.errors import DataRefused
from pipeline.store.layout import Store, write_text

_CHUNK = 1 << 20


def digest(value: Any) -> str:
    """SHA-256 of a JSON value, independent of the order of keys; 64 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint(
    *,
    stage: str,
    code_version: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    versions: Mapping[str, str],
) -> str:
    """The name of the artifact that a stage makes from these; 20 hexadecimal digits."""
    parts = {
        "stage": stage,
        "code_version": code_version,
        "config": config,
        "inputs": dict(inputs),
        "versions": dict(versions),
    }
    return digest(parts)[:20]


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    state = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


def sha256_files(paths: Iterable[Path]) -> list[str]:
    """Several files side by side; hashing releases the interpreter's lock."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(sha256_file, paths))


class HashCache:
    """Content hashes of raw files, remembered by path, size, modification time and inode."""

    def __init__(self, store: Store) -> None:
        self._path = store.cache / "hashes.json"
        self._known: dict[str, list[Any]] = self._read()

    def _read(self) -> dict[str, list[Any]]:
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}  # a cache: losing it costs one more read
        return known if isinstance(known, dict) else {}

    def hashes(self, paths: Iterable[Path], *, fresh: bool = False) -> dict[Path, str]:
        """SHA-256 by path; ``fresh`` reads every file again.

        Raises:
            DataRefused: a file cannot be read.
        """
        paths = list(paths)
        marks = {path: self._mark(path) for path in paths}
        stale = [p for p in paths if fresh or self._known.get(str(p), [None])[:-1] != marks[p]]
        try:
            found = dict(zip(stale, sha256_files(stale), strict=True))
        except OSError as error:
            raise DataRefused(f"{error.filename}: cannot be read: {error.strerror}") from error
        for path, value in found.items():
            self._known[str(path)] = [*marks[path], value]
        return {path: str(self._known[str(path)][-1]) for path in paths}

    def _mark(self, path: Path) -> list[int]:
        try:
            stat = path.stat()
        except OSError as error:
            raise DataRefused(f"{path}: cannot be read: {error.strerror}") from error
        return [stat.st_size, stat.st_mtime_ns, stat.st_ino]

    def save(self) -> None:
        """Keep what was learned; for whoever may write to the store."""
        text = json.dumps(self._known)
        if not self._path.exists() or self._path.read_text(encoding="utf-8") != text:
            write_text(self._path, text)


def code_version(package: Path, places: Iterable[str]) -> str:
    """A hash over the source files that a stage runs; 12 hexadecimal digits.

    By content rather than by a number that somebody has to remember to raise.
    """
    state = hashlib.sha256()
    for place in places:
        path = package / place
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if _is_code(p))
        for file in files:
            state.update(f"{file.relative_to(package)}\0".encode())
            state.update(file.read_bytes())
    return state.hexdigest()[:12]


def _is_code(path: Path) -> bool:
    return path.suffix in {".py", ".j2", ".css"}


def library_versions(names: Iterable[str]) -> dict[str, str]:
    """Installed versions, found without importing anything."""
    return {name: metadata.version(name) for name in names}
