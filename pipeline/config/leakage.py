"""What a configuration alone tells of leaks: features made of the target, and its history."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.config.duration import micros
from pipeline.config.steps import StepConfig, TransformStep
from pipeline.config.transforms import History


def find_leaks(steps: Sequence[StepConfig], target: str, features: Sequence[str]) -> list[str]:
    """Every way in which the built-in transforms would let the target through.

    Names are followed through the transforms of all steps. What SQL and Python functions do to
    the target is not seen here; ``find_disguises`` looks at their result.
    """
    made: dict[str, str] = {target: target}
    problems = []
    for at, step in enumerate(steps):
        if not isinstance(step, TransformStep):
            continue
        for number, transform in enumerate(step.transforms):
            where = f"steps[{at}].transforms[{number}] ({transform.kind})"
            if isinstance(transform, History):
                problems += _history(where, transform, made)
            for new, old in transform.made_of().items():
                if sources := [name for name in old if name in made]:
                    made[new] = sources[0]
    problems += [
        f"the feature {name!r} is made of the target, by way of {made[name]!r}"
        for name in features
        if name in made and name != target
    ]
    return problems


def _history(where: str, history: History, made: dict[str, str]) -> list[str]:
    recalled = [name for name in history.columns if name in made]
    if not recalled:
        return []
    if history.known_after is None:
        return [
            f"{where} recalls the target ({', '.join(recalled)}) without saying when it is known; "
            "set known_after to the column with that instant, or to a delay such as 1d "
            "(0s: at the row's own time)"
        ]
    waits = micros(history.horizon) or micros(history.delay)
    if history.inclusive and not waits:
        return [
            f"{where} would count a row's own target ({', '.join(recalled)}): with inclusive the "
            "horizon must be above zero; or set inclusive: false"
        ]
    return []
