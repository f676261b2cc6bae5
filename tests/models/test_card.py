"""A model card says what models were made from, how they do, and where not to trust them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.config.pipeline import STAGES, StageName
from pipeline.models.card import model_card, read_cards, write_card
from pipeline.models.entry import ModelEntry
from pipeline.models.registry import Registry
from pipeline.store import Manifest

NOW = "2026-11-23T08:00:00+00:00"


def manifests() -> dict[StageName, Manifest]:
    config: dict[str, Any] = {
        "preprocess": {
            "target": "y", "segment": ["s"], "time": "at", "steps": [{"sql": "features.sql"}],
            "features": {"numeric": ["x"], "categorical": ["c"]},
        },
        "train": {"candidates": {"ridge": {}}, "baseline": "mean"},
    }  # fmt: skip
    metrics: dict[str, Any] = {
        "preprocess": {"split": {"test_from": NOW}},
        "train": {
            "segments": 3, "fits": 9, "fits_failed": 1, "champions_by_candidate": {"ridge": 2},
            "scorer": "rmse", "rows": {"in": 90},
            "fallbacks": [{"segment": "B", "reason": "2 training rows", "model": "pooled"}],
        },
        "infer": {
            "overall": {"rmse": 2.0, "intervals": {"rmse": [1.5, 2.5]}},
            "by_segment": {
                "a": {"label": "A", "intervals": {"difference_rmse": [0.1, 0.5]}},
                "b": {"label": "B", "intervals": {"difference_rmse": [-0.1, 0.5]}},
                "c": {"label": "C"},
            },
            "drift": {"x": {"psi": 0.3, "null_share_train": 0.1},
                      "c": {"psi": None, "null_share_train": 0.9}},
            "by_period": [{"period": "2026-10"}, {"period": "2026-11"}],
            "importance": {"measure": "rmse", "rows": 80, "repeats": 5, "features": [
                {"name": "x", "mean": 0.7, "std": 0.1}, {"name": "c", "mean": 0.0, "std": 0.0}]},
        },
    }  # fmt: skip
    return {
        stage: Manifest(
            *(stage, f"f-{stage}", "p", config.get(stage, {}), {"raw": "hash"}, "1", {"lib": "2"}),
            *(1, 1, 0, (), metrics.get(stage, {}), NOW, 1.0),
        )
        for stage in STAGES[:-1]
    }


def test_a_card_names_data_errors_and_limits() -> None:
    card = model_card(manifests())
    assert card["train"] == "f-train"
    assert card["data"]["sources"] == {"raw": "hash"}
    assert card["data"]["test_from"] == NOW
    assert card["held_out"] == {"scorer": "rmse", **manifests()["infer"].metrics["overall"]}
    assert card["features"]["most_important"] == {
        "rise_of": "rmse", "rows": 80, "features": {"x": 0.7, "c": 0.0},
    }  # fmt: skip
    assert card["limits"] == {
        "segments_without_a_model_of_their_own": 1,
        "of_these": ["B: 2 training rows"],
        "worse_than_the_baseline": ["A"],
        "shifted_features": {"x": 0.3},
        "features_with_many_nulls": {"c": 0.9},
        "tested_only_on": ["2026-10", "2026-11"],
    }


def test_a_card_of_classes_claims_nothing_that_takes_intervals() -> None:
    found = manifests()
    found["train"].metrics["task"] = "classification"
    found["infer"].metrics["overall"] = {"log_loss": 0.4, "baseline_log_loss": 0.5}
    del found["infer"].metrics["importance"]
    card = model_card(found)
    assert (card["task"], card["baseline"]) == ("classification", "the shares of the classes")
    assert card["held_out"]["log_loss"] == 0.4
    assert "worse_than_the_baseline" not in card["limits"]
    assert "most_important" not in card["features"]


def test_a_version_has_the_cards_of_all_its_models(tmp_path: Path) -> None:
    write_card(tmp_path, "p", model_card(manifests()))
    version = Registry(tmp_path, "p").register(
        ModelEntry(key, "mean", "own", train, NOW, constant=1.0)
        for key, train in {"*": "f-train", "a": "f-train", "b": "older"}.items()
    )
    first, second = read_cards(tmp_path, "p", version)
    assert (first["serves"], first["limits"]["tested_only_on"]) == (2, ["2026-10", "2026-11"])
    assert second == {"version": version.name, "serves": 1, "train": "older"}
