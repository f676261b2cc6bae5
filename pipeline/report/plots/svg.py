"""Turn matplotlib's SVG into SVG that lives inside a page.

A page with a strict content security policy refuses ``style`` attributes, and a plot with fixed
colours is unreadable in the dark. So each colour becomes a class of the page's style sheet, each
other style a plain attribute, and the text stays text, in the page's font.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from markupsafe import Markup, escape

from pipeline.report.visible import visible

# Colours that stand for a role; report.css says what each looks like in light and in dark.
TEXT, MUTED, LINE, ACCENT, SOFT, SURFACE, MIDDLE = (f"#0{n}0{n}0{n}" for n in range(1, 8))
_ROLES = {
    TEXT: "text",
    MUTED: "muted",
    LINE: "line",
    ACCENT: "accent",
    SOFT: "soft",
    SURFACE: "surface",
    MIDDLE: "middle",
}
_KEPT = {
    "fill-opacity", "stroke-opacity", "opacity", "stroke-width", "stroke-dasharray",
    "stroke-linecap", "stroke-linejoin", "font-size", "font-weight", "text-anchor",
}  # fmt: skip
_LONG = re.compile(r"-?\d+\.\d{2,}")
_XLINK = "{http://www.w3.org/1999/xlink}href"
_WORDLESS = {"metadata", "style", "title", "desc"}


def inline(svg: str, alt: str) -> Markup:
    """The plot as one element: themable, without ids that could clash, labelled ``alt``."""
    root = ET.fromstring(svg)
    box = root.get("viewBox", "0 0 1 1")
    body = "".join(_element(child) for child in root)
    return Markup('<svg class="plot" viewBox="{}" role="img" aria-label="{}">{}</svg>').format(
        box, visible(alt, 2_000), Markup(body)
    )


def _element(node: ET.Element) -> str:
    name = node.tag.rpartition("}")[2]
    if name in _WORDLESS:
        return ""
    content = (escape(node.text) if name == "text" and node.text else "") + "".join(
        _element(child) for child in node
    )
    if name in ("g", "defs") and not content:
        return ""
    attributes = _attributes(node)
    if name == "g" and not attributes:
        return content  # matplotlib nests a group around everything; empty ones say nothing
    listed = "".join(f' {key}="{escape(value)}"' for key, value in attributes.items())
    return f"<{name}{listed}>{content}</{name}>" if content else f"<{name}{listed}/>"


def _attributes(node: ET.Element) -> dict[str, str]:
    kept: dict[str, str] = {}
    classes: list[str] = []
    for key, value in node.attrib.items():
        if key == "style":
            _style(value, kept, classes)
        elif key == _XLINK:
            kept["href"] = value
        elif key == "d":
            kept["d"] = _LONG.sub(lambda m: f"{float(m[0]):.1f}", " ".join(value.split()))
        elif key == "id":
            # Ids of groups count upwards in every plot and would clash; those of definitions are
            # hashes, salted with the plot's name.
            if not node.tag.endswith("}g"):
                kept["id"] = value
        else:
            kept[key] = _LONG.sub(lambda m: f"{float(m[0]):.2f}", value)
    if classes:
        kept["class"] = " ".join(classes)
    return kept


def _style(style: str, kept: dict[str, str], classes: list[str]) -> None:
    for part in style.split(";"):
        key, _, value = (piece.strip() for piece in part.partition(":"))
        if key in ("fill", "stroke") and value in _ROLES:
            classes.append(f"{key[0]}-{_ROLES[value]}")
        elif key in ("fill", "stroke"):
            kept[key] = value
        elif key in _KEPT:
            kept[key] = value.removesuffix("px")
