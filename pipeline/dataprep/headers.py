"""The header of each CSV file, read on the driver before Spark starts any work.

Spark either trusts a header's position (``enforceSchema``) or fails a whole job on it; here
columns are found by name, file by file, and a file that cannot be used is named.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import re
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TypeVar, cast

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.drift import NO_DRIFT, FileDrift, check_names
from pipeline.errors import ConfigError, DataRefused

Found = TypeVar("Found")

MAX_HEADER_BYTES = 1 << 20
NAMES_OF_FORMATS = {"csv": "CSV", "json": "JSON", "text": "text"}
_UNREADABLE = {".zst", ".xz", ".zip", ".7z", ".lz4", ".snappy", ".lzo", ".Z"}
_MAGIC = {
    b"\x1f\x8b": "gzip data without the ending .gz",
    b"PK\x03\x04": "a ZIP archive",
    b"PAR1": "a Parquet file",
    b"BZh": "bzip2 data without the ending .bz2",
    b"\x28\xb5\x2f\xfd": "zstandard data",
    b"SQLite": "an SQLite database",
}
_BOMS = {codecs.BOM_UTF16_LE: "UTF-16LE", codecs.BOM_UTF16_BE: "UTF-16BE"}


@dataclass(frozen=True)
class Layout:
    """What files must share to be parsed together.

    Attributes:
        line: the header as it stands in the file; None where files have none.
        names: the names of the cells in the order of the file, spaces around them removed.
        encoding: the encoding under Java's name, UTF-16 with its byte order.
        drift: how the names differ from the declared ones.
    """

    line: str | None
    names: tuple[str, ...]
    encoding: str
    drift: FileDrift = NO_DRIFT


def blanks_of(source: SourceConfig) -> str:
    """The characters that a blank line may have: spaces and tabs, unless they separate cells."""
    return "".join(blank for blank in " \t" if blank != delimiter_of(source))


def delimiter_of(source: SourceConfig) -> str:
    """The delimiter, with ``\\t`` spelled out in YAML understood as a tab."""
    return source.delimiter.replace("\\t", "\t")


def csv_layouts(name: str, source: SourceConfig, files: Sequence[str]) -> dict[Layout, list[str]]:
    """Group the files by header, in the order of ``files``.

    Raises:
        DataRefused: a file is empty, is not CSV, cannot be decoded, or its header lacks a
            declared column, names one twice, or has others than declared where that is refused.
        ConfigError: the encoding is not known.
    """
    check_encoding(name, source)
    return group_files(name, files, lambda file: _layout(file, source))


def check_encoding(name: str, source: SourceConfig) -> None:
    """Refuse an encoding that nobody knows.

    Raises:
        ConfigError: the encoding is not known.
    """
    try:
        codecs.lookup(source.encoding)
    except LookupError as error:
        raise ConfigError(
            f"ingest.sources.{name}.encoding: must be a known encoding. Got {source.encoding!r}",
            hint="write UTF-8, ISO-8859-1, windows-1252 or UTF-16",
        ) from error


def group_files(
    name: str, files: Sequence[str], look: Callable[[str], Found]
) -> dict[Found, list[str]]:
    """Look into each file, and group those in which the same is found, in the order of ``files``.

    Raises:
        DataRefused: ``look`` refused files; the first ten of them are named.
    """

    def look_or_error(file: str) -> Found | DataRefused:
        try:
            return look(file)
        except DataRefused as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(look_or_error, files))
    refused = [item for item in found if isinstance(item, DataRefused)]
    if refused:
        lines = [f"source {name}: {error.message}" for error in refused[:10]]
        more = [f"… and {len(refused) - 10} more files"] if len(refused) > 10 else []
        raise DataRefused("\n".join(lines + more), hint=refused[0].hint)
    groups: dict[Found, list[str]] = {}
    for file, item in zip(files, found, strict=True):
        if not isinstance(item, DataRefused):
            groups.setdefault(item, []).append(file)
    return groups


def open_raw(path: str) -> IO[bytes]:
    """A file's bytes, decompressed by its ending, as Spark does."""
    suffix = Path(path).suffix
    if suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return cast(IO[bytes], bz2.open(path, "rb")) if suffix == ".bz2" else Path(path).open("rb")


def magic_of(head: bytes) -> str | None:
    """What a file is that begins so, if it is none of text."""
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def check_is_file(path: str) -> None:
    """Refuse what Spark would read as a folder, or not see at all."""
    if Path(path).is_dir():
        raise DataRefused(f"{path} is a folder, not a file", hint="name the files inside it")
    if Path(path).name.startswith(("_", ".")):
        raise DataRefused(
            f"{path}: Spark does not read files whose name begins with '_' or '.'",
            hint="rename the file",
        )


