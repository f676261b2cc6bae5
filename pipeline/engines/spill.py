"""How much of Ray's object store may lie on disk, and an end before the disk is full."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.engines.resources import MIB, sized
from pipeline.errors import EngineError

# Ray itself stops to spill when its disk is fuller than this, and then tasks wait without a word.
_FULLEST = 0.95
_LEAST_FREE = 512 * MIB
_LOOK_SECONDS = 1.0
_HINT = (
    "raise engines.ray.object_store_memory, or engines.ray.spill_limit where the disk has room, or "
    "name another disk in engines.ray.spill_dir"
)


@dataclass
class SpillGuard:
    """Looks at the folder into which the Ray of this run spills.

    Args:
        folder: where objects are spilled; ``None`` for a cluster that was joined, whose disks are
            its own business.
        store_bytes: what Ray's object store holds in memory, over all nodes, in bytes.
        limit_bytes: the most that may be spilled; ``None`` leaves it to the disk's free space.
    """

    folder: Path | None
    store_bytes: int
    limit_bytes: int | None
    clock: Callable[[], float] = time.monotonic
    _looked: float = field(default=float("-inf"))

    def refuse_beyond(self, size: int) -> None:
        """Refuse ``size`` bytes of blocks that neither the store nor the disk has room for.

        Blocks that do not fit the store are all written out in the end: to read one that is on
        disk, another one has to make room for it.

        Raises:
            EngineError: naming the sizes.
        """
        if size <= self.store_bytes:
            return
        room, why = self._room()
        if room is not None and size > room:
            raise EngineError(
                f"the blocks take about {sized(size)}; Ray's object store holds "
                f"{sized(self.store_bytes)}, and {why}",
                hint=_HINT,
            )

    def check(self) -> None:
        """Call it often while the store fills; it looks once a second.

        Raises:
            EngineError: more is spilled than may be, or the disk is almost full.
        """
        now = self.clock()
        if self.folder is None or now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        spilled = self._spilled()
        if self.limit_bytes is not None and spilled > self.limit_bytes:
            raise EngineError(
                f"Ray has spilled {sized(spilled)} to {self.folder}; engines.ray.spill_limit is "
                f"{sized(self.limit_bytes)}",
                hint=_HINT,
            )
        if spilled and _free(self.folder) <= 0:
            raise EngineError(
                f"the disk of {self.folder} is almost full; Ray has spilled {sized(spilled)} there",
                hint=_HINT,
            )

    def _room(self) -> tuple[int | None, str]:
        limit = self.limit_bytes
        stated = f"engines.ray.spill_limit is {sized(limit)}" if limit is not None else ""
        if self.folder is None:
            return limit, stated
        free = max(0, _free(self.folder) + self._spilled())
        if limit is not None and limit <= free:
            return limit, stated
        return free, f"the disk of {self.folder} has room for {sized(free)}"

    def _spilled(self) -> int:
        assert self.folder is not None
        total = 0
        for path in self.folder.rglob("ray_spilled_objects*/*"):
            with contextlib.suppress(OSError):  # Ray removes what nobody needs any more
                total += path.stat().st_size if path.is_file() else 0
        return total


def _free(folder: Path) -> int:
    """Bytes that may still be written there before Ray stops to spill, or little is left."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    disk = shutil.disk_usage(there)
    return disk.free - max(int(disk.total * (1 - _FULLEST)), _LEAST_FREE)
