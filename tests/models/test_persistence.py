"""Models are saved and loaded whole, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
import skops.io
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline

from pipeline.config.train import CandidateConfig
from pipeline.errors import StoreError
from pipeline.models.bundle import write_bundle
from pipeline.models.persistence import dump_model, load_model, parse_model, save_model, sha256
from pipeline.training.fit import fit_final

ESTIMATORS = {
    "ensemble.HistGradientBoostingRegressor": {"max_iter": 300},
    "ensemble.RandomForestRegressor": {"n_estimators": 5},
    "ensemble.ExtraTreesRegressor": {"n_estimators": 5},
    "ensemble.GradientBoostingRegressor": {"n_estimators": 5, "loss": "huber"},
    "ensemble.AdaBoostRegressor": {"n_estimators": 3},
    "ensemble.BaggingRegressor": {"n_estimators": 3},
    "tree.DecisionTreeRegressor": {},
    "linear_model.LinearRegression": {},
    "linear_model.RidgeCV": {"alphas": (0.1, 1.0)},
    "linear_model.Lasso": {},
    "linear_model.ElasticNet": {},
    "linear_model.HuberRegressor": {},
    "linear_model.QuantileRegressor": {},
    "linear_model.SGDRegressor": {},
    "linear_model.BayesianRidge": {},
    "linear_model.TweedieRegressor": {"power": 0.0},
    "neighbors.KNeighborsRegressor": {},
    "neighbors.RadiusNeighborsRegressor": {"radius": 100.0, "algorithm": "ball_tree"},
    "neural_network.MLPRegressor": {"max_iter": 400, "hidden_layer_sizes": (4, 2)},
    "svm.SVR": {},
    "svm.LinearSVR": {},
    "kernel_ridge.KernelRidge": {},
    "gaussian_process.GaussianProcessRegressor": {"alpha": 1.0},
    "cross_decomposition.PLSRegression": {"n_components": 1},
    "dummy.DummyRegressor": {},
}


@pytest.fixture
def rows() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "x": np.where(rng.random(150) < 0.1, np.nan, rng.normal(size=150)),
            "c": np.array(rng.choice(["a", "é", None], 150), dtype=object),
        }
    )
    return X, rng.normal(size=150) + 2 * (X["c"] == "a").to_numpy()


@pytest.fixture
def saved(rows: tuple, tmp_path: Path) -> tuple[Path, str]:
    path = tmp_path / "models" / "m.skops"
    return path, save_model(_model(rows, "linear_model.Ridge", {}), path)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.filterwarnings("ignore")
def test_a_model_predicts_the_same_after_saving(
    estimator: str, rows: tuple, tmp_path: Path
) -> None:
    model = _model(rows, estimator, ESTIMATORS[estimator])
    digest = save_model(model, tmp_path / "m.skops")
    assert digest == hashlib.sha256((tmp_path / "m.skops").read_bytes()).hexdigest()
    loaded = load_model(tmp_path / "m.skops", digest)
    new = pd.DataFrame({"x": [0.5, np.nan], "c": np.array(["new", None], dtype=object)})
    np.testing.assert_array_equal(loaded.predict(rows[0]), model.predict(rows[0]))
    np.testing.assert_array_equal(loaded.predict(new), model.predict(new))
    assert sha256(dump_model(_model(rows, estimator, ESTIMATORS[estimator]))) == digest


def test_equal_models_give_equal_bytes_in_other_processes() -> None:
    program = (
        "import numpy as np; from sklearn.tree import DecisionTreeRegressor as T;"
        "from sklearn.pipeline import Pipeline as P;"
        "from pipeline.models.persistence import dump_model, sha256;"
        "X = np.random.default_rng(0).normal(size=(200, 3));"
        "print(sha256(dump_model(P([('model', T(random_state=0).fit(X, X[:, 0]))]))))"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "MALLOC_PERTURB_": perturb},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, perturb in (("1", "85"), ("2", "170"))
    }
    assert len(digests) == 1


def test_any_flipped_byte_is_refused_before_the_file_is_parsed(
    saved: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, digest = saved
    monkeypatch.setattr(skops.io, "loads", _never)
    monkeypatch.setattr(zipfile, "ZipFile", _never)
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 50)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(StoreError, match="was changed after it was saved"):
            load_model(path, digest)


def test_a_pickle_is_refused_even_with_its_own_hash(tmp_path: Path) -> None:
    path, marker = tmp_path / "m.skops", tmp_path / "ran"
    path.write_bytes(pickle.dumps(_Malicious(str(marker))))
    with pytest.raises(StoreError, match="never pickles"):
        load_model(path, sha256(path.read_bytes()))
    assert not marker.exists()


def test_a_type_off_the_list_is_refused_with_its_own_hash(tmp_path: Path) -> None:
    path = tmp_path / "m.skops"
    model = Pipeline([("model", TransformedTargetRegressor(Ridge(), func=os.system))])
    digest = save_model(model, path)
    with pytest.raises(StoreError, match=r"types that are not allowed: .*system"):
        load_model(path, digest)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds a dict, which is not a model"):
        data = dump_model({"a": 1})
        parse_model(data, sha256(data), "m.skops")


def test_another_scikit_learn_is_refused_with_what_to_do(saved: tuple[Path, str]) -> None:
    path, _ = saved
    data = _with_meta(path, {"format": 1, "scikit-learn": "1.2.3"})
    with pytest.raises(StoreError, match=r"saved by scikit-learn 1\.2\.3") as caught:
        parse_model(data, sha256(data), "m.skops")
    assert sklearn.__version__ in caught.value.message
    assert "train again" in str(caught.value)


def test_plain_skops_files_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "plain.skops"
    skops.io.dump(Ridge(), path)
    with pytest.raises(StoreError, match="not a model of this pipeline"):
        load_model(path, sha256(path.read_bytes()))
    with pytest.raises(StoreError, match="cannot be read"):
        load_model(tmp_path / "none.skops", "0" * 64)


def test_a_bundle_holds_many_models(rows: tuple, tmp_path: Path) -> None:
    models = {f"m{i}": _model(rows, "linear_model.Ridge", {"alpha": float(i)}) for i in range(1, 4)}
    members = {name: dump_model(model) for name, model in models.items()}
    path = tmp_path / "b.models"
    write_bundle(path, members)
    first = path.read_bytes()
    write_bundle(path, dict(reversed(members.items())))
    assert path.read_bytes() == first
    loaded = load_model(path, sha256(members["m2"]), "m2")
    np.testing.assert_array_equal(loaded.predict(rows[0]), models["m2"].predict(rows[0]))
    with pytest.raises(StoreError, match="was changed"):
        load_model(path, sha256(members["m2"]), "m3")
    with pytest.raises(StoreError, match="cannot be read from this bundle"):
        load_model(path, sha256(members["m2"]), "other")


def test_a_target_encoded_model_is_loaded_as_it_was_saved(rows: tuple, tmp_path: Path) -> None:
    candidate = CandidateConfig(estimator="sklearn.linear_model.Ridge", encode="target")
    model = fit_final(*rows, candidate, name="m", categorical=("c",))
    digest = save_model(model, tmp_path / "m.skops")
    loaded = load_model(tmp_path / "m.skops", digest)
    np.testing.assert_array_equal(loaded.predict(rows[0]), model.predict(rows[0]))


def _model(rows: tuple, estimator: str, params: dict) -> Pipeline:
    candidate = CandidateConfig(
        estimator=f"sklearn.{estimator}", params=params, encode="ordinal", scale=True
    )
    return fit_final(*rows, candidate, name="m", categorical=("c",))


def _with_meta(path: Path, meta: dict) -> bytes:
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    members["pipeline.json"] = json.dumps(meta).encode()
    with zipfile.ZipFile(path, "w") as new:
        for name, data in members.items():
            new.writestr(name, data)
    return path.read_bytes()


def _never(*_: object, **__: object) -> None:
    raise AssertionError("parsed before it was checked")


class _Malicious:
    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.marker}",)
