"""Make text from data safe to look at: nothing invisible, nothing endless.

Escaping for HTML is the template's work (autoescape). Here control codes, escape codes and
characters that reorder text become marks that a reader can see, so that a value cannot forge a
line, hide a part of itself or be taken for another.
"""

from __future__ import annotations

import re

LIMIT = 240
_NAMES = {0x00: "NUL", 0x08: "BS", 0x09: "TAB", 0x0A: "LF", 0x0D: "CR", 0x1B: "ESC", 0x7F: "DEL"}

# C0, DEL, C1, soft hyphen, Arabic letter mark, zero-width space, direction marks and overrides,
# line and paragraph separators, word joiner, isolates, byte order mark, surrogates, tags.
# U+200C and U+200D stay: scripts and emoji need them.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def _mark(match: re.Match[str]) -> str:
    # Names, not Unicode's pictures of control codes: few fonts have those.
    code = ord(match[0])
    return f"\u2039{_NAMES.get(code, f'U+{code:04X}')}\u203a"


def visible(value: object, limit: int = LIMIT) -> str:
    """One line of text in which every character can be seen, shortened to ``limit``."""
    raw = str(value)
    shown = _INVISIBLE.sub(_mark, raw[:limit])
    if len(raw) <= limit:
        return shown
    return f"{shown}… ({len(raw):,} characters)"


def label(value: object, limit: int = 40) -> str:
    """A short name for a row of a table or an axis of a plot; never empty."""
    raw = str(value)
    shown = _INVISIBLE.sub(_mark, raw if len(raw) <= limit else raw[: limit - 1] + "…")
    return shown if shown.strip() else "(empty)"


def visible_lines(value: str, limit: int = 20_000) -> str:
    """Text of several lines, each made visible."""
    lines = "\n".join(
        visible(line, 400) for line in value[:limit].replace("\r\n", "\n").split("\n")
    )
    left = len(value) - limit
    return lines if left <= 0 else f"{lines}\n… {left:,} more characters"
