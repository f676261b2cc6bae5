"""A candidate with ``search`` becomes plain candidates, one for each combination of values.

Each is named after its own values, ``ridge~alpha=10``, so its name, its seeds and the key of its
fits stay as they are when other values are added or removed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.config.search import ChoicesConfig, ParamValue, RangeConfig, SearchConfig
from pipeline.config.train import CandidateConfig
from pipeline.errors import ConfigError
from pipeline.training.seeds import derive_seed

MOST_VARIANTS = 1000
"""More than these of one candidate are a slip of the pen rather than a search."""

_DIGITS = 4
"""Significant digits that a drawn number keeps, so that the name shows the value fitted with."""

_LONGEST_NAME = 120
_WORD = re.compile(r"(?!(?:true|false|null)$)[A-Za-z][A-Za-z0-9_.-]*")


def expand_search(
    candidates: Mapping[str, CandidateConfig], seed: int
) -> dict[str, CandidateConfig]:
    """The plain candidates that a configuration declares, in its order.

    Args:
        candidates: by name, with or without ``search``.
        seed: ``train.seed``; with a candidate's name it sets what is drawn for it.

    Returns:
        By name: a candidate without a search as it is, and ``NAME~PARAMETER=VALUE,…`` for each
        combination of one with a search. A larger ``n`` adds to the earlier draws.

    Raises:
        ConfigError: a search makes more than :data:`MOST_VARIANTS` candidates.
    """
    expanded: dict[str, CandidateConfig] = {}
    for name, candidate in candidates.items():
        if candidate.search is None:
            expanded[name] = candidate
            continue
        _refuse_too_many(name, candidate.search)
        for values in combinations(candidate.search, seed, name):
            params = {**candidate.params, **values}
            plain = candidate.model_copy(update={"params": params, "search": None})
            expanded[variant_name(name, values)] = plain
    return expanded


def combinations(search: SearchConfig, seed: int, name: str) -> Iterator[dict[str, ParamValue]]:
    """The values of the searched parameters: the whole grid, its last parameter running fastest,
    or the distinct ones of ``n`` draws."""
    if search.grid:
        for listed in itertools.product(*search.grid.values()):
            yield dict(zip(search.grid, listed, strict=True))
        return
    seen = set()
    for i in range(search.n or 0):
        # Each draw has a seed of its own, so it does not depend on how many are wanted.
        values = _draw(search.random, derive_seed(seed, "", name, i))
        text = json.dumps(values)
        if text not in seen:
            seen.add(text)
            yield values


def variant_name(name: str, values: Mapping[str, ParamValue]) -> str:
    """``NAME~PARAMETER=VALUE,…``, a name that no configuration can give and that files can bear.

    Where that would be too long, or a value is a text that is no plain word, a hash of the values
    takes their place. Different values make different names.
    """
    texts = {key: _value_text(value) for key, value in values.items()}
    readable = f"{name}~" + ",".join(f"{key}={text}" for key, text in texts.items())
    if None not in texts.values() and len(readable) <= _LONGEST_NAME:
        return readable
    return f"{name}~{hashlib.sha256(json.dumps(values).encode()).hexdigest()[:12]}"


def _draw(space: Mapping[str, RangeConfig | ChoicesConfig], seed: int) -> dict[str, ParamValue]:
    # Imported here: pipeline plan shows the candidates too, and must start at once.
    from sklearn.model_selection import ParameterSampler

    distributions = {name: _distribution(wanted) for name, wanted in space.items()}
    (drawn,) = ParameterSampler(distributions, n_iter=1, random_state=seed)
    return {name: _tidy(drawn[name], wanted) for name, wanted in space.items()}


def _distribution(wanted: RangeConfig | ChoicesConfig) -> Any:
    """What scikit-learn's sampler draws from: a list, or a distribution of SciPy."""
    from scipy.stats import loguniform, randint, uniform

    if isinstance(wanted, ChoicesConfig):
        return list(wanted.choices)
    if wanted.log:
        return loguniform(wanted.low, wanted.high)
    if wanted.int:
        return randint(int(wanted.low), int(wanted.high) + 1)
    return uniform(wanted.low, wanted.high - wanted.low)


def _tidy(drawn: Any, wanted: RangeConfig | ChoicesConfig) -> ParamValue:
    """A plain number within the range, whole or of four digits."""
    if isinstance(wanted, ChoicesConfig):
        chosen: ParamValue = drawn
        return chosen
    tidy = round(drawn) if wanted.int else float(f"{drawn:.{_DIGITS}g}")
    kept = min(max(tidy, wanted.low), wanted.high)
    return int(kept) if wanted.int else float(kept)


def _value_text(value: ParamValue) -> str | None:
    if isinstance(value, tuple):
        parts = [_value_text(part) for part in value]
        return None if None in parts else "".join(f"{part}+" for part in parts)
    if isinstance(value, str):
        return value if _WORD.fullmatch(value) else None
    return json.dumps(value)


def _refuse_too_many(name: str, search: SearchConfig) -> None:
    wanted = math.prod(len(values) for values in search.grid.values()) if search.grid else search.n
    if wanted is not None and wanted > MOST_VARIANTS:
        raise ConfigError(
            f"train.candidates.{name}.search: must make at most {MOST_VARIANTS} candidates. "
            f"Got {wanted:,} instead.",
            hint="List fewer values, or draw some with random and n.",
        )
