"""Numbers of a step in, the bytes of one TensorBoard event out: a protobuf message in a TFRecord, by hand.

The package of that name brings a web server; what a training writes is two messages of five fields:

    Event    1 wall_time double · 2 step int64 · 3 file_version string · 5 summary · 7 session_log
    Summary  1 value, repeated: 1 tag string · 2 simple_value float
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protobuf's wire types
_POLYNOMIAL, _MASK = 0x82F63B78, 0xA282EAD8  # CRC32C, reflected; what TFRecord adds to a rotated one
_STARTED = 1  # SessionLog.START: what was written of this step and later is to be forgotten


def first_event(seconds: float) -> bytes:
    """What a file begins with."""
    return _record(_field(1, FIXED64, struct.pack("<d", seconds)) + _text(3, b"brain.Event:2"))


def started_event(seconds: float, step: int) -> bytes:
    """A training begins, or goes on, behind that step."""
    session = _field(1, VARINT, _varint(_STARTED))
    return _record(_at(seconds, step) + _text(7, session))


def scalars_event(seconds: float, step: int, scalars: Mapping[str, float]) -> bytes:
    """Values by tag, at a step; `seconds` since 1970."""
    values = [_text(1, _text(1, tag.encode()) + _field(2, FIXED32, _float(value))) for tag, value in scalars.items()]
    return _record(_at(seconds, step) + _text(5, b"".join(values)))


def _at(seconds: float, step: int) -> bytes:
    return _field(1, FIXED64, struct.pack("<d", seconds)) + _field(2, VARINT, _varint(step))


def _field(number: int, kind: int, value: bytes) -> bytes:
    return _varint(number << 3 | kind) + value


def _text(number: int, value: bytes) -> bytes:
    return _field(number, BYTES, _varint(len(value)) + value)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _float(value: float) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:  # beyond float32
        return struct.pack("<f", float("inf") if value > 0 else float("-inf"))


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF)


def crc32c(data: bytes) -> int:
    """Castagnoli's cyclic redundancy check, a byte at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _of_byte(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value


_TABLE = tuple(_of_byte(value) for value in range(256))
