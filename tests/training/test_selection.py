"""The champion of a segment, and what happens when there is little to choose from."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.train import Select
from pipeline.errors import StageFailed
from pipeline.training.failures import check_failures, error_counts
from pipeline.training.result import (
    BASELINE,
    GLOBAL_BASELINE,
    LEADERBOARD,
    FitResult,
    from_table,
    in_order,
    to_table,
)
from pipeline.training.segments import ALL
from pipeline.training.selection import choose_champions

A, B = '["a"]', '["b"]'


def fit(
    segment: str, name: str, scope: str, fold: int, score: float | None, error: str | None = None
) -> FitResult:
    status = "ok" if score is not None else ("failed" if error else "skipped")
    return FitResult(segment, name, scope, fold, status, score, 100, 20, error=error)


def fits(segment: str, name: str, scope: str, scores: Iterable[float | None]) -> list[FitResult]:
    return [
        fit(segment, name, scope, i, score, None if score is not None else "ValueError: no")
        for i, score in enumerate(scores)
    ]


def overall() -> list[FitResult]:
    return fits(ALL, BASELINE, "baseline", [5, 5]) + fits(ALL, "forest", "pooled", [4, 4])


def test_the_lowest_mean_error_wins() -> None:
    results = [
        *overall(),
        *fits(A, BASELINE, "baseline", [5.0, 5.0]),
        *fits(A, "forest", "pooled", [4.0, 4.0]),
        *fits(A, "ridge", "own", [2.0, 4.0]),
        *fits(A, "tree", "own", [1.0, 6.0]),
    ]
    champion = choose_champions(results, {A: 500}, 200)[A]
    assert (champion.candidate, champion.scope, champion.fallback) == ("ridge", "own", None)
    assert (champion.mean_score, champion.std, champion.baseline_score) == (3.0, 1.0, 5.0)
    assert champion.folds == (0, 1)


def test_ties_go_to_the_simpler_then_by_name() -> None:
    everyone = [
        *fits(A, BASELINE, "baseline", [3.0]),
        *fits(A, "forest", "pooled", [3.0]),
        *fits(A, "b", "own", [3.0]),
        *fits(A, "a", "own", [3.0 * (1 - 1e-12)]),
    ]
    order = [("baseline", BASELINE), ("pooled", "forest"), ("own", "a"), ("own", "b")]
    while everyone:
        champion = choose_champions([*overall(), *everyone], {A: 500}, 200)[A]
        assert (champion.scope, champion.candidate) == order.pop(0)
        everyone = [f for f in everyone if f.candidate != champion.candidate]


def test_contenders_are_compared_on_the_folds_that_all_have() -> None:
    results = [
        *overall(),
        *fits(A, BASELINE, "baseline", [9.0, 5.0]),
        *fits(A, "lucky", "own", [None, 4.0]),
        *fits(A, "steady", "own", [6.0, 3.0]),
    ]
    champion = choose_champions(results, {A: 500}, 200)[A]
    assert (champion.candidate, champion.folds, champion.mean_score) == ("steady", (1,), 3.0)


def test_few_rows_leave_pooled_and_baseline() -> None:
    results = [
        *overall(),
        *fits(A, BASELINE, "baseline", [5.0]),
        *fits(A, "forest", "pooled", [4.0]),
        *fits(A, "ridge", "own", [1.0]),
    ]
    champion = choose_champions(results, {A: 112}, 200)[A]
    assert champion.candidate == "forest"
    assert champion.fallback == "112 training rows, fewer than min_rows = 200"


def test_a_segment_that_no_fold_scores_takes_the_overall_champion() -> None:
    champion = choose_champions(overall(), {A: 1}, 200)[A]
    assert (champion.candidate, champion.scope) == ("forest", "pooled")
    assert (
        champion.fallback == "1 training rows, fewer than min_rows = 200; no fold could be scored"
    )
    alone = choose_champions(fits(ALL, BASELINE, "baseline", [5.0]), {A: 1}, 200)
    assert (alone[A].candidate, alone[A].scope) == (GLOBAL_BASELINE, "baseline")
    nothing = choose_champions([], {A: 1}, 200)
    assert nothing[A].candidate == GLOBAL_BASELINE
    assert nothing[ALL].fallback == "no fold could be scored"


def test_failed_candidates_leave_pooled_and_baseline_with_the_reason() -> None:
    results = [
        *overall(),
        *fits(A, BASELINE, "baseline", [5.0, 5.0]),
        *fits(A, "forest", "pooled", [6.0, 6.0]),
        *fits(A, "ridge", "own", [None, None]),
    ]
    champion = choose_champions(results, {A: 500}, 200)[A]
    assert champion.candidate == BASELINE
    assert champion.fallback == "all candidates of its own failed"


def test_the_simplest_within_one_standard_error_wins() -> None:
    results = [
        *overall(),
        *fits(A, BASELINE, "baseline", [4.5, 6.5]),
        *fits(A, "forest", "pooled", [4.0, 6.2]),  # 5.1, above 3.9 + 1
        *fits(A, "deep", "own", [2.9, 4.9]),  # 3.9, whose standard error is 1
        *fits(A, "linear", "own", [4.0, 5.6]),
        *fits(A, "small", "own", [4.4, 5.0]),
    ]
    best = choose_champions(results, {A: 500}, 200)[A]
    assert (best.candidate, best.fold_scores) == ("deep", (2.9, 4.9))
    for order, expected in (
        (("forest", "small", "linear", "deep"), "small"),
        (("linear", "small", "deep", "forest"), "linear"),
        (("deep", "small"), "deep"),
    ):
        chosen = choose_champions(results, {A: 500}, 200, select="one_standard_error", order=order)[
            A
        ]
        assert chosen.candidate == expected
    near = [*results, *fits(A, "near", "pooled", [4.2, 5.4])]
    chosen = choose_champions(
        near, {A: 500}, 200, select="one_standard_error", order=("linear", "near")
    )[A]
    assert (chosen.candidate, chosen.scope, chosen.fold_scores) == ("near", "pooled", (4.2, 5.4))


SCORES = st.lists(st.none() | st.floats(0.1, 10), min_size=3, max_size=3)


@pytest.mark.parametrize("select", ["best", "one_standard_error"])
@given(
    st.lists(st.floats(0.1, 10), min_size=3, max_size=3),
    st.dictionaries(st.sampled_from(["p1", "p2"]), SCORES),
    st.dictionaries(st.sampled_from(["o1", "o2", "o3"]), SCORES),
    st.randoms(use_true_random=False),
)
def test_no_champion_is_worse_than_its_baseline_whatever_the_order(
    select: Select, base: list, pooled: dict, own: dict, rng: random.Random
) -> None:
    rule: dict = {"select": select, "order": ("p2", "o3", "o1", "p1", "o2")}
    results = [*overall(), *fits(A, BASELINE, "baseline", base)]
    for name, scores in pooled.items():
        results += fits(A, name, "pooled", scores)
    for name, scores in own.items():
        results += fits(A, name, "own", scores)
    champion = choose_champions(results, {A: 500}, 200, **rule)[A]
    assert champion.mean_score is not None and champion.baseline_score is not None
    assert champion.mean_score <= champion.baseline_score
    assert champion.mean_score == pytest.approx(sum(champion.fold_scores) / len(champion.folds))
    best = choose_champions(results, {A: 500}, 200)[A]
    assert best.mean_score is not None
    assert champion.mean_score <= best.mean_score + (best.std or 0) + 1e-9
    shuffled = rng.sample(results, len(results))
    assert choose_champions(shuffled, {A: 500}, 200, **rule)[A] == champion
    assert leaderboard(shuffled) == leaderboard(results)


def test_the_leaderboard_holds_every_fit() -> None:
    table = leaderboard([*overall(), *fits(A, "ridge", "own", [None, 2.0])])
    assert table.num_rows == 6
    row = table.slice(4, 1).to_pylist()[0]
    assert (row["segment"], row["status"], row["error"]) == (A, "failed", "ValueError: no")


def test_equal_errors_are_counted_together() -> None:
    results = [
        *fits(B, "ridge", "own", [None, None]),
        *fits(A, "ridge", "own", [None, 1.0]),
        fit(ALL, "forest", "pooled", 0, None, "MemoryFull: x"),
        fit(A, "forest", "pooled", 0, None, "MemoryFull: x"),
        fit(A, "tree", "own", 0, None),
    ]
    counts = error_counts(to_table(results))
    assert [(e.candidate, e.count, e.segment) for e in counts] == [
        ("ridge", 3, A),
        ("forest", 1, ALL),
    ]
    check_failures(to_table(results), 0.8)
    with pytest.raises(StageFailed, match="4 of 5 fits failed") as caught:
        check_failures(to_table(results), 0.79)
    assert "ridge: ValueError: no (3 fits, as in" in str(caught.value)


def test_all_fits_failed_fails_whatever_is_allowed() -> None:
    with pytest.raises(StageFailed):
        check_failures(to_table(fits(A, "ridge", "own", [None])), 1.0)
    check_failures(to_table(fits(A, BASELINE, "baseline", [1.0])), 0.0)
    check_failures(to_table([]), 0.0)


@given(st.data())
def test_a_leaderboard_in_pieces_is_whole_in_order_and_cuts_no_segment(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 6), max_size=6))
    results = [r for i, n in enumerate(sizes) for r in fits(f"s{i}", "ridge", "own", [1.0] * n)]
    table = to_table(data.draw(st.permutations(results)))
    pieces = [from_table(piece) for piece in in_order(table, data.draw(st.integers(1, 8)))]
    assert [fit for piece in pieces for fit in piece] == results
    segments = [{fit.segment for fit in piece} for piece in pieces]
    assert len(set().union(*segments)) == sum(map(len, segments)) == len(sizes)


def leaderboard(results: list[FitResult]) -> pa.Table:
    return pa.concat_tables([LEADERBOARD.empty_table(), *in_order(to_table(results))])
