"""Set up a contest of two versions from the store, and decide it segment by segment."""

from __future__ import annotations

import heapq
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config import PipelineConfig
from pipeline.config.preprocess import FeaturesConfig
from pipeline.config.promotion import PromotionConfig
from pipeline.config.train import TrainConfig
from pipeline.errors import ConfigError, StoreError
from pipeline.models.champions import read_champions
from pipeline.models.entry import Prediction
from pipeline.models.promotion import Decision, decide
from pipeline.models.version import DEFAULT, Version
from pipeline.scoring.compare import Compared, Contest, Side, union
from pipeline.store import Store
from pipeline.store.artifact import open_artifact, published
from pipeline.store.card import DatasetCard, read_card
from pipeline.training.objective import greater_is_better


@dataclass(frozen=True)
class Trained:
    """What the models of one train artifact take, and which rows they were not trained on.

    Attributes:
        test_from: microseconds since 1970 UTC, of a test by time.
        test_rule: of other tests, as the dataset card has it.
    """

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    test_from: int | None
    test_rule: str | None = None

    @classmethod
    def of(cls, card: DatasetCard) -> Trained:
        return cls(card.numeric, card.categorical, card.test_micros, card.test_rule)

    @property
    def features(self) -> FeaturesConfig:
        return FeaturesConfig(numeric=self.numeric, categorical=self.categorical)


def scores_file(config: PipelineConfig) -> Path:
    return Store(config.store_path).registry / config.name / "scores.json"


def read_scores(config: PipelineConfig) -> dict[str, dict[str, Any]]:
    """What was found about each train artifact when it was registered, by fingerprint."""
    path = scores_file(config)
    found: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    return found


def latest_card(config: PipelineConfig) -> DatasetCard:
    """The dataset whose held-out rows were scored last.

    Raises:
        StoreError: no rows were scored yet, or the dataset is gone.
    """
    store = Store(config.store_path)
    scored = published(store, "infer", config.name)
    hint = "Run the pipeline first."
    if not scored:
        raise StoreError(f"Pipeline {config.name!r} has scored no held-out rows yet.", hint=hint)
    fingerprint = scored[-1].manifest.inputs["convert"]
    convert = open_artifact(store, "convert", fingerprint)
    if convert is None:
        raise StoreError(f"The dataset {fingerprint} of the last scoring is gone.", hint=hint)
    return read_card(convert.folder)


def contest(
    config: PipelineConfig,
    champion: Version,
    challenger: Version,
    card: DatasetCard,
    trained: Mapping[str, Trained],
) -> Contest:
    """Two versions on the held-out rows of a dataset.

    Raises:
        ConfigError: it knows no such scorer; see :func:`is_contested`.
        StoreError: what one of the versions was trained on is not known, it predicts no numbers,
            or the rows are gone.
    """
    if not is_contested(config.train):
        raise ConfigError(
            "Versions are compared row by row on rmse or mae of regressions alone. "
            f"Got train.task: {config.train.task} and train.scorer: {config.train.scorer} instead.",
            hint="The scores of each version on its held-out rows are in its card: "
            "pipeline models show --card.",
        )
    if not (hold_out_alike(champion, card, trained) and hold_out_alike(challenger, card, trained)):
        raise StoreError(
            f"Versions {champion.name} and {challenger.name} were not trained with the test of the "
            "last scoring, so no rows can be called held out for both.",
            hint="Train both with one preprocess.split.test.",
        )
    store = Store(config.store_path)
    folder = store.artifact("preprocess", card.artifact)
    files = tuple(folder / file for file in card.files)
    for file in files:
        if not file.is_file():
            raise StoreError(f"{file}: the held-out rows are gone.", hint="Run preprocess again.")
    fingerprint = challenger.entries[DEFAULT].fingerprint
    records = read_champions(store.artifact("train", fingerprint))
    own = (key for key in records if key != DEFAULT)
    number = config.infer.intervals.segments
    return Contest(
        store=store.root,
        champion=side(champion, trained),
        challenger=side(challenger, trained),
        card=card,
        files=files,
        baselines={key: _number(record.baseline) for key, record in records.items()},
        scorer="rmse" if config.train.scorer == "rmse" else "mae",
        intervals=config.infer.intervals,
        tracked=frozenset(heapq.nlargest(number, own, key=lambda k: (records[k].rows_train, k))),
        weight=config.train.weight,
    )


def is_contested(train: TrainConfig) -> bool:
    """Whether versions meet row by row: where the scorer is an error with sums over rows."""
    return train.task == "regression" and train.scorer in ("rmse", "mae")


