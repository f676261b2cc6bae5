"""``preprocess.steps``: SQL, a Python function, or built-in transforms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag

from pipeline.config.section import Name, Section
from pipeline.config.transforms import JoinAsOf, Transform


def _function(value: str) -> str:
    name = r"[A-Za-z_]\w*"
    if not re.fullmatch(rf"{name}(\.{name})*:{name}", value, re.ASCII):
        raise ValueError(
            "must be module:function, the module being a file of the project's folder such as "
            f"features.sales:add_history. Got {value!r} instead"
        )
    return value


class SqlStep(Section):
    """One SELECT over the sources and the steps before it; its name is the view it makes."""

    name: Name
    sql: str = Field(description="path of the .sql file, relative to the project's root")

    @property
    def summary(self) -> dict[str, str]:
        return {"name": self.name, "kind": "sql", "sql": self.sql}


class PythonStep(Section):
    """A function ``(inputs, params) -> DataFrame`` of the project's own folder.

    ``inputs`` holds the sources and the steps before it by name, ``params`` is preprocess.params.
    """

    name: Name
    python: Annotated[str, AfterValidator(_function)]

    @property
    def module(self) -> str:
        return self.python.partition(":")[0]

    @property
    def function(self) -> str:
        return self.python.partition(":")[2]

    @property
    def summary(self) -> dict[str, str]:
        return {"name": self.name, "kind": "python", "python": self.python}


class TransformStep(Section):
    """Built-in transforms of one source or earlier step, applied in their order."""

    name: Name
    input: Name
    transforms: Annotated[tuple[Transform, ...], Field(min_length=1)]

    @property
    def summary(self) -> dict[str, str]:
        transforms = f"{', '.join(t.kind for t in self.transforms)} of {self.input}"
        return {"name": self.name, "kind": "transforms", "transforms": transforms}


def _kind_of(step: Any) -> str:
    """The tag of a step's section: what it is made of, by its keys."""
    keys = step.keys() if isinstance(step, dict) else type(step).model_fields.keys()
    if "python" in keys:
        return "[python]"
    return "[transforms]" if keys & {"input", "transforms"} else "[sql]"


# In brackets, as no key is: the loader drops from a key path what is not in the file.
StepConfig = Annotated[
    Annotated[SqlStep, Tag("[sql]")]
    | Annotated[PythonStep, Tag("[python]")]
    | Annotated[TransformStep, Tag("[transforms]")],
    Discriminator(_kind_of),
]


def find_unknown_inputs(steps: Sequence[StepConfig], sources: Sequence[str]) -> list[str]:
    """What transforms read that is neither a source nor an earlier step, and names taken twice."""
    problems = []
    known = list(sources)
    for at, step in enumerate(steps):
        if step.name in known:
            problems.append(f"preprocess.steps[{at}]: the name {step.name!r} is taken already")
        if isinstance(step, TransformStep):
            joined = [t.table for t in step.transforms if isinstance(t, JoinAsOf)]
            problems += [
                f"preprocess.steps[{at}]: must read a source or an earlier step: "
                f"{', '.join(known)}. Got {name!r} instead"
                for name in (step.input, *joined)
                if name not in known
            ]
        known.append(step.name)
    return problems
