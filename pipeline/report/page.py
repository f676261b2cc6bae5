"""The page: sections in, one string of HTML out."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.report.blocks import Section
from pipeline.report.inputs import ReportInputs
from pipeline.report.sections import (
    data_in,
    handoff,
    heldout,
    importance,
    models,
    profile,
    run,
    summary,
    versions,
)
from pipeline.report.visible import visible

_LONGEST = 4_000  # characters of any one value that was not shortened before


def render(inputs: ReportInputs) -> str:
    """The whole report as one HTML page that loads nothing from anywhere.

    Returns:
        The page, the same for the same inputs, byte for byte.

    Raises:
        StoreError: a file of an artifact cannot be read.
    """
    css = files("pipeline.report").joinpath("templates", "report.css").read_text(encoding="utf-8")
    word, tone = summary.state(inputs)
    return _environment().get_template("report.html.j2").render(
        title=inputs.title,
        pipeline=inputs.pipeline,
        facts=summary.facts(inputs),
        status=word,
        tone=tone,
        sections=_sections(inputs),
        css=Markup(css),
        policy=Markup(_policy(css)),
    )  # fmt: skip


def _sections(inputs: ReportInputs) -> list[Section]:
    parts = (summary, run, data_in, profile, handoff, models, heldout, importance, versions)
    return [part.build(inputs) for part in parts]


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )


def _shown(value: Any) -> Any:
    """Every value passes here on its way into the page; autoescape follows."""
    return value if isinstance(value, Markup) else visible(value, _LONGEST)


def _policy(css: str) -> str:
    """Nothing may run or load; the one style sheet is allowed by its hash."""
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
