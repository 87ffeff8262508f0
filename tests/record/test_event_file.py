"""TensorBoard's own reader reads what is written, and the check sums are those of the standard."""

from __future__ import annotations

import struct

import pytest
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

from mbgd.record.event_file import crc32c, first_event, scalars_event, started_event


@pytest.mark.parametrize(
    ("data", "expected"),
    [  # RFC 3720, appendix B.4, and the check value of CRC-32/ISCSI
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_check_sums_are_those_of_the_standard(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


def event(record: bytes) -> Event:
    (length,) = struct.unpack("<Q", record[:8])
    assert len(record) == 8 + 4 + length + 4
    return Event.FromString(record[12:-4])


def test_events_are_what_the_messages_say() -> None:
    assert event(first_event(3.5)).file_version == "brain.Event:2"
    started = event(started_event(4.0, 300))
    assert (started.wall_time, started.step, started.session_log.status) == (4.0, 300, SessionLog.START)
    found = event(scalars_event(1e9, 2**40, {"loss": 0.25, "validation/r²": -1e300, "none": float("nan")}))
    assert (found.wall_time, found.step) == (1e9, 2**40)
    values = {value.tag: value.simple_value for value in found.summary.value}
    assert values["loss"] == 0.25
    assert values["validation/r²"] == float("-inf")  # beyond float32
    assert values["none"] != values["none"]  # NaN
