"""Models as skops files: no pickle, a fixed list of types, a hash that is checked first.

A file is a zip of ``schema.json`` and ``.npy`` arrays, as skops writes it, with ``pipeline.json``
beside them for the versions. It is rewritten so that equal models give equal bytes: skops puts
memory addresses and the time of day into it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import sklearn
import skops
import skops.io
from sklearn.base import BaseEstimator

from pipeline.errors import StoreError
from pipeline.models.bundle import read_member

TRUSTED_TYPES = frozenset(
    {
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.metrics._dist_metrics.ChebyshevDistance64",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.metrics._dist_metrics.ManhattanDistance64",
        "sklearn.metrics._dist_metrics.MinkowskiDistance64",
        "sklearn.model_selection._split.KFold",  # of target encoding
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        # A dictionary whose keys are attributes too; models of quantiles hold their parts in one.
        "sklearn.utils._bunch.Bunch",
        "numpy.dtype",
        # Histogram boosting with categories keeps a partial of check_array. The function that a
        # partial holds is audited by its own name, so this opens the door for no other.
        "functools.partial",
        "sklearn.utils.validation.check_array",
        # The extras: their boosters keep the model in the library's own format (text of LightGBM,
        # UBJSON of XGBoost), which is parsed and holds no code.
        "collections.OrderedDict",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMRegressor",
        "xgboost.core.Booster",
        "xgboost.sklearn.XGBRegressor",
    }
)
"""What the estimators of ``pipeline.training.estimators`` need beyond the types skops trusts."""

_META = "pipeline.json"
_SCHEMA = "schema.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_RETRAIN = "Train again: pipeline run -c FILE --from train --force train."


def save_model(model: BaseEstimator, path: Path) -> str:
    """Write a fitted model and return the SHA-256 of the file, in hex."""
    data = dump_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    return sha256(data)


def load_model(path: Path, sha256: str, member: str | None = None) -> BaseEstimator:
    """Read a model whose bytes have the hash that was recorded when it was saved.

    Args:
        path: the file, or a bundle of models.
        sha256: of the model's bytes, in hex.
        member: the model's name in the bundle; None for a file of one model.

    Raises:
        StoreError: the file is missing, was changed, is no skops file, holds a type that is not
            on the list, or was saved by another scikit-learn.
    """
    try:
        data = path.read_bytes() if member is None else read_member(path, member)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}", hint=_RETRAIN) from error
    where = str(path) if member is None else f"{path}!{member}"
    return parse_model(data, sha256, where)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def dump_model(model: BaseEstimator) -> bytes:
    """The bytes of a model; equal for equal models."""
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(model))) as written:
        arrays = {name: written.read(name) for name in written.namelist() if name != _SCHEMA}
        schema = written.read(_SCHEMA)
    names = {name: f"{sha256(data)[:32]}.npy" for name, data in arrays.items()}
    members = {
        _META: json.dumps(_versions(), sort_keys=True).encode(),
        _SCHEMA: _renumbered(schema, names),
        **{names[name]: data for name, data in arrays.items()},
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, date_time=_EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, members[name], compresslevel=1)
    return buffer.getvalue()


def parse_model(data: bytes, expected: str, where: str) -> BaseEstimator:
    """The model in some bytes, after every check. See :func:`load_model`."""
    found = sha256(data)
    if found != expected:
        raise StoreError(
            f"{where}: the model was changed after it was saved: "
            f"SHA-256 must be {expected}. Got {found} instead.",
            hint=f"Restore the file from a backup, or roll back. {_RETRAIN}",
        )
    _check_versions(_read_versions(data, where), where)
    try:
        untrusted = set(skops.io.get_untrusted_types(data=data))
        if refused := sorted(untrusted - TRUSTED_TYPES):
            raise StoreError(
                f"{where}: the model holds types that are not allowed: {', '.join(refused)}.",
                hint="Do not use this file; find out who wrote it.",
            )
        model = skops.io.loads(data, trusted=sorted(untrusted))
    except (StoreError, MemoryError):
        raise
    except Exception as error:
        raise StoreError(
            f"{where}: not a readable skops file ({type(error).__name__}: {error}).", hint=_RETRAIN
        ) from error
    if not (isinstance(model, BaseEstimator) and hasattr(model, "predict")):
        raise StoreError(f"{where}: holds a {type(model).__name__}, which is not a model.")
    return model


def _versions() -> dict[str, Any]:
    return {"format": 1, "scikit-learn": sklearn.__version__, "skops": skops.__version__}


def _read_versions(data: bytes, where: str) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            versions = json.loads(file.read(_META))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise StoreError(
            f"{where}: not a model of this pipeline; models are skops files, never pickles.",
            hint=_RETRAIN,
        ) from error
    return versions if isinstance(versions, dict) else {}


def _check_versions(versions: dict[str, Any], where: str) -> None:
    saved_by = versions.get("scikit-learn")
    if saved_by != sklearn.__version__:
        raise StoreError(
            f"{where}: the model was saved by scikit-learn {saved_by}; "
            f"this is scikit-learn {sklearn.__version__}, which may predict otherwise.",
            hint=f"Install scikit-learn=={saved_by}, or train again with this one.",
        )


def _renumbered(schema: bytes, names: dict[str, str]) -> bytes:
    """The schema with addresses replaced by their order, and arrays named by their content."""
    numbers: dict[int, int] = {}

    def renumber(node: dict[str, Any]) -> dict[str, Any]:
        if "__loader__" not in node:  # a dictionary of the model's, with any keys
            return node
        if isinstance(node.get("__id__"), int):
            # Whether two equal scalars are one object is chance; each gets a number of its own.
            key = -len(numbers) - 1 if node["__loader__"] == "JsonNode" else node["__id__"]
            node["__id__"] = numbers.setdefault(key, len(numbers) + 1)
        if node.get("file") in names:
            node["file"] = names[node["file"]]
        return node

    return json.dumps(json.loads(schema, object_hook=renumber), separators=(",", ":")).encode()
