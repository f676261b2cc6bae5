"""Finished fits, kept as their tasks end, so that a killed run does not make them again."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.training.identity import KEY_BYTES
from pipeline.training.result import LEADERBOARD, FitResult, to_table

KEY = pa.field("key", pa.binary(KEY_BYTES))
_SCHEMA = LEADERBOARD.append(KEY)
_HEAD_BYTES = 16


def journal_entry(results: Sequence[FitResult], keys: Sequence[bytes]) -> bytes:
    """What the journal keeps of some fits, each under the key at its place; made by a worker."""
    table = to_table(results).append_column(KEY, pa.array(keys, KEY.type))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, _SCHEMA) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


class FitJournal:
    """An append-only file of entries: length, checksum, and an Arrow stream.

    It is mapped into memory and not read into it, so that the driver stays small however many fits
    there are. A kill can cut the last entry short; the file ends before it then, and its fits are
    made again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.exists():
            whole = sum(_HEAD_BYTES + len(entry) for entry in self._entries())
            os.truncate(path, whole)

    def add(self, entry: bytes) -> None:
        """Keep the fits of one task; they survive a kill of this process from here on."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(_head(entry) + entry)

    @property
    def _exists(self) -> bool:
        return self._path.exists()

    def keys(self) -> pa.Array:
        """The fits that are kept, each once."""
        return pc.unique(self._table().column(KEY.name)) if self._exists else all_keys([])

    def results(self, keys: pa.Array) -> pa.Table:
        """The rows of the leaderboard that are kept under some keys, in the order they came."""
        if not self._exists:
            return LEADERBOARD.empty_table()
        table = self._table()
        wanted = pc.is_in(table.column(KEY.name), value_set=keys)
        return (table if pc.all(wanted).as_py() else table.filter(wanted)).drop_columns([KEY.name])

    def keep_only(self, keys: pa.Array) -> None:
        """Forget all other fits; called when a run's artifact is published."""
        if not self._exists:
            return
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        with temporary.open("wb") as file:
            for entry in self._entries():
                table = _read(entry)
                wanted = table.filter(pc.is_in(table.column(KEY.name), value_set=keys))
                if wanted.num_rows:
                    sink = pa.BufferOutputStream()
                    with pa.ipc.new_stream(sink, _SCHEMA) as writer:
                        writer.write_table(wanted)
                    data = bytes(sink.getvalue())
                    file.write(_head(data) + data)
        os.replace(temporary, self._path)

    def _table(self) -> pa.Table:
        return pa.concat_tables([_SCHEMA.empty_table(), *map(_read, self._entries())])

    def _entries(self) -> Iterator[pa.Buffer]:
        """The entries from the start, up to the first that is cut or damaged."""
        if not self._path.stat().st_size:
            return
        with pa.memory_map(str(self._path)) as file:
            size = file.size()
            at = 0
            while at + _HEAD_BYTES <= size:
                head = file.read_at(_HEAD_BYTES, at)
                length = int.from_bytes(head[:8], "little")
                if at + _HEAD_BYTES + length > size:
                    return
                file.seek(at + _HEAD_BYTES)
                entry = file.read_buffer(length)
                if _head(entry) != head:
                    return
                yield entry
                at += _HEAD_BYTES + length


def _read(entry: pa.Buffer) -> pa.Table:
    table = pa.ipc.open_stream(entry).read_all()
    if table.schema.equals(_SCHEMA):
        return table
    # An earlier release kept fewer columns.
    return pa.concat_tables([_SCHEMA.empty_table(), table], promote_options="default")


def _head(entry: bytes | pa.Buffer) -> bytes:
    return len(entry).to_bytes(8, "little") + zlib.crc32(entry).to_bytes(8, "little")


def all_keys(keys: Iterable[bytes]) -> pa.Array:
    """Keys as the journal takes them."""
    return pa.array(list(keys), KEY.type)


def were_made(keys: Iterable[bytes], made: pa.Array) -> npt.NDArray[np.bool_]:
    """(n_keys,) whether each fit is among those of :meth:`FitJournal.keys`."""
    return np.asarray(pc.is_in(all_keys(keys), value_set=made))
