"""Which fits travel together in one Ray task: small ones are packed, big ones go alone.

Pure: what a fit costs is predicted from its rows and corrected by what was seen. The results do
not depend on any of it, only the time they take.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FIRST_SECONDS_PER_ROW = 2e-5
FIXED_SECONDS = 0.01


@dataclass(frozen=True)
class SegmentWork:
    """A segment's training rows and the fits that are still to be done for it."""

    segment: str
    rows: int
    fits: tuple[tuple[str, int], ...]
    """Pairs of (candidate, fold)."""


class CostModel:
    """Seconds that a fit takes: a fixed part, and one by row that each candidate corrects."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._rows: dict[str, float] = defaultdict(float)

    def predict(self, candidate: str, rows: int) -> float:
        rate = FIRST_SECONDS_PER_ROW
        if self._rows[candidate]:
            rate = self._seconds[candidate] / self._rows[candidate]
        return FIXED_SECONDS + rate * rows

    def learn(self, candidate: str, rows: int, seconds: float) -> None:
        """Take a finished fit into account."""
        self._seconds[candidate] += max(seconds - FIXED_SECONDS, 0.0)
        self._rows[candidate] += rows


class Packer:
    """Hands out packs, the dearest work first, so that the last tasks to end are short ones."""

    def __init__(self, work: Iterable[SegmentWork], cost: CostModel, pack_seconds: float) -> None:
        self.cost = cost
        self._pack_seconds = pack_seconds
        self._queue: list[tuple[float, str, SegmentWork]] = []
        for item in work:
            for part in self._split(item):
                self._push(part)

    @property
    def size(self) -> int:
        """Fits that are waiting."""
        return sum(len(item.fits) for _, _, item in self._queue)

    def _push(self, item: SegmentWork) -> None:
        heapq.heappush(self._queue, (-self.seconds(item), f"{item.segment}{item.fits}", item))

    def seconds(self, item: SegmentWork) -> float:
        """What the item's fits are predicted to take together."""
        return sum(self.cost.predict(candidate, item.rows) for candidate, _ in item.fits)

    def _split(self, item: SegmentWork) -> list[SegmentWork]:
        """A segment too long for one task is spread by fold, then by candidate.

        By fold first, because a fold's candidates share the preparation of its rows.
        """
        if self.seconds(item) <= self._pack_seconds:
            return [item]
        by_fold: Mapping[int, list[tuple[str, int]]] = defaultdict(list)
        for fit in item.fits:
            by_fold[fit[1]].append(fit)
        parts = []
        for fits in by_fold.values():
            whole = SegmentWork(item.segment, item.rows, tuple(fits))
            if self.seconds(whole) <= self._pack_seconds:
                parts.append(whole)
            else:
                parts += [SegmentWork(item.segment, item.rows, (fit,)) for fit in fits]
        return parts

    def put_back(self, item: SegmentWork) -> None:
        """Queue work again, each fit on its own, so that one that kills its worker is found."""
        for fit in item.fits:
            self._push(SegmentWork(item.segment, item.rows, (fit,)))

    def next_pack(self) -> list[SegmentWork] | None:
        """The dearest item, filled up with the next ones; None when nothing is left."""
        pack: list[SegmentWork] = []
        room = self._pack_seconds
        while self._queue:
            item = self._queue[0][2]
            seconds = self.seconds(item)  # anew, for the cost model has learned since
            if pack and seconds > room:
                break
            heapq.heappop(self._queue)
            pack.append(item)
            room -= seconds
        return pack or None
