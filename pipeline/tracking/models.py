"""Champions as models of MLflow, each once, as skops files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.config.preprocess import FeaturesConfig
from pipeline.models.bundle import read_member
from pipeline.models.entry import ModelEntry, load_entry
from pipeline.store import Store
from pipeline.tracking.connection import Client

_REQUIRED = ("scikit-learn", "skops", "numpy", "scipy", "pandas")
_EXTRAS = ("lightgbm", "xgboost")


@dataclass
class Models:
    """The logged models of one parent run.

    Attributes:
        tracked: the parent's identity; kept at each model, to find it again.
        known: id of each model logged so far, by the SHA-256 of its file.
    """

    client: Client
    store: Store
    experiment: str
    tracked: str
    features: FeaturesConfig
    known: dict[str, str] = field(default_factory=dict)
    unfinished: dict[str, str] = field(default_factory=dict)

    def find(self) -> None:
        """Learn what a tracking that was cut off has logged; nothing is logged twice."""
        filter_ = f"tags.`pipeline.tracked` = '{self.tracked}'"
        token: str | None = None
        while True:
            page = self.client.search_logged_models(
                [self.experiment], filter_string=filter_, page_token=token
            )
            for model in page:
                ready = str(model.status).endswith("READY")
                (self.known if ready else self.unfinished)[model.tags["pipeline.sha256"]] = (
                    model.model_id
                )
            token = page.token
            if not token:
                return

    def log(self, entry: ModelEntry, run: str, name: str) -> str | None:
        """Log an entry's model as an output of a run, unless it is logged; returns its id.

        A constant has no file, and is no model of MLflow.

        Raises:
            StoreError: the file is damaged or holds what is not allowed.
        """
        if entry.file is None or entry.sha256 is None:
            return None
        if entry.sha256 not in self.known:
            self.known[entry.sha256] = self._log(entry, run, name)
        return self.known[entry.sha256]

    def _log(self, entry: ModelEntry, run: str, name: str) -> str:
        import mlflow.sklearn

        model = load_entry(entry, self.store.root)  # its hash and its types are checked here
        trusted = _untrusted_types(entry, self.store.root)
        model_id = self.unfinished.get(entry.sha256 or "") or self._create(entry, run, name)
        mlflow.sklearn.log_model(
            model,
            model_id=model_id,
            run_id=run,
            serialization_format="skops",
            skops_trusted_types=trusted,
            # Named here, for to find them out MLflow would load each model in a new process.
            pip_requirements=_requirements(trusted),
            signature=_signature(self.features, entry),
        )
        return model_id

    def _create(self, entry: ModelEntry, run: str, name: str) -> str:
        made = self.client.create_logged_model(
            self.experiment,
            name=name,
            source_run_id=run,
            model_type=entry.scope,
            tags={
                "pipeline.tracked": self.tracked,
                "pipeline.sha256": entry.sha256,
                "pipeline.candidate": entry.candidate,
                "pipeline.segment": "*" if entry.is_shared else entry.segment,
            },
        )
        return str(made.model_id)


def _untrusted_types(entry: ModelEntry, store: Path) -> list[str]:
    """What a reader must trust to load this model, and no more."""
    import skops.io

    assert entry.file is not None
    path = store / entry.file
    data = path.read_bytes() if entry.member is None else read_member(path, entry.member)
    return sorted(skops.io.get_untrusted_types(data=data))


def _requirements(types: Iterable[str]) -> list[str]:
    extras = {name for name in _EXTRAS if any(kind.startswith(f"{name}.") for kind in types)}
    return [f"{name}=={metadata.version(name)}" for name in (*_REQUIRED, *sorted(extras))]


def _signature(features: FeaturesConfig, entry: ModelEntry) -> Any:
    """Numbers as double, where NaN is a null, and texts; as the model was fitted."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    inputs = [ColSpec("double", name) for name in features.numeric]
    inputs += [ColSpec("string", name) for name in features.categorical]
    if entry.quantiles:  # a column for each
        return ModelSignature(Schema(inputs))
    output = ColSpec("string" if entry.classes else "double")
    return ModelSignature(Schema(inputs), Schema([output]))
