"""A value in, its one spelling as JSON out; with a digest in it, so that any changed byte is found when it is read."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any


def json_bytes(value: object) -> bytes:
    """The one spelling of a value: sorted keys, one entry a line, numbers as Python's repr."""
    text = json.dumps(value, indent=1, sort_keys=True, default=_plain, ensure_ascii=False)
    return (
        text.encode(errors="backslashreplace") + b"\n"
    )  # \udcff, of a file name that is no UTF-8, is JSON's own escape


def seal(value: Mapping[str, object]) -> bytes:
    """A mapping as JSON with a digest of itself, `sha256`: of the JSON without that entry."""
    return json_bytes({**value, "sha256": hashlib.sha256(json_bytes(dict(value))).hexdigest()})


def unseal(data: bytes) -> dict[str, Any]:
    """The mapping that was sealed. Raises ValueError where any byte differs from what `seal` wrote, spaces included."""
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    digest = value.pop("sha256", None)
    if seal(value) != data:
        raise ValueError(f"its SHA-256 is not {digest}")
    return value


def finite(value: object) -> object:
    """The same value as JSON can say it: None for each float that is not finite, NumPy's and torch's scalars as Python's."""
    if isinstance(value, Mapping):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return finite(_plain(value)) if hasattr(value, "item") else value


def _plain(value: Any) -> Any:
    """NumPy's and torch's scalars as Python's."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError(f"{type(value).__name__} is no JSON value")
