"""Files changed by chance, from a seed: bytes by bytes, JSON value by value, with digests that fit again as by somebody who
means it."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mbgd.store import opened, seal

SPELT = [
    b'"',
    b",",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"NaN",
    b"1e999",
    b"9" * 40,
    b";",
    b"{",
    b"[",
    b"'",
    b"-",
]
ODD: list[Any] = [None, True, -1, 0, 1, 2**31, 2**63, -(2**70), 1e308, math.nan, math.inf, "", "x", "\0", "\x1b[31m", [], {},
                  [[]], [1, "x"], {"x": 1}, "9" * 400, [2**40] * 3]  # fmt: skip
BLANK = "0" * 64
Values = Callable[[Any, random.Random], Any]


def bytes_changed(data: bytes, chance: random.Random) -> bytes:
    """One to three changes of a kind that disks, editors and enemies make."""
    for _ in range(chance.randint(1, 3)):
        a, b = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        b = min(b, a + 64)
        old = data[a:b]
        new = [
            bytes([old[0] ^ 1 << chance.randrange(8)]) + old[1:] if old else b"",
            chance.randbytes(len(old)),
            b"",
            old * 2,
            bytes(len(old)),
            chance.choice(SPELT) + old,
            b"\xff" * len(old),
            old[::-1],
        ]
        data = data[:a] + chance.choice(new) + (data[b:] if chance.random() < 0.9 else b"")
        if not data:
            return b""
    return data


def value_changed(value: Any, chance: random.Random) -> Any:
    """The same JSON with one value somewhere in it made odd, taken out or doubled."""
    value = copy.deepcopy(value)
    place = value
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = chance.choice(list(keys))
        inner = place[key]
        if not (isinstance(inner, dict | list) and inner) or chance.random() < 0.15:
            break
        place = inner
    if chance.random() < 0.15:
        del place[key]
    elif chance.random() < 0.1 and isinstance(place, list):
        place.append(place[key])
    elif isinstance(inner, float | int) and chance.random() < 0.3:
        place[key] = -inner
    else:
        place[key] = chance.choice(ODD)
    return value


def likely_changed(value: Any, chance: random.Random) -> Any:
    """The same JSON with one to three values changed into what might stand there: numbers near by, words and entries of other
    places, lists shorter and longer, names changed. More of these pass a look at their types than of `value_changed`."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    for _ in range(chance.randint(1, 3)):
        place, key = chance.choice(places)
        if (isinstance(place, dict) and key not in place) or (isinstance(place, list) and key >= len(place)):
            continue
        inner = place[key]
        if isinstance(place, dict) and chance.random() < 0.1:
            place[key + chance.choice(["_", "s", "x"])] = place.pop(key)
        elif isinstance(inner, list) and inner and chance.random() < 0.7:
            other = [inner[:-1], [*inner, inner[-1]], inner[::-1], [*inner, *inner], inner[1:], [inner]]
            place[key] = chance.choice(other)
        elif isinstance(inner, bool) or inner is None or chance.random() < 0.2:
            other_place, other_key = chance.choice(places)
            if (isinstance(other_place, dict) and other_key in other_place) or (
                isinstance(other_place, list) and other_key < len(other_place)
            ):
                place[key] = copy.deepcopy(other_place[other_key])
        elif isinstance(inner, int | float):
            place[key] = chance.choice(
                [inner + 1, inner - 1, inner * 2, -inner, 0, float(inner), 1e150, 1e-300, inner * 1000]
            )
        elif isinstance(inner, str):
            place[key] = chance.choice(
                [inner[:-1], inner + "x", inner.upper(), "\u202e" + inner, "\ud800", inner * 50, "nan"]
            )
        else:
            del place[key]
    return value


def _places(value: Any) -> Any:
    """Every (object or list, name or number) in a value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(entries):
        yield value, key
        yield from _places(inner)


def header_of(path: Path) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file as JSON, and the bytes of its tensors."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(header: Any, tensors: bytes) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + tensors


def forge_model(path: Path, change: Values, chance: random.Random, *, header_too: float = 0.2) -> None:
    """What a model file says of itself changed, sealed anew by the rule of docs/formats.md."""
    header, tensors = header_of(path)
    said = json.loads(header["__metadata__"]["mbgd"])
    said["sha256"] = BLANK
    if chance.random() < header_too:
        header = change(header, chance)  # names, types, shapes and places of tensors
    if isinstance(header, dict) and isinstance(header.get("__metadata__"), dict):
        header["__metadata__"]["mbgd"] = json.dumps(change(said, chance))
    forged = with_header(header, tensors)
    path.write_bytes(forged.replace(BLANK.encode(), hashlib.sha256(forged).hexdigest().encode(), 1))


def newest_checkpoint(run: Path) -> Path:
    return max((run / "checkpoints").iterdir())


def forge_checkpoint(path: Path, change: Values, chance: random.Random, *, tensors: bool = False) -> None:
    """A checkpoint's manifest changed, or the header of its tensors, and sealed anew."""
    said = json.loads((path / "manifest.json").read_text())
    del said["sha256"]
    if tensors:
        state = path / "state.safetensors"
        state.write_bytes(with_header(_tensors_changed(*header_of(state), change, chance), header_of(state)[1]))
        data = state.read_bytes()
        said["files"][state.name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    else:
        said = change(said, chance)
    (path / "manifest.json").write_bytes(seal(said))


def _tensors_changed(header: dict[str, Any], tensors: bytes, change: Values, chance: random.Random) -> Any:
    """Names exchanged, shapes of as many numbers, or anything else."""
    names = [name for name in header if name != "__metadata__"]
    one, other = chance.choice(names), chance.choice(names)
    how = chance.randrange(5)
    if how == 0:
        header[one], header[other] = header[other], header[one]
    elif how == 1:
        header[one]["shape"] = [1, *header[one]["shape"]]
    elif how == 2:
        header[one]["shape"] = [math.prod(header[one]["shape"])]
    elif how == 3:
        header[one]["dtype"] = {"F32": "I32", "F64": "I64"}.get(header[one]["dtype"], "U8")
    else:
        changed: Any = change(header, chance)
        return changed
    return header


def forge_json(path: Path, change: Values, chance: random.Random) -> None:
    """A JSON file changed and sealed anew, but where it is no object any more."""
    written = change(opened(json.loads(path.read_text()))[0], chance)
    path.write_bytes(seal({**written, "sealed": True}))


def forge_history(run: Path, change: Values, chance: random.Random) -> None:
    """A line of the history changed, and the digests in checkpoints and result to go with it."""
    path = run / "history.jsonl"
    lines = path.read_text().splitlines()
    at = chance.randrange(len(lines))
    lines[at] = json.dumps(change(json.loads(lines[at]), chance))
    path.write_text("".join(line + "\n" for line in lines))
    data = path.read_bytes()
    digest = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    for manifest in (run / "checkpoints").glob("*/manifest.json"):
        said = json.loads(manifest.read_text())
        del said["sha256"]
        manifest.write_bytes(seal({**said, "history": digest}))
    if (run / "result.json").exists():
        said = opened(json.loads((run / "result.json").read_text()))[0]
        said["files"]["history.jsonl"] = digest
        (run / "result.json").write_bytes(seal({**said, "sealed": True}))
