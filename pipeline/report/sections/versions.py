"""What the run was made with: enough to make it again."""

from __future__ import annotations

import re
from typing import Any

import yaml
from markupsafe import Markup, escape

from pipeline.report.blocks import (
    Block,
    Cell,
    Code,
    Column,
    Fold,
    Pair,
    Section,
    Table,
    not_yet,
)
from pipeline.report.formats import NONE, duration, when
from pipeline.report.inputs import STAGES, ReportInputs
from pipeline.report.pick import mapping, number, text
from pipeline.report.visible import label, visible, visible_lines

# The loader masks secrets already; this is the second lock on a page that people pass around.
_SECRET = re.compile(r"(^|_)(password|passwd|secret|token|credentials?|api_?key|access_?key)($|_)")


def build(inputs: ReportInputs) -> Section:
    if not inputs.manifests:
        return not_yet("versions", "Versions and configuration", "ingest")
    lead = "The same configuration, inputs, code and versions give the same fingerprints, and the "
    lead += "same fingerprints are not computed twice."
    blocks: list[Block] = [_artifacts(inputs)]
    versions = _versions(inputs)
    if versions:
        columns = (Column("Package"), Column("Version", "code"), Column("Stages", "prose"))
        blocks.append(Table("Versions that shape the output", columns, versions))
    stages = [stage for stage in STAGES if inputs.config(stage)]
    blocks += [Fold("Model card", (_config(inputs.card),))] if inputs.card else []
    blocks += [Fold(f"Configuration of {stage}", (_config(inputs.config(stage)),))
               for stage in stages]  # fmt: skip
    return Section("versions", "Versions and configuration", lead, blocks)


def _artifacts(inputs: ReportInputs) -> Table:
    columns = (
        Column("Stage"),
        Column("Fingerprint", "code"),
        Column("Made from", "code"),
        Column("Code"),
        Column("Made at", "number"),
        Column("Took", "number"),
    )
    rows: list[tuple[Cell, ...]] = []
    for stage in STAGES:
        manifest = inputs.manifests.get(stage)
        if manifest is None:
            continue
        rows.append((
            stage,
            visible(text(manifest, "fingerprint") or NONE),
            _made_from(mapping(manifest, "inputs")),
            visible(text(manifest, "code_version") or NONE, 16),
            when(manifest.get("started_at")),
            duration(number(manifest, "seconds")),
        ))  # fmt: skip
    return Table("Artifacts", columns, rows)


def _made_from(parts: dict[str, Any]) -> Cell:
    shown = [f"{label(name)} {visible(value, 10).split('…')[0]}" for name, value in parts.items()
             if isinstance(value, str)]  # fmt: skip
    if len(shown) <= 3:
        return ", ".join(shown) or NONE
    return Pair(", ".join(shown[:3]), f"and {len(shown) - 3:,} more")


def _versions(inputs: ReportInputs) -> list[tuple[Cell, ...]]:
    """One row a package and version; two rows for a package mean that it changed in between."""
    users: dict[tuple[str, str], list[str]] = {}
    for stage in STAGES:
        for name, version in mapping(inputs.manifests.get(stage), "versions").items():
            users.setdefault((name, str(version)), []).append(stage)
    ordered = sorted(users.items())[:200]
    return [(label(n), label(v), ", ".join(stages)) for (n, v), stages in ordered]


def _config(config: dict[str, Any]) -> Code:
    dumped = yaml.safe_dump(_masked(config), sort_keys=False, allow_unicode=True, width=100)
    return Code(Markup(escape(visible_lines(dumped))))


def _masked(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {str(name): _masked(part, str(name)) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(part, key) for part in value]
    if isinstance(value, str) and _SECRET.search(key.lower()):
        return "***"
    return value
