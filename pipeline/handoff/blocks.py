"""Which part of which Parquet file becomes which block: read from the files' footers alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from pipeline.errors import DataRefused
from pipeline.handoff.arrow_schema import canonical_schema, in_form

SPLIT_BYTES = 128 * 1024**2
"""A file longer than this (on disk) becomes several blocks; it is Spark's split by default, too."""

BATCH_ROWS = 2**17
"""Files are decoded so many rows at a time: a column of eight bytes is 1 MiB, which stays in the
processor's cache, and which Ray copies without starting threads for it."""

_URI = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
ARROW_SCHEMES = ("file", "s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss")
"""What Arrow's own file systems serve; fsspec serves the rest."""


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """One block: row groups of one file, and what the footer says of them.

    ``start`` is where its split begins in the file, in bytes. Splits are cut and row groups given
    to them as Spark does it (a row group belongs to the split that holds its middle), so that a
    Spark partition and a block that Ray reads are the same rows.
    """

    file: str
    start: int
    row_groups: tuple[int, ...]
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class FilePart:
    """Some bytes of a file, as Spark cuts it: the row groups whose middle lies in them."""

    file: str
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """The blocks of some files in row order, and the schema that all of them have."""

    specs: tuple[BlockSpec, ...]
    schema: pa.Schema

    @property
    def bytes(self) -> int:
        """Size of all blocks, uncompressed, in bytes."""
        return sum(spec.bytes for spec in self.specs)


def plan_blocks(
    files: Sequence[str], columns: Sequence[str] | None = None, split_bytes: int = SPLIT_BYTES
) -> BlockPlan:
    """Read the footers and plan the blocks.

    Args:
        files: Parquet files, absolute paths or URIs, in the order that the blocks shall have.
        columns: the columns to keep, in this order; ``None`` keeps all.
        split_bytes: a file longer than this becomes several blocks, in row order.

    Raises:
        DataRefused: there is no file; one is not Parquet; a column is missing; two files disagree
            on a column's type.
    """
    if not files:
        raise DataRefused("there is no file to hand off", hint="run the stage before this one")
    footers = _read_footers(files)
    schema = _common_schema(files, footers, columns)
    specs = [
        spec
        for file, footer in zip(files, footers, strict=True)
        for spec in _specs_of(file, footer, schema.names, split_bytes)
    ]
    return BlockPlan(tuple(specs), schema)


def plan_parts(
    parts: Sequence[FilePart], columns: Sequence[str], most_bytes: int = SPLIT_BYTES
) -> BlockPlan:
    """Plan a block for each part that holds rows; a single empty one where none does.

    A part of more than ``most_bytes``, uncompressed, becomes several blocks.

    Raises:
        DataRefused: as :func:`plan_blocks`; or a file holds days or times in the calendar of Spark
            before 3.0, which Arrow would take for the one of today.
    """
    files = list(dict.fromkeys(part.file for part in parts))
    footers = dict(zip(files, _read_footers(files), strict=True))
    for file, footer in footers.items():
        if _old_calendar(footer.meta.metadata or {}):
            raise DataRefused(f"{shown(file)} has days or times in an old calendar")
    schema = _common_schema(files, list(footers.values()), columns)
    kept = set(schema.names)
    groups = {file: _groups_of(footer, kept) for file, footer in footers.items()}
    specs: list[BlockSpec] = []
    for part in parts:
        mine = [g for g in groups[part.file] if 0 <= g.middle - part.start < part.length]
        specs += _cut(part, mine, most_bytes)
    return BlockPlan(tuple(specs) or (BlockSpec(files[0], 0, (), 0, 0),), schema)


def read_block(spec: BlockSpec, schema: pa.Schema) -> pa.Table:
    """Read one block with its columns pruned to ``schema``."""
    filesystem, path = locate(spec.file)
    with pq.ParquetFile(path, filesystem=filesystem, pre_buffer=_URI.match(spec.file)) as file:
        # One thread: the task that calls this booked one CPU. In batches, because a whole row group
        # at once takes twice its size of the heap; but each group apart, or Arrow refuses nested
        # columns that are coded ("not implemented for chunked array outputs").
        tables = [
            pa.Table.from_batches([batch])
            for group in spec.row_groups
            for batch in file.iter_batches(BATCH_ROWS, [group], schema.names, use_threads=False)
        ]
    return in_form(pa.concat_tables(tables), schema) if tables else schema.empty_table()


def locate(file: str) -> tuple[fs.FileSystem, str]:
    """The file system of a path or URI, and the path in it; Arrow's own or, failing that, fsspec's.

    Raises:
        OSError: the file system cannot be reached.
        ValueError: nobody knows the URI's scheme.
        ImportError: fsspec knows it, but the package that it needs is not installed.
    """
    if not _URI.match(file):
        return fs.LocalFileSystem(), file
    if urlsplit(file).scheme in ARROW_SCHEMES:
        filesystem, path = fs.FileSystem.from_uri(file)
        return filesystem, path
    from fsspec.core import url_to_fs

    other, path = url_to_fs(file)
    return fs.PyFileSystem(fs.FSSpecHandler(other)), path


