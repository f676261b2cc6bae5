"""Versions, champions, promotion and rollback."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor

from pipeline.errors import StoreError
from pipeline.models.entry import ModelEntry, load_entry
from pipeline.models.persistence import save_model
from pipeline.models.promotion import decide
from pipeline.models.registry import Registry

A, B, ALL = '["a"]', '["e\u0301"]', "*"
NOW = "2026-11-23T08:00:00+00:00"


def entry(segment: str, constant: float, **more: Any) -> ModelEntry:
    fields: dict[str, Any] = {"fingerprint": "f1", "created_at": NOW, "constant": constant, **more}
    return ModelEntry(segment, "baseline", "baseline", **fields)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path, "flights")


def version_of(registry: Registry, value: float) -> str:
    return registry.register([entry(ALL, value), entry(A, value), entry(B, value)]).name


def test_there_is_no_champion_before_the_first_promotion(registry: Registry) -> None:
    name = version_of(registry, 1.0)
    assert registry.champions() is None and registry.history() == []
    assert registry.versions() == [name] and name.startswith("v0001-")


def test_a_version_comes_back_as_it_was_registered(registry: Registry) -> None:
    made = registry.register([entry(B, 1.5, metrics={"rmse": 2.0}, fallback="few"), entry(ALL, 0)])
    shown = registry.show(made.name)
    assert shown.entries[B] == made.entries[B]
    assert shown.default == made.entries[ALL]


def test_registering_the_same_models_again_makes_no_version(registry: Registry) -> None:
    first = registry.register([entry(A, 1.0)])
    later = registry.register([entry(A, 1.0, created_at="2027-01-01T00:00:00+00:00")])
    assert later == first and registry.versions() == [first.name]


def test_promotion_and_rollback_of_all_segments(registry: Registry) -> None:
    one, two, three = (version_of(registry, value) for value in (1.0, 2.0, 3.0))
    for name in (one, two, three):
        registry.promote(name, reason="better by 2 %")
    assert _champion(registry) == three
    assert registry.rollback(reason="bad").version == two
    assert registry.rollback().version == one
    with pytest.raises(StoreError, match="no earlier champion"):
        registry.rollback()
    registry.promote(three)
    assert registry.rollback().version == one
    history = registry.history()
    assert [event.generation for event in history] == list(range(1, 8))
    assert [event.action for event in history] == [
        *["promote"] * 3,
        *["rollback"] * 2,
        "promote",
        "rollback",
    ]
    assert history[3].previous == three and history[3].reason == "bad"


def test_promoting_the_champion_again_changes_nothing(registry: Registry) -> None:
    name = version_of(registry, 1.0)
    assert registry.promote(name) == registry.promote(name)
    assert len(registry.history()) == 1


def test_some_segments_can_be_promoted_alone_and_rolled_back(registry: Registry) -> None:
    one, two = version_of(registry, 1.0), version_of(registry, 2.0)
    with pytest.raises(StoreError, match="only beside a champion"):
        registry.promote(two, segments=[A])
    registry.promote(one)
    registry.promote(two, segments=[A])
    champions = registry.champions()
    assert champions is not None
    assert {k: e.constant for k, e in champions.entries.items()} == {A: 2.0, B: 1.0, ALL: 1.0}
    with pytest.raises(StoreError, match="has no model for segment"):
        registry.promote(two, segments=['["z"]'])
    assert registry.rollback().version == one


def test_an_unknown_version_is_refused_and_the_latest_are_named(registry: Registry) -> None:
    name = version_of(registry, 1.0)
    with pytest.raises(StoreError, match=name):
        registry.promote("v0009-000000000000")
    with pytest.raises(StoreError, match="A version looks like"):
        registry.show("../../etc/passwd")


def test_a_changed_version_is_refused(registry: Registry, tmp_path: Path) -> None:
    name = version_of(registry, 1.0)
    path = tmp_path / "registry" / "flights" / "versions" / f"{name}.json"
    path.write_text(path.read_text().replace("1.0", "9.0"))
    with pytest.raises(StoreError, match="was changed after it was written"):
        registry.promote(name)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(StoreError, match="damaged"):
        registry.show(name)


def test_a_crash_in_a_promotion_leaves_the_champion(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = version_of(registry, 1.0), version_of(registry, 2.0)
    registry.promote(one)
    monkeypatch.setattr(os, "replace", _crash)
    with pytest.raises(OSError, match="crash"):
        registry.promote(two)
    monkeypatch.undo()
    assert _champion(registry) == one
    registry.promote(two)
    assert _champion(registry) == two


def test_promotions_at_once_all_reach_the_history(registry: Registry) -> None:
    names = [version_of(registry, float(value)) for value in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(registry.promote, names))
    history = registry.history()
    assert [event.generation for event in history] == list(range(1, 9))
    assert {event.version for event in history} == set(names)
    assert [e.previous for e in history[1:]] == [e.version for e in history[:-1]]


def test_a_version_whose_files_are_gone_is_not_promoted(registry: Registry, tmp_path: Path) -> None:
    model = DummyRegressor().fit(np.zeros((2, 1)), [1.0, 3.0])
    digest = save_model(model, tmp_path / "artifacts" / "m.skops")
    made = ModelEntry(
        A, "mean", "own", "f1", NOW, file="artifacts/m.skops", sha256=digest, metrics={"rmse": 1.0}
    )
    name = registry.register([made]).name
    registry.promote(name)
    champions = registry.champions()
    assert champions is not None
    loaded = load_entry(champions.entries[A], tmp_path)
    assert loaded.predict([[0.0]]).tolist() == [2.0]
    (tmp_path / "artifacts" / "m.skops").unlink()
    other = version_of(registry, 1.0)
    registry.promote(other)
    with pytest.raises(StoreError, match=r"artifacts/m\.skops is missing"):
        registry.promote(name)


@pytest.mark.parametrize("file", ["../m.skops", "/etc/passwd", "a/../../b", "s3://b/m", "a\\..\\b"])
def test_a_model_outside_of_the_store_is_refused(file: str) -> None:
    with pytest.raises(StoreError, match="must be a path below the store"):
        ModelEntry(A, "x", "own", "f", NOW, file=file, sha256="0" * 64)


def test_a_link_out_of_the_store_is_refused(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (tmp_path / "m.skops").write_bytes(b"x")
    (store / "m.skops").symlink_to(tmp_path / "m.skops")
    with pytest.raises(StoreError, match="must lie in the store"):
        load_entry(ModelEntry(A, "x", "own", "f", NOW, file="m.skops", sha256="0" * 64), store)


def test_an_entry_is_a_file_or_a_finite_constant(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="must be a file or a constant"):
        ModelEntry(A, "x", "own", "f", NOW)
    with pytest.raises(StoreError, match="sha256 must be 64 hex digits"):
        ModelEntry(A, "x", "own", "f", NOW, file="m.skops", sha256="abc")
    with pytest.raises(StoreError, match="finite"):
        load_entry(entry(A, float("nan")), tmp_path)
    model = load_entry(entry(A, 2.5), tmp_path)
    assert model.predict(pd.DataFrame({"c": ["x", None]})).tolist() == [2.5, 2.5]


def test_two_models_for_a_segment_and_none_at_all_are_refused(registry: Registry) -> None:
    with pytest.raises(StoreError, match="Two models"):
        registry.register([entry(A, 1.0), entry(A, 2.0)])
    with pytest.raises(StoreError, match="at least one"):
        registry.register([])
    with pytest.raises(StoreError, match="pipeline's name"):
        Registry(registry.store, "../x").versions()


def test_a_challenger_is_promoted_by_the_rule() -> None:
    cases = [
        ((None, 4.0, 5.0, 0.1), True),
        ((4.0, 3.0, 5.0, 0.1), True),
        ((4.0, 3.7, 5.0, 0.1), False),
        ((4.0, 4.0, None, 0.0), False),
        ((9.0, 6.0, 5.0, 0.0), False),
        ((9.0, 5.0, 5.0, 0.0), True),
        ((4.0, float("nan"), 5.0, 0.0), False),
    ]
    for scores, promote in cases:
        decision = decide(*scores)
        assert decision.promote is promote and decision.reason, scores


def test_the_pointer_is_readable_json(registry: Registry, tmp_path: Path) -> None:
    name = version_of(registry, 1.0)
    registry.promote(name)
    state = json.loads((tmp_path / "registry" / "flights" / "champion.json").read_text())
    assert (state["generation"], state["version"]) == (1, name)


def _champion(registry: Registry) -> str:
    champions = registry.champions()
    assert champions is not None
    return champions.name


def _crash(*_: object) -> None:
    raise OSError("crash")
