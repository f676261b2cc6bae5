"""The files below the paths that were given, one group a table."""

from __future__ import annotations

import glob
import io
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.dataprep.headers import magic_of
from pipeline.errors import ConfigError, DataRefused
from pipeline.starter.dialect import cut, dialect_of, encoding_of
from pipeline.starter.header import header_of
from pipeline.starter.pieces import read_pieces
from pipeline.starter.table import FileGroup

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_PACKED = (".gz", ".bz2")
_HEAD_BYTES = 1 << 16
_HEAD_LINES = 50

Header = tuple[str, str, tuple[str, ...]]
"""Format, delimiter and the names in ascending order."""


def file_groups(inputs: Sequence[str], root: Path) -> tuple[list[FileGroup], list[Path]]:
    """Find the tables in files, folders and globs.

    Files that have the same columns, in any order, are one table.

    Args:
        inputs: what was given.
        root: the folder that paths in the configuration are relative to.

    Returns:
        The tables, those of the first input first; and the files that are no tables.

    Raises:
        ConfigError: nothing is there, or no file is a table.
        DataRefused: a file cannot be read.
    """
    groups: dict[Header, dict[Path, str]] = {}
    ignored: list[Path] = []
    for given in inputs:
        found, others = _files(given)
        ignored += others
        with ThreadPoolExecutor(8) as pool:
            headers = list(pool.map(_header, found))
        for file, header in zip(found, headers, strict=True):
            groups.setdefault(header, {}).setdefault(file, given)
    if not groups:
        raise ConfigError(
            f"no table in {', '.join(inputs)}", hint="give CSV, JSON lines or Parquet files"
        )
    names: set[str] = set()
    made = []
    for files in groups.values():
        name = _unique(_name(list(files), next(iter(files.values()))), names)
        others = [f for group in groups.values() if group is not files for f in group] + ignored
        paths = _paths(files, others, root)
        made.append(FileGroup(name, format_of(next(iter(files))), tuple(files), paths))
    return made, ignored


def format_of(path: Path) -> str:
    """By the name's ending; a file with another ending is taken for CSV."""
    return FORMATS.get(_suffix(path), "csv")


def _suffix(path: Path) -> str:
    name = path.stem if path.suffix.lower() in _PACKED else path.name
    return Path(name).suffix.lower()


def _files(given: str) -> tuple[list[Path], list[Path]]:
    """Files that may be tables, and others in folders, sorted."""
    matches = sorted(Path(match) for match in glob.glob(given, recursive=True))
    if Path(given).exists():  # whatever characters of a glob its name has
        matches = [Path(given)]
    if not matches:
        raise ConfigError(f"{given}: no such file or folder", hint="check the path")
    found: list[Path] = []
    others: list[Path] = []
    for match in matches:
        if match.is_file():
            found.append(match)
            continue
        inside = sorted(path for path in match.rglob("*") if path.is_file())
        for path in inside:
            hidden = any(part[0] in "._" for part in path.relative_to(match).parts)
            (found if _suffix(path) in FORMATS and not hidden else others).append(path)
    if not found:
        raise ConfigError(
            f"{given}: no file in it is named like a table",
            hint=f"tables end in {', '.join(FORMATS)}, packed ones also in .gz or .bz2",
        )
    return found, others


def _header(path: Path) -> Header:
    kind = format_of(path)
    if kind == "parquet":
        return kind, "", tuple(sorted(parquet_schema(path).names))
    head = read_pieces(path, _HEAD_BYTES).parts[0][:_HEAD_BYTES]
    if found := magic_of(head):
        raise DataRefused(f"{path} is not a text: it is {found}", hint="fix its name or unpack it")
    if kind == "json":
        return kind, str(path.parent), (_stem(path),)
    encoding = encoding_of([head.rsplit(b"\n", 1)[0]])
    text = head.decode(encoding, "replace").removeprefix("\ufeff")
    lines = list(io.StringIO(text, newline=""))
    dialect = dialect_of(lines, encoding)
    rows = cut(lines[:_HEAD_LINES], dialect)
    if not rows:
        raise DataRefused(
            f"{path} has no line with text", hint="remove the file, or fetch it again"
        )
    return kind, dialect.delimiter, tuple(sorted(header_of(rows)))


def parquet_schema(path: Path) -> pa.Schema:
    """The schema of a Parquet file.

    Raises:
        DataRefused: it is none.
    """
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise DataRefused(
            f"{path} is not a whole Parquet file: {str(error).splitlines()[0]}",
            hint="fetch the file again, or fix its name",
        ) from error


def _stem(path: Path) -> str:
    """A file's name without its endings, dates and numbers: files of one table often share it."""
    return re.sub(r"[\W\d_]+", "_", path.name.split(".")[0]).strip("_").lower()


def _name(files: Sequence[Path], given: str) -> str:
    stems = [file.name.split(".")[0] for file in files]
    shared = _shared_start(stems).rstrip("-_ 0123456789") if len(stems) > 1 else stems[0]
    if len(shared) < 3:
        shared = Path(re.split(r"[*?\[]", given)[0].rstrip("/") or ".").resolve().name
    name = re.sub(r"[^A-Za-z0-9]+", "_", shared).strip("_")[:40]
    return (name if name[:1].isalpha() else f"t_{name}").lower()


def _shared_start(texts: Sequence[str]) -> str:
    low, high = min(texts), max(texts)  # what these two share, all between them do
    length = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    return low[:length]


def _unique(name: str, taken: set[str]) -> str:
    number = 1
    wanted = name
    while wanted in taken or wanted == "features":  # the name of the SQL step
        number += 1
        wanted = f"{name}_{number}"
    taken.add(wanted)
    return wanted


def _paths(files: dict[Path, str], others: Sequence[Path], root: Path) -> tuple[str, ...]:
    """What was given, so that files that come later are read too; else the files one by one."""
    given = list(dict.fromkeys(files.values()))
    strangers = {other.resolve() for other in others}
    reached = {file.resolve() for text in given for file in _reached(text)}
    if not reached & strangers and reached <= {file.resolve() for file in files}:
        return tuple(relative(Path(text), root) for text in given)
    folders = {file.parent for file in files}
    shared = _shared_start([file.name for file in files])
    suffix = _endings(next(iter(files)))
    if len(folders) == 1 and len(files) > 1 and all(file.name.endswith(suffix) for file in files):
        pattern = f"{shared.split('.')[0].rstrip('0123456789')}*{suffix}"
        (folder,) = folders
        if {path for path in folder.glob(pattern) if path.is_file()} == set(files):
            return (relative(folder / pattern, root),)
    return tuple(relative(file, root) for file in files)


def _endings(file: Path) -> str:
    return "." + file.name.split(".", 1)[1] if "." in file.name else ""


def _reached(given: str) -> list[Path]:
    path = Path(given)
    if path.is_dir():
        return [file for file in path.rglob("*") if file.is_file() and file.name[0] not in "._"]
    return [path] if path.exists() else [Path(match) for match in glob.glob(given, recursive=True)]


def relative(path: Path, root: Path) -> str:
    """A path for the configuration: relative to its root where it lies below it."""
    path, root = Path(os.path.abspath(path)), Path(os.path.abspath(root))
    return str(path.relative_to(root) if path.is_relative_to(root) else path)