def shown(file: str) -> str:
    """A path or URI as a message may name it: a URI without user, password and options."""
    if not _URI.match(file):
        return file
    parts = urlsplit(file)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def is_local(file: str) -> bool:
    """Whether a path or URI names a file of the machine that reads it."""
    return not _URI.match(file) or file.startswith("file://")


@dataclass(frozen=True, slots=True)
class _Footer:
    schema: pa.Schema
    meta: pq.FileMetaData
    length: int


def _read_footers(files: Sequence[str]) -> list[_Footer]:
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(_read_footer, files))


def _read_footer(file: str) -> _Footer:
    try:
        filesystem, path = locate(file)
        length = filesystem.get_file_info(path).size
        with pq.ParquetFile(path, filesystem=filesystem) as opened:
            return _Footer(opened.schema_arrow, opened.metadata, length or 0)
    except ImportError as problem:
        raise DataRefused(f"{shown(file)} cannot be reached: {problem}") from problem
    except (OSError, ValueError) as problem:  # pyarrow.ArrowInvalid is a ValueError
        raise DataRefused(
            f"{shown(file)} cannot be read as Parquet: {str(problem).replace(file, shown(file))}",
            hint="the file is missing, cut short or not Parquet; make its artifact again "
            "(pipeline run --force)",
        ) from problem


def _common_schema(
    files: Sequence[str], footers: Sequence[_Footer], columns: Sequence[str] | None
) -> pa.Schema:
    first = canonical_schema(footers[0].schema)
    names = list(columns) if columns is not None else first.names
    for file, footer in zip(files, footers, strict=True):
        schema = canonical_schema(footer.schema)
        missing = [name for name in names if schema.get_field_index(name) < 0]
        if missing:
            raise DataRefused(
                f"{shown(file)} has no column {missing[0]!r}; it has {', '.join(schema.names)}"
            )
        for name in names:
            _same_type(name, files[0], first.field(name).type, file, schema.field(name).type)
    return pa.schema([first.field(name) for name in names])


def _same_type(
    name: str, first_file: str, wanted: pa.DataType, file: str, found: pa.DataType
) -> None:
    if not found.equals(wanted):
        raise DataRefused(
            f"column {name!r} is {wanted} in {Path(shown(first_file)).name} and {found} in "
            f"{shown(file)}",
            hint="the files of one artifact must have one schema; make the artifact again",
        )


@dataclass(frozen=True, slots=True)
class _Group:
    """A row group: its number, where its middle lies in the file, and what a block has of it."""

    number: int
    middle: int
    rows: int
    bytes: int


def _groups_of(footer: _Footer, kept: set[str]) -> list[_Group]:
    found = []
    for number in range(footer.meta.num_row_groups):
        group = footer.meta.row_group(number)
        found.append(_Group(number, _middle(group), group.num_rows, _kept_bytes(group, kept)))
    return found


def _specs_of(file: str, footer: _Footer, names: list[str], split_bytes: int) -> list[BlockSpec]:
    splits: dict[int, list[_Group]] = {}
    for group in _groups_of(footer, set(names)):
        # A file that is not split by Spark is one block, wherever its row groups' middles lie.
        split = group.middle // split_bytes if footer.length > split_bytes else 0
        splits.setdefault(split, []).append(group)
    if not splits:  # a file without rows is a block without rows
        return [BlockSpec(file, 0, (), 0, 0)]
    return [_spec(file, split * split_bytes, groups) for split, groups in sorted(splits.items())]


def _cut(part: FilePart, groups: list[_Group], most_bytes: int) -> Iterator[BlockSpec]:
    """The blocks of a part of a file; none where it has no rows."""
    waiting: list[_Group] = []
    for group in groups:
        if waiting and sum(g.bytes for g in waiting) + group.bytes > most_bytes:
            yield _spec(part.file, part.start, waiting)
            waiting = []
        if group.rows:
            waiting.append(group)
    if waiting:
        yield _spec(part.file, part.start, waiting)


def _spec(file: str, start: int, groups: list[_Group]) -> BlockSpec:
    numbers = tuple(group.number for group in groups)
    return BlockSpec(
        file, start, numbers, sum(g.rows for g in groups), sum(g.bytes for g in groups)
    )


def _old_calendar(metadata: dict[bytes, bytes]) -> bool:
    """Whether Spark wrote the file and would shift its old days (Spark's ``getRebaseSpec``)."""
    version = metadata.get(b"org.apache.spark.version", b"")
    legacy = b"org.apache.spark.legacyDateTime" in metadata
    return bool(version) and (legacy or version.split(b".")[0] in (b"1", b"2"))


def _middle(group: pq.RowGroupMetaData) -> int:
    first = group.column(0)
    begins = first.data_page_offset
    if first.has_dictionary_page and first.dictionary_page_offset is not None:
        begins = min(begins, first.dictionary_page_offset)
    length = sum(group.column(i).total_compressed_size for i in range(group.num_columns))
    return int(begins + length // 2)


def _kept_bytes(group: pq.RowGroupMetaData, names: set[str]) -> int:
    chunks = (group.column(i) for i in range(group.num_columns))
    return sum(
        chunk.total_uncompressed_size
        for chunk in chunks
        if chunk.path_in_schema in names or chunk.path_in_schema.split(".")[0] in names
    )
