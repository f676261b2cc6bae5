"""What a configuration alone tells of leaks: features made of the target, and its history."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pipeline.config.duration import micros
from pipeline.config.steps import StepConfig, TransformStep
from pipeline.config.transforms import History


def find_leaks(steps: Sequence[StepConfig], target: str, features: Sequence[str]) -> list[str]:
    """Every way in which the built-in transforms would let the target through.

    Names are followed through the transforms of all steps. SQL and Python functions are not read
    here; see :mod:`pipeline.dataprep.target_mark` and :mod:`pipeline.dataprep.disguise`.
    """
    made: dict[str, str] = {target: target}
    problems = []
    for at, step in enumerate(steps):
        if not isinstance(step, TransformStep):
            continue
        for number, transform in enumerate(step.transforms):
            where = f"steps[{at}].transforms[{number}] ({transform.kind})"
            problem = history_leak(transform, made) if isinstance(transform, History) else None
            problems += [f"{where} {problem}"] if problem else []
            for new, old in transform.made_of().items():
                if sources := [name for name in old if name in made]:
                    made[new] = sources[0]
    problems += [
        f"the feature {name!r} is made of the target, by way of {made[name]!r}"
        for name in features
        if name in made and name != target
    ]
    return problems


def history_leak(history: History, targets: Collection[str]) -> str | None:
    """Why a history would let the target through; None if it does not.

    Args:
        history: the transform.
        targets: columns that are the target, or made of it.
    """
    recalled = ", ".join(name for name in history.columns if name in targets)
    if not recalled:
        return None
    if history.known_after is None:
        return (
            f"recalls the target ({recalled}) without saying when it is known; set known_after to "
            "the column with that instant, or to a delay such as 1d (0s: at the row's own time)"
        )
    if history.inclusive and not micros(history.horizon) and not micros(history.delay):
        return (
            f"would count a row's own target ({recalled}): with inclusive the horizon must be "
            "above zero; or set inclusive: false"
        )
    return None
