"""Packs: every fit once, big ones alone, small ones together; and the journal of fits."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.journal import FitJournal
from pipeline.training.packing import CostModel, Packer, SegmentWork
from pipeline.training.result import FitResult

CANDIDATES = ["a", "b"]
FITS = tuple((name, fold) for name in CANDIDATES for fold in range(3))


def works(rows: list[int]) -> list[SegmentWork]:
    return [SegmentWork(f'["{i}"]', n, FITS) for i, n in enumerate(rows)]


def drain(packer: Packer) -> list[list[SegmentWork]]:
    return list(iter(packer.next_pack, None))


@given(st.lists(st.integers(1, 300_000), max_size=30), st.floats(0.01, 10))
def test_every_fit_is_handed_out_once(rows: list[int], seconds: float) -> None:
    packer = Packer(works(rows), CostModel(), seconds)
    assert packer.size == 6 * len(rows)
    handed = [(w.segment, fit) for pack in drain(packer) for w in pack for fit in w.fits]
    assert sorted(handed) == sorted((w.segment, fit) for w in works(rows) for fit in FITS)


def test_small_segments_travel_together_and_a_big_one_is_spread() -> None:
    packs = drain(Packer(works([100_000, *[50] * 20]), CostModel(), 1.0))
    assert packs[0][0].segment == '["0"]'
    assert sum(w.segment == '["0"]' for pack in packs for w in pack) == 6  # 2 s a fit
    assert max(len(pack) for pack in packs) > 10


def test_costs_follow_what_was_seen() -> None:
    cost = CostModel()
    before = cost.predict("a", 1000)
    cost.learn("a", 1000, 5.0)
    assert cost.predict("a", 1000) > 100 * before
    assert cost.predict("b", 1000) == before


def result(segment: str, score: float) -> FitResult:
    return FitResult(segment, "a", "own", 0, "ok", score, 10, 5)


def test_a_line_cut_by_a_kill_is_forgotten_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "fits.jsonl"
    journal = FitJournal(path)
    journal.add("k1", [result("x", 1 / 3)])
    journal.add("k2", [result("y", 2.0), result("z", 3.0)])
    path.write_bytes(path.read_bytes()[:-7])
    again = FitJournal(path)
    assert again.get("k1") == [result("x", 1 / 3)]
    assert again.get("k2") is None
    again.add("k3", [result("w", 4.0)])
    assert FitJournal(path).get("k3") == [result("w", 4.0)]


def test_a_journal_forgets_what_no_run_asks_for(tmp_path: Path) -> None:
    journal = FitJournal(tmp_path / "fits.jsonl")
    journal.add("k1", [result("x", 1.0)])
    journal.add("k2", [result("y", 2.0)])
    journal.keep_only({"k2", "k9"})
    again = FitJournal(tmp_path / "fits.jsonl")
    assert again.get("k1") is None
    assert again.get("k2") == [result("y", 2.0)]