def _layout(path: str, source: SourceConfig) -> Layout:
    layout = _read_layout(path, source)
    drift = _check_names(path, layout.names, source)
    if source.header:
        return replace(layout, drift=drift)
    return Layout(None, tuple(source.names_in_files.values()), layout.encoding)


def read_head(path: str, source: SourceConfig) -> tuple[str, str]:
    """The encoding of a file of text, and the text of its first MiB.

    Raises:
        DataRefused: the file is a folder, empty, damaged, not text, or in another encoding.
    """
    check_is_file(path)
    if Path(path).suffix in _UNREADABLE:
        raise DataRefused(
            f"{path}: Spark cannot read this compression", hint="compress the file with gzip"
        )
    try:
        with open_raw(path) as stream:
            head = stream.read(MAX_HEADER_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataRefused(
            f"{path} is not whole: {error}", hint="fetch the file again; it was cut or damaged"
        ) from error
    except OSError as error:
        raise DataRefused(
            f"{path} cannot be read: {error}", hint="check the path and its rights"
        ) from error
    if not head:
        raise DataRefused(f"{path} is empty", hint="remove the file, or fetch it again")
    if kind := magic_of(head):
        raise DataRefused(
            f"{path} is not {NAMES_OF_FORMATS[source.format]}: it is {kind}",
            hint="fix its name or its format",
        )
    return _decode(path, head, source.encoding)


def _read_layout(path: str, source: SourceConfig) -> Layout:
    encoding, text = read_head(path, source)
    # Not splitlines, which ends lines at characters that are none for Spark.
    lines = re.split("\r\n|\r|\n", text)
    line = next((line for line in lines if _is_record(line, source)), "")
    if not line or "\0" in line or "\ufffd" in line:
        raise DataRefused(
            f"{path} has no header line that can be read as {source.encoding}",
            hint="check the file and its declared encoding",
        )
    if source.header and quotes_in(line, source) % 2:
        raise DataRefused(
            f"{path}: a quote in its header is not closed on that line: {line[:200]!r}",
            hint="write the header in one line, with a quote in a name doubled",
        )
    return Layout(line, _split(line, source), encoding)


def _is_record(line: str, source: SourceConfig) -> bool:
    comment = source.comment is not None and line.startswith(source.comment)
    return not comment and bool(line.strip(blanks_of(source)))


def quotes_in(line: str, source: SourceConfig) -> int:
    """How many quotes of a line have a meaning."""
    if source.escape is not None:
        line = re.sub(re.escape(source.escape) + ".", "", line)
    return line.count(source.quote)


def _decode(path: str, head: bytes, encoding: str) -> tuple[str, str]:
    head = head.removeprefix(codecs.BOM_UTF8)  # as Spark does, whatever the encoding
    codec = codecs.lookup(encoding).name
    if codec == "utf-16":
        encoding = _BOMS.get(head[:2], "UTF-16LE")
        codec = encoding
    elif codec == "utf-8" and head[:2] in _BOMS:
        raise DataRefused(
            f"{path} is written in UTF-16, not {encoding}", hint="declare encoding: UTF-16"
        )
    try:
        # Only the first line counts; the head may end inside a character.
        text = codecs.getincrementaldecoder(codec)("replace").decode(head)
    except UnicodeError as error:
        raise DataRefused(f"{path} cannot be read as {encoding}: {error}") from error
    return encoding, text.removeprefix("\ufeff")


def _split(line: str, source: SourceConfig) -> tuple[str, ...]:
    delimiter = delimiter_of(source)
    if len(delimiter) > 1:  # Python's reader takes one character
        line, delimiter = line.replace(delimiter, "\x1f"), "\x1f"
    reader = csv.reader(
        [line], delimiter=delimiter, quotechar=source.quote, escapechar=source.escape
    )
    cells = next(reader)
    return tuple(cell.strip() for cell in cells)


def _check_names(path: str, names: tuple[str, ...], source: SourceConfig) -> FileDrift:
    wanted = source.names_in_files.values()
    unknown = not source.header or any(name not in names for name in wanted)
    if len(names) == 1 and len(wanted) > 1 and unknown:
        other = next((mark for mark in ",;\t|" if mark in names[0]), None)
        found = f"; it contains {other!r}" if other else ""
        raise DataRefused(
            f"{path}: its {'header' if source.header else 'first line'} is one column with "
            f"delimiter {source.delimiter!r}{found}",
            hint="set the source's delimiter",
        )
    return check_names(path, names, source) if source.header else NO_DRIFT
