"""Pieces of a file, from its head and evenly spread, so that a look at it has a bounded cost."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.dataprep.headers import open_raw
from pipeline.errors import DataRefused

MOST_FILES = 32
_PIECES = 16
_MOST_UNPACKED = 256 << 20


@dataclass(frozen=True)
class Pieces:
    """Whole lines of a file, the head first.

    Attributes:
        parts: bytes that begin and end with a line.
        share: how much of the file they are, 1.0 for all of it.
    """

    parts: tuple[bytes, ...]
    share: float


def spread(items: Sequence[Path], most: int = MOST_FILES) -> list[Path]:
    """At most ``most`` of the items, the first and the last among them, evenly spread."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]


def read_pieces(path: Path, budget: int) -> Pieces:
    """About ``budget`` bytes of whole lines.

    Raises:
        DataRefused: the file cannot be read, is empty, or its compression is damaged.
    """
    try:
        found = _packed(path, budget) if path.suffix in (".gz", ".bz2") else _plain(path, budget)
    except (EOFError, OSError, zlib.error, gzip.BadGzipFile) as error:
        raise DataRefused(f"{path} cannot be read: {error}", hint="fetch the file again") from error
    if not found.parts:
        raise DataRefused(f"{path} is empty", hint="remove the file, or fetch it again")
    return found


def _plain(path: Path, budget: int) -> Pieces:
    size = path.stat().st_size
    with path.open("rb") as stream:
        # Lines of UTF-16 cannot be found from the middle.
        wide = stream.read(2) in (b"\xff\xfe", b"\xfe\xff")
        stream.seek(0)
        if size <= budget or wide:
            head = stream.read(budget)
            return Pieces((head,) if head else (), 1.0 if size <= budget else budget / size)
        parts = []
        for index in range(_PIECES):
            stream.seek(index * size // _PIECES)
            parts.append(_whole_lines(stream.read(budget // _PIECES), first=index == 0))
    kept = tuple(part for part in parts if part)
    return Pieces(kept, sum(map(len, kept)) / size)


def _packed(path: Path, budget: int) -> Pieces:
    """Blocks of what is unpacked: every second is dropped whenever there are too many."""
    blocks: list[bytes] = []
    length, stride, seen = budget // (2 * _PIECES), 1, 0
    with open_raw(str(path)) as stream:
        while seen * length < _MOST_UNPACKED and (block := stream.read(length)):
            if seen % stride == 0:
                blocks.append(block)
            seen += 1
            if len(blocks) > 2 * _PIECES:
                blocks, stride = blocks[::2], 2 * stride
    if stride == 1:
        return Pieces((b"".join(blocks),) if blocks else (), 1.0)
    parts = [_whole_lines(block, first=index == 0) for index, block in enumerate(blocks)]
    return Pieces(tuple(part for part in parts if part), len(blocks) / seen)


def _whole_lines(block: bytes, first: bool) -> bytes:
    start = 0 if first else block.find(b"\n") + 1
    return block[start : block.rfind(b"\n") + 1]
