"""Which fits travel together in one Ray task: small ones are packed, big ones go alone.

Pure: what a fit costs is predicted from its rows and corrected by what was seen. The results do
not depend on any of it, only the time they take.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

FIXED_SECONDS, SECONDS_PER_ROW = 0.004, 2e-5
"""What a fit is taken to cost before one was seen."""

_TRUST = 0.01
"""The first guess counts as much as this share of a fit that was seen."""

_FAR = 10_000
"""Rows at which the first guess is one observation; the other is at none."""


Together = Callable[[Sequence[str], int], list[list[str]]]
"""Candidates in groups whose fits on a fold are one computation, given the segment's rows."""


def each_alone(candidates: Sequence[str], rows: int) -> list[list[str]]:
    """Groups of one."""
    return [[name] for name in candidates]


@dataclass(frozen=True, slots=True)
class SegmentWork:
    """A segment's training rows and the fits that are still to be done for it.

    Attributes:
        segment: its key.
        data: hash of its training rows.
        rows: how many they are.
        fits: pairs of (candidate, fold).
    """

    segment: str
    data: bytes
    rows: int
    fits: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class Seen:
    """Sums over fits of one candidate, from which a line through their costs follows."""

    fits: float = 0.0
    rows: float = 0.0
    rows_squared: float = 0.0
    seconds: float = 0.0
    rows_times_seconds: float = 0.0

    def add(self, rows: float, seconds: float, fits: float = 1.0) -> None:
        """Take fits of so many rows and seconds each into account."""
        self.fits += fits
        self.rows += fits * rows
        self.rows_squared += fits * rows * rows
        self.seconds += fits * seconds
        self.rows_times_seconds += fits * rows * seconds

    def merge(self, other: Seen) -> None:
        """Take all that the other has seen into account."""
        self.fits += other.fits
        self.rows += other.rows
        self.rows_squared += other.rows_squared
        self.seconds += other.seconds
        self.rows_times_seconds += other.rows_times_seconds

    def line(self) -> tuple[float, float]:
        """Seconds of a fit without rows, and seconds a row: least squares, neither below 0."""
        spread = self.fits * self.rows_squared - self.rows**2
        slope = (self.fits * self.rows_times_seconds - self.rows * self.seconds) / spread
        fixed = (self.seconds - slope * self.rows) / self.fits
        if fixed < 0:
            return 0.0, self.rows_times_seconds / self.rows_squared
        return (self.seconds / self.fits, 0.0) if slope < 0 else (fixed, slope)


def _first_guess() -> Seen:
    seen = Seen()
    seen.add(0, FIXED_SECONDS, _TRUST)
    seen.add(_FAR, FIXED_SECONDS + SECONDS_PER_ROW * _FAR, _TRUST)
    return seen


class CostModel:
    """Seconds that a fit takes: for each candidate a fixed part, and one by row."""

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = defaultdict(_first_guess)
        self._lines: dict[str, tuple[float, float]] = {}

    def predict(self, candidate: str, rows: int) -> float:
        line = self._lines.get(candidate)
        if line is None:
            line = self._lines[candidate] = self._seen[candidate].line()
        return line[0] + line[1] * rows

    def learn(self, candidate: str, seen: Seen) -> None:
        """Take finished fits into account."""
        self._seen[candidate].merge(seen)
        self._lines.pop(candidate, None)


class Packer:
    """Hands out packs, the dearest work first, so that the last tasks to end are short ones.

    Args:
        work: the segments and their fits.
        cost: what fits are predicted to cost.
        pack_seconds: how long a task should take; a segment beyond it is spread.
        together: which fits are never spread.
    """

    def __init__(
        self,
        work: Iterable[SegmentWork],
        cost: CostModel,
        pack_seconds: float,
        together: Together = each_alone,
    ) -> None:
        self.cost = cost
        self._together = together
        self._pack_seconds = pack_seconds
        self._queue: list[tuple[float, int, SegmentWork]] = []
        self._alone: deque[SegmentWork] = deque()
        self._pushed = 0
        for item in work:
            for part in self._split(item):
                self._push(part)

    @property
    def size(self) -> int:
        """Fits that are waiting."""
        return len(self._alone) + sum(len(item.fits) for _, _, item in self._queue)

    def _push(self, item: SegmentWork) -> None:
        self._pushed += 1  # of equal ones the first, which lies beside the one before in the table
        heapq.heappush(self._queue, (-self.seconds(item), self._pushed, item))

    def seconds(self, item: SegmentWork) -> float:
        """What the item's fits are predicted to take together."""
        return sum(self.cost.predict(candidate, item.rows) for candidate, _ in item.fits)

    def _split(self, item: SegmentWork) -> list[SegmentWork]:
        """A segment too long for one task is spread by fold, then by groups of candidates.

        By fold first, because a fold's candidates share the preparation of its rows. A group's fits
        are one computation: spread, each would make all of it.
        """
        if self.seconds(item) <= self._pack_seconds:
            return [item]
        by_fold: Mapping[int, list[tuple[str, int]]] = defaultdict(list)
        for fit in item.fits:
            by_fold[fit[1]].append(fit)
        parts = []
        for fits in by_fold.values():
            whole = replace(item, fits=tuple(fits))
            if self.seconds(whole) <= self._pack_seconds:
                parts.append(whole)
                continue
            fold = fits[0][1]
            groups = self._together([name for name, _ in fits], item.rows)
            parts += [replace(item, fits=tuple((n, fold) for n in names)) for names in groups]
        return parts

    def put_back(self, item: SegmentWork) -> None:
        """Queue work again, each fit in a pack of its own: one that kills its worker is found, and
        none is lost with it again."""
        self._alone += [replace(item, fits=(fit,)) for fit in item.fits]

    def next_pack(self) -> list[SegmentWork] | None:
        """The dearest item, filled up with the next ones; None when nothing is left."""
        if self._alone:
            return [self._alone.popleft()]
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
