"""Law: a header is read as the format's own library reads it, and every one that claims what the file has not is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from mbgd.errors import SavedFileError
from mbgd.model.file import read_arrays
from mbgd.model.header import BYTES, read_header
from mbgd.model.tensors import read_tensors

HUGE = 1 << 40
A = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
B = {"dtype": "I64", "shape": [1], "data_offsets": [8, 16]}


def written(path: Path, header: object, payload: bytes = bytes(16)) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + payload)
    return path


def test_every_type_is_read_as_the_library_reads_it(tmp_path: Path) -> None:
    chance = torch.Generator().manual_seed(0)
    raw = torch.randint(0, 2, (6, 8), generator=chance, dtype=torch.uint8)  # 0 and 1 are numbers of every type
    types = [t for t in vars(torch).values() if isinstance(t, torch.dtype) and t in safetensors.torch._TYPES.values()]
    held = {str(t): raw.clone().view(t) if t is not torch.bool else raw.bool() for t in dict.fromkeys(types)}
    held |= {"one": torch.tensor(1.5), "none": torch.zeros(0, 3), "nan": torch.tensor([torch.nan, -0.0])}
    safetensors.torch.save_file(held, tmp_path / "m")
    header = read_header(tmp_path / "m")
    assert {place.dtype for place in header.tensors.values()} == set(BYTES)
    ours, theirs = read_tensors(header), safetensors.torch.load_file(tmp_path / "m")
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert (ours[name].dtype, ours[name].shape) == (tensor.dtype, tensor.shape)
        same = ours[name].reshape(-1).view(torch.uint8), tensor.contiguous().reshape(-1).view(torch.uint8)
        assert torch.equal(*same), name
    with pytest.raises(SavedFileError, match="which NumPy lacks"):
        read_arrays(header)


def test_arrays_are_those_of_the_library(tmp_path: Path) -> None:
    held = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([True, False]), "c": torch.zeros(2, 0)}
    safetensors.torch.save_file(held, tmp_path / "m")
    found = read_arrays(read_header(tmp_path / "m"))
    assert all(np.array_equal(found[name], tensor.numpy()) for name, tensor in held.items())


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"a": A, "b": {**B, "data_offsets": [4, 12]}}, "begins at byte 4 of the tensors, the one before it ends at 8"),
        ({"a": A, "b": {**B, "data_offsets": [16, 24]}}, "begins at byte 16 of the tensors"),
        ({"a": A}, "its tensors have 8 bytes, 16 follow its header"),
        ({"a": A, "b": {**B, "data_offsets": [8, HUGE]}}, "bytes, not those of its shape and type"),
        ({"a": A, "b": {**B, "data_offsets": [8, 0]}}, "begins at byte 8|ends"),
        ({"a": A, "b": {**B, "shape": [HUGE]}}, "has 8 bytes, not those of its shape and type"),
        ({"a": A, "b": {**B, "shape": [-1]}}, r"shape\[0\] must be a whole number of at least 0, got -1"),
        ({"a": A, "b": {**B, "shape": [True]}}, r"shape\[0\] must be a whole number"),
        ({"a": A, "b": {**B, "shape": [1.0]}}, r"shape\[0\] must be a whole number"),
        ({"a": A, "b": {**B, "shape": [0, HUGE, HUGE], "data_offsets": [8, 8]}}, "not those of its shape and type"),
        ({"a": A, "b": {**B, "shape": [1] * 33}}, "shape must have at most 32 entries, got 33"),
        ({"a": A, "b": {**B, "dtype": "F128"}}, "dtype must be 'BOOL' or"),
        ({"a": A, "b": {"dtype": "I64", "shape": [1]}}, "data_offsets must be there, it is missing"),
        ({"a": A, "b": []}, "must be an object, got"),
        ({"a": A, "b": B, "__metadata__": {"x": 1}}, "must be text, got 1"),
        ({"a": A, "b": B, "__metadata__": []}, "__metadata__ must be an object"),
        (b'{"a": %b, "a": %b}' % (json.dumps(A).encode(), json.dumps(B).encode()), "the same name twice"),
        (b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 16]}}', "the word NaN, which is no JSON"),
        (b'{"a": {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 16]}}', r"shape\[0\] must be a whole number"),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, "too many levels|no readable header|JSON"),
        (b'{"a": {"dtype": "F32", "shape": [%b], "data_offsets": [0, 16]}}' % (b"9" * 5000), "is damaged or no safetensors file"),
        (b"{" + b'"": {},' * 2_000_000 + b'"a": {}}', "more lists and objects than any such file has"),
        ([A, B], "it has no readable header"),
        (b"\x80\x04pickled", "it has no readable header"),
    ],
)  # fmt: skip
def test_what_a_file_has_not_is_refused(tmp_path: Path, header: Any, said: str) -> None:
    with pytest.raises(SavedFileError, match=said) as caught:
        read_header(written(tmp_path / "m", header))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_file_cut_short_while_it_is_read_is_said(tmp_path: Path) -> None:
    header = read_header(written(tmp_path / "m", {"a": A, "b": B}))
    written(tmp_path / "m", {"a": A, "b": B}, bytes(12))
    with pytest.raises(SavedFileError, match="is shorter than it was a moment ago"):
        read_tensors(header)


def test_truth_values_are_0_and_1(tmp_path: Path) -> None:
    header = {"a": {"dtype": "BOOL", "shape": [16], "data_offsets": [0, 16]}}
    assert not read_tensors(read_header(written(tmp_path / "m", header)))["a"].any()
    found = read_header(written(tmp_path / "m", header, bytes(15) + b"\2"))
    for door in (read_tensors, read_arrays):
        with pytest.raises(SavedFileError, match="a tensor of truth values has others than 0 and 1"):
            door(found)
