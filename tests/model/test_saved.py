"""Law: a saved model comes back to the last bit without running code, and any changed byte or foreign file is found."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import resource
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mbgd.errors import PlanError, SavedFileError
from mbgd.model.build import linear
from mbgd.model.saved import load_into, load_model, restore, save_model
from mbgd.model.table import TableModel
from mbgd.model.tensors import tensor_bytes

FACTS = {"encoder": {"numbers": [{"name": "größe", "center": 0.1}]}, "loss": "squared_error", "scores": {"r2": 0.9}}


def model(seed: int = 0) -> TableModel:
    return TableModel(2, (17, 4), 3, hidden_layer_sizes=(5,), seed=seed)


def saved(path: Path, module: nn.Module | None = None) -> Path:
    save_model(path, model() if module is None else module, facts=FACTS)
    return path


def forged(path: Path, *, change: dict[str, Any], tensors: dict[str, torch.Tensor] | None = None) -> Path:
    """A model file with a digest that fits, written by the rule of docs/formats.md alone."""
    blank = "0" * 64
    plain = {"sha256": blank, "format": 1, "versions": {"mbgd": "9.9"}, "architecture": None, "facts": {}, **change}
    data = tensor_bytes(tensors or model().state_dict(), metadata={"mbgd": json.dumps(plain)})
    digest = hashlib.sha256(data).hexdigest()
    path.write_bytes(data.replace(blank.encode(), digest.encode(), 1))
    return path


def with_header(path: Path, header: object, payload: bytes = b"") -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + payload)
    return path


def test_a_model_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    module = model()
    found = load_model(saved(tmp_path / "model.safetensors", module))
    assert found.facts == FACTS
    assert found.versions["torch"] == torch.__version__
    again = restore(found)
    assert not again.training
    assert type(again) is TableModel
    for (name, a), (_, b) in zip(module.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
    x = torch.randn(4, 2), torch.tensor([[0, 0], [16, 3], [1, 1], [5, 2]])
    assert torch.equal(module.eval()(*x), again(*x))


def test_a_folder_stands_for_the_model_in_it(tmp_path: Path) -> None:
    saved(tmp_path / "model.safetensors")
    assert load_model(tmp_path).path == tmp_path / "model.safetensors"


def test_the_same_model_is_the_same_file(tmp_path: Path) -> None:
    assert saved(tmp_path / "a").read_bytes() == saved(tmp_path / "b").read_bytes()


def test_float64_stays_float64(tmp_path: Path) -> None:
    again = restore(load_model(saved(tmp_path / "m", linear(3).double())))
    assert {p.dtype for p in again.parameters()} == {torch.float64}


def test_a_score_that_is_no_number_is_null(tmp_path: Path) -> None:
    save_model(tmp_path / "m", linear(2), facts={"scores": {"r2": float("nan")}})
    assert load_model(tmp_path / "m").facts == {"scores": {"r2": None}}


def test_any_changed_byte_is_found(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.safetensors")
    whole = path.read_bytes()
    start = 8 + struct.unpack("<Q", whole[:8])[0]
    draw = random.Random(0)
    for place in [*range(start), *draw.sample(range(start, len(whole)), 200)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(SavedFileError):
            load_model(path)
    path.write_bytes(whole)
    load_model(path)


def test_a_file_cut_or_zeroed_anywhere_is_found(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.safetensors")
    whole = path.read_bytes()
    for cut in (*range(0, 40), *range(40, len(whole), 37)):
        for data in (whole[:cut], whole[:cut] + bytes(len(whole) - cut)):
            path.write_bytes(data)
            with pytest.raises(SavedFileError):
                load_model(path)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("kind", ["pickle", "torch", "empty", "text", "csv", "other", "missing"])
def test_foreign_files_get_one_sentence_and_are_never_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.safetensors"
    words = {
        "pickle": "got a pickle; MBGD loads nothing that could run code",
        "torch": "got a zip archive, as torch.save writes",
        "empty": "is damaged or no safetensors file",
        "text": "is damaged or no safetensors file",
        "csv": "is damaged or no safetensors file",
        "other": "must be a model file of MBGD",
        "missing": "model file must exist",
    }
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    elif kind == "torch":
        torch.save({"w": torch.zeros(3)}, path)
    elif kind == "other":
        save_file({"w": torch.zeros(3)}, path)
    elif kind != "missing":
        path.write_bytes({"empty": b"", "text": b"hello", "csv": b"a,b,c\n1,2,3\n" * 20}[kind])
    with pytest.raises(SavedFileError, match=words[kind]) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


def test_a_newer_format_names_the_version_that_reads_it(tmp_path: Path) -> None:
    with pytest.raises(SavedFileError, match=r"has format 3, this MBGD reads 2; install mbgd 9\.9 or later"):
        load_model(forged(tmp_path / "m", change={"format": 3}))
    assert load_model(forged(tmp_path / "m", change={})).architecture is None


@pytest.mark.parametrize("claim", ["header", "offsets", "shape", "hidden", "square", "embedding", "codes"])
def test_a_forged_size_takes_no_memory(tmp_path: Path, claim: str) -> None:
    path, huge = tmp_path / "m", 1 << 40
    table = {
        "kind": "table", "n_numbers": 2, "cardinalities": [17, 4], "one_hot_up_to": 8, "embedding_size": 8,
        "n_outputs": 3, "hidden_layer_sizes": [5], "activation": "relu", "dropout": 0.0,
    }  # fmt: skip
    metadata = {"mbgd": json.dumps({"sha256": "0" * 64, "format": 1})}
    tensor = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    if claim == "header":
        path.write_bytes(struct.pack("<Q", huge) + b"{" + b" " * 100)
    elif claim == "offsets":
        with_header(path, {"__metadata__": metadata, "w": {**tensor, "data_offsets": [0, huge]}}, b"1234")
    elif claim == "shape":
        with_header(path, {"__metadata__": metadata, "w": {**tensor, "shape": [huge]}}, b"1234")
    elif claim == "square":
        # 40,000 weights are in the file, so that 20,000 x 20,000 units pass the first look
        forged(
            path,
            change={"architecture": {**table, "hidden_layer_sizes": [20_000, 20_000]}},
            tensors={"w": torch.zeros(60_000)},
        )
    else:
        change = {"hidden": {"hidden_layer_sizes": [huge]}, "embedding": {"embedding_size": huge}}
        change["codes"] = {"cardinalities": [huge], "one_hot_up_to": huge}
        forged(path, change={"architecture": {**table, **change[claim]}})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SavedFileError):
        restore(load_model(path))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB: far below any of the claims


def test_a_users_module_saves_its_weights_and_is_loaded_into_an_instance(tmp_path: Path) -> None:
    def own(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

    module, other = own(0), own(1)
    module(torch.randn(8, 3))  # moves the running means
    path = saved(tmp_path / "m", module)
    with pytest.raises(SavedFileError, match="module of your own; make that module and call load_into"):
        restore(load_model(path))
    held = other[0].weight
    assert load_into(path, other).facts == FACTS
    assert other[0].weight is held  # in place: an optimizer that holds it goes on
    assert all(
        torch.equal(a, b) for a, b in zip(module.state_dict().values(), other.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            nn.Sequential(nn.Linear(4, 3)),
            r"'0.weight' is \(4, 3\) float32 in the file and \(3, 4\) float32 in the module",
        ),
        (
            nn.Sequential(nn.Linear(3, 4, bias=False)),
            r"'0.bias' is \(4,\) float32 in the file and absent in the module",
        ),
        (nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1)), r"'1.weight' is absent in the file and \(1, 4\) float32"),
        (nn.Sequential(nn.Linear(3, 4)).double(), r"'0.weight' is \(4, 3\) float32 in the file and \(4, 3\) float64"),
        (nn.Linear(3, 4), r"'weight' is absent in the file"),
    ],
    ids=["shape", "left over", "missing", "dtype", "name"],
)
def test_another_module_is_refused_by_tensor_and_left_alone(tmp_path: Path, other: nn.Module, message: str) -> None:
    path = saved(tmp_path / "m", nn.Sequential(nn.Linear(3, 4)))
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(SavedFileError, match=message):
        load_into(path, other)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def test_tied_weights_come_back_tied(tmp_path: Path) -> None:
    def tied() -> nn.Module:
        module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        module[1].weight = module[0].weight
        return module

    module, other = tied(), tied()
    load_into(saved(tmp_path / "m", module), other)
    assert other[0].weight is other[1].weight
    assert torch.equal(other[0].weight, module[0].weight)


def test_what_safetensors_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    module = nn.Module()
    module.register_buffer("phase", torch.zeros(2, dtype=torch.complex128))
    with pytest.raises(PlanError, match="got complex128"):
        save_model(tmp_path / "m", module, facts={})
    assert list(tmp_path.iterdir()) == []
