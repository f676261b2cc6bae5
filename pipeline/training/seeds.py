"""Seeds that depend on what is done, never on the order of work."""

from __future__ import annotations

import hashlib
import json


def derive_seed(seed: int, segment: str, candidate: str, fold: int | str) -> int:
    """A seed below 2**31 that depends on what is fitted, never on the order of work."""
    text = json.dumps([seed, segment, candidate, fold], ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
