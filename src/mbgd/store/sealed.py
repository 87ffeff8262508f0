"""The one spelling of a value as JSON, with a digest in it, so that any changed byte is found when it is read."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mbgd.store.schema import Entries, Text, Whole
from mbgd.store.strict_json import parse_json

_SEALED = "sealed"
"""A second entry beside `sha256`: a changed byte in the name of either does not make of a file one without a checksum."""


@dataclass(frozen=True)
class Digest:
    """What bytes must be to be those that were written."""

    bytes: int
    sha256: str


DIGEST = Entries({"bytes": Whole(), "sha256": Text("[0-9a-f]{64}", "64 digits of base 16")})
"""A `Digest` as JSON."""


def digest_of(data: bytes) -> Digest:
    """Of bytes as they are."""
    return Digest(len(data), hashlib.sha256(data).hexdigest())


def digest_from(said: Any) -> Digest:
    """From JSON. Raises ValueError for what is none."""
    if found := DIGEST.fault(said, ""):
        raise ValueError(found)
    return Digest(said["bytes"], said["sha256"])


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
    value = parse_json(data, finite=False)
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    digest = value.pop("sha256", None)
    try:
        whole = seal(value) == data
    except RecursionError:
        whole = False
    if not whole:
        raise ValueError(f"its SHA-256 is not {digest!s:.80}")
    return value


def seal_meaning(value: Mapping[str, object]) -> bytes:
    """A mapping as standard JSON with a seal of what it says, which another spelling does not break: see `opened`."""
    said = json.loads(json_bytes(finite(value)))  # keys sort as they will when they are read: as text
    return seal({**said, _SEALED: True})


def opened(value: Any) -> tuple[Any, bool | None]:
    """(what was sealed by its meaning, whether it says what it did then); None where there is no seal."""
    if not isinstance(value, dict) or not {"sha256", _SEALED} & set(value):
        return value, None
    said = {name: part for name, part in value.items() if name != "sha256"}
    try:
        whole = hashlib.sha256(json_bytes(said)).hexdigest() == value.get("sha256")
    except RecursionError:
        whole = False
    return {name: part for name, part in said.items() if name != _SEALED}, whole


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
