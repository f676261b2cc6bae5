"""Packs: every fit once, big ones alone, small ones together; and the journal of fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.journal import FitJournal, all_keys, journal_entry
from pipeline.training.packing import CostModel, Packer, Seen, SegmentWork
from pipeline.training.result import FitResult, from_table

CANDIDATES = ["a", "b"]
FITS = tuple((name, fold) for name in CANDIDATES for fold in range(3))


def works(rows: list[int]) -> list[SegmentWork]:
    return [SegmentWork(f'["{i}"]', b"", n, FITS) for i, n in enumerate(rows)]


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


def test_fits_that_are_one_computation_are_not_spread() -> None:
    fits = tuple((name, fold) for name in "abc" for fold in range(2))
    work = [SegmentWork('["0"]', b"", 100_000, fits)]
    packer = Packer(work, CostModel(), 1.0, lambda names, rows: [["a", "c"], ["b"]])
    parts = sorted(item.fits for pack in drain(packer) for item in pack)
    assert parts == [
        (("a", 0), ("c", 0)),
        (("a", 1), ("c", 1)),
        (("b", 0),),
        (("b", 1),),
    ]


def test_costs_follow_what_was_seen() -> None:
    cost = CostModel()
    before = cost.predict("a", 1000)
    slow = Seen()
    slow.add(1000, 5.0)
    cost.learn("a", slow)
    assert cost.predict("a", 1000) > 100 * before
    assert cost.predict("b", 1000) == before


@given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(0, 1000)), max_size=20))
def test_no_fit_is_predicted_to_cost_less_than_nothing(fits: list[tuple[int, float]]) -> None:
    seen = Seen()
    for rows, seconds in fits:
        seen.add(rows, seconds)
    cost = CostModel()
    cost.learn("a", seen)
    assert 0 <= cost.predict("a", 1) <= cost.predict("a", 10**6)


def test_a_line_through_the_costs_is_found() -> None:
    seen = Seen()
    for rows in (100, 5_000, 400_000):
        seen.add(rows, 0.002 + 1e-6 * rows, fits=100)
    cost = CostModel()
    cost.learn("a", seen)
    assert cost.predict("a", 50) == pytest.approx(0.002, rel=0.1)
    assert cost.predict("a", 1_000_000) == pytest.approx(1.0, rel=0.1)


def result(segment: str, score: float) -> FitResult:
    return FitResult(segment, "a", "own", 0, "ok", score, 10, 5)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def entry(number: int, *results: FitResult) -> bytes:
    return journal_entry(results, [key(number)] * len(results))


def kept(journal: FitJournal, *numbers: int) -> list[FitResult]:
    return from_table(journal.results(all_keys(key(n) for n in numbers)))


def test_an_entry_cut_by_a_kill_is_forgotten_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "fits.journal"
    journal = FitJournal(path)
    journal.add(entry(1, result("x", 1 / 3)))
    journal.add(entry(2, result("y", 2.0), result("z", 3.0)))
    path.write_bytes(path.read_bytes()[:-7])
    again = FitJournal(path)
    assert kept(again, 1) == [result("x", 1 / 3)]
    assert again.keys().to_pylist() == [key(1)]
    again.add(entry(3, result("w", 4.0)))
    assert kept(FitJournal(path), 1, 2, 3) == [result("x", 1 / 3), result("w", 4.0)]


@given(st.data())
def test_a_damaged_entry_ends_the_journal(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "fits.journal"
        journal = FitJournal(path)
        journal.add(entry(1, result("x", 1.0)))
        whole = path.stat().st_size
        journal.add(entry(2, result("y", 2.0)))
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(whole, len(content) - 1))] ^= 1 << data.draw(
            st.integers(0, 7)
        )
        path.write_bytes(content)
        assert FitJournal(path).keys().to_pylist() == [key(1)]
        assert path.stat().st_size == whole


def test_a_journal_forgets_what_no_run_asks_for(tmp_path: Path) -> None:
    journal = FitJournal(tmp_path / "fits.journal")
    journal.add(entry(1, result("x", 1.0)))
    journal.add(entry(2, result("y", 2.0)))
    journal.keep_only(all_keys([key(2), key(9)]))
    again = FitJournal(tmp_path / "fits.journal")
    assert kept(again, 1, 2) == [result("y", 2.0)]


def test_further_scores_are_kept_and_entries_of_an_earlier_release_are_read(tmp_path: Path) -> None:
    journal = FitJournal(tmp_path / "fits.journal")
    more = replace(result("x", 1.0), also=(0.5, None))
    journal.add(entry(1, more))
    before = pa.ipc.open_stream(entry(2, result("y", 2.0))).read_all().drop_columns(["also"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, before.schema) as writer:
        writer.write_table(before)
    journal.add(bytes(sink.getvalue()))
    assert kept(journal, 1, 2) == [more, result("y", 2.0)]
    journal.keep_only(all_keys([key(1), key(2)]))
    assert kept(FitJournal(tmp_path / "fits.journal"), 1, 2) == [more, result("y", 2.0)]


def test_a_journal_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    journal = FitJournal(tmp_path / "fits.journal")
    assert len(journal.keys()) == 0
    assert journal.results(all_keys([key(1)])).num_rows == 0
    journal.keep_only(all_keys([]))


def test_what_was_lost_together_is_tried_alone_and_never_together_again() -> None:
    work = [SegmentWork(f"s{i}", b"", 10, (("a", 0), ("b", 0))) for i in range(4)]
    packer = Packer(work, CostModel(), 100.0)
    pack = packer.next_pack()
    assert pack is not None and len(pack) > 1
    for item in pack:
        packer.put_back(item)
    assert packer.size == 8
    again = []
    while (pack := packer.next_pack()) is not None:
        (item,) = pack
        again += [(item.segment, fit) for fit in item.fits]
    assert sorted(again) == sorted((f"s{i}", (name, 0)) for i in range(4) for name in "ab")