def hold_out_alike(version: Version, card: DatasetCard, trained: Mapping[str, Trained]) -> bool:
    """Whether rows that a dataset holds out were held out for a version, as far as is known.

    Of tests by time that is so from the later ``test_from`` on.
    """
    known = [trained[e.fingerprint] for e in version.entries.values() if e.fingerprint in trained]
    return all(found.test_rule == card.test_rule for found in known)


def trained_on(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Trained]:
    """By train artifact; one that was registered before this was kept is not in it."""
    return {
        name: Trained(
            tuple(score["numeric"]),
            tuple(score["categorical"]),
            score["test_from"],
            score.get("test_rule"),
        )
        for name, score in scores.items()
        if "test_from" in score
    }


def decided(
    rows: list[Compared], promotion: PromotionConfig, challenger: Version
) -> list[Compared]:
    """Each comparison with its decision; the first, over all rows, decides for small segments."""
    if not rows:
        return []
    overall = replace(rows[0], decision=_decide(rows[0], promotion, is_baseline=False))
    assert overall.decision is not None
    decisions = [overall]
    for row in rows[1:]:
        entry = challenger.entries.get(row.segment, challenger.entries[DEFAULT])
        if promotion.by == "version":
            decision = replace(overall.decision, reason="as over all rows")
        elif row.same:
            decision = Decision(False, "both versions have the same model")
        elif row.rows < promotion.min_rows:
            few = f"{row.rows} held-out rows, fewer than min_rows = {promotion.min_rows}"
            decision = replace(overall.decision, reason=f"as over all rows: {few}")
        else:
            decision = _decide(row, promotion, is_baseline=entry.scope == "baseline")
        decisions.append(replace(row, decision=decision))
    return decisions


def decided_by_scores(
    champion: Mapping[str, Any] | None, challenger: Mapping[str, Any], margin: float
) -> Decision:
    """Decide over all rows at once, by what was found about two versions when they were scored.

    That is the rule where versions do not meet row by row; see :func:`is_contested`.

    Args:
        champion, challenger: ``scorer``, ``objective``, ``data``, ``score`` and ``baseline`` of
            :func:`read_scores`; of the champion None where they are not known.
        margin: as :func:`~pipeline.models.promotion.decide` takes it.
    """
    if challenger["score"] is None:
        return Decision(False, "the held-out rows allow no score to compare by")
    same = champion is not None and all(
        champion.get(name) == challenger[name] for name in ("data", "objective")
    )
    decision = decide(
        champion["score"] if champion is not None and same else None,
        challenger["score"],
        challenger["baseline"],
        margin,
        greater_is_better=greater_is_better(challenger["scorer"]),
    )
    if decision.promote and not same:
        # Scores on other rows say nothing; models of newer data replace those of older data.
        return Decision(True, "trained on other data or for another task than the champion")
    return replace(decision, reason=f"over all rows: {decision.reason}")


def winners(decisions: list[Compared], champion: Version, challenger: Version) -> list[str]:
    """The challenger's segments that become champion.

    Segments without held-out rows, and the model for unknown segments, follow the decision over
    all rows; segments that the champion does not know are taken unless they lost.
    """
    by_key = {row.segment: row.decision for row in decisions[1:]}
    overall = decisions[0].decision
    assert overall is not None
    return [
        key
        for key in sorted(challenger.entries)
        if (by_key.get(key) or overall).promote
        or (key not in champion.entries and key not in by_key)
    ]


def _decide(row: Compared, promotion: PromotionConfig, *, is_baseline: bool) -> Decision:
    return decide(
        row.champion_score,
        row.challenger_score,
        None if is_baseline else row.baseline_score,
        promotion.margin,
    )


def _number(baseline: Prediction) -> float:
    assert not isinstance(baseline, tuple)  # side() has refused versions of other tasks
    return float(baseline)


def side(version: Version, trained: Mapping[str, Trained]) -> Side:
    """A version, and what its models take.

    Raises:
        StoreError: it predicts no numbers, or it is not known what it was trained on.
    """
    if any(entry.classes or entry.quantiles for entry in version.entries.values()):
        raise StoreError(
            f"Version {version.name} predicts classes or quantiles, not numbers.",
            hint="Compare versions of one task.",
        )
    fingerprints = {entry.fingerprint for entry in version.entries.values()}
    unknown = sorted(fingerprints - trained.keys())
    if unknown:
        raise StoreError(
            f"It is not known what the models of version {version.name} were trained on "
            f"({unknown[0]}), so no rows can be called held out for it.",
            hint="Train again.",
        )
    found = (trained[name].test_from for name in fingerprints)
    starts = [start for start in found if start is not None]
    return Side(
        version,
        union(trained[name].features for name in sorted(fingerprints)),
        max(starts, default=None),
    )
