"""Law: encoder, network, target, loss and outputs of a model file agree in every size, or one sentence says what does not; the
same by each door, and nothing is built before."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import mbgd
from changed_files import BLANK, header_of, with_header
from mbgd.cli import run
from mbgd.errors import SavedFileError
from mbgd.model.outline import outline

SMALL: dict[str, Any] = {"hidden_layer_sizes": (4,), "epochs": 1, "batch_size": 64}


def table() -> pd.DataFrame:
    chance = np.random.default_rng(0)
    n = 150
    columns: dict[str, Any] = {
        "x": chance.normal(size=n),
        "gaps": np.where(np.arange(n) % 5 == 0, np.nan, chance.normal(size=n)),
    }
    columns |= {"c": chance.choice(["red", "green"], n), "k": [f"k{i % 12}" for i in range(n)]}
    columns |= {"when": pd.to_datetime("2024-01-01") + pd.to_timedelta(np.arange(n) * 7, "h")}
    return pd.DataFrame(
        {**columns, "y": chance.normal(size=n), "z": chance.normal(size=n), "label": chance.choice(["no", "yes"], n)}
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    words: dict[str, dict[str, Any]] = {
        "number": {"target": "y", "drop": ("label", "z")},
        "classes": {"target": "label", "drop": ("y", "z"), "threshold_for": "f1"},
        "quantiles": {"target": "y", "drop": ("label", "z"), "quantiles": (0.1, 0.5, 0.9), "validation": 0.4},
        "several": {"target": ("y", "z"), "drop": ("label",)},
        "members": {"target": "y", "drop": ("label", "z"), "members": 2},
    }
    for name, each in words.items():
        mbgd.fit_table(table(), **SMALL | each).save(folder / name)
    x = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    mbgd.MBGDRegressor(hidden_layer_sizes=(2,), epochs=1).fit(frame, x[:, 0]).save(folder / "arrays")
    return {path.name: path for path in folder.iterdir()}


def forged(whole: Path, to: Path, change: Callable[[dict[str, Any]], object], *, weights: bool = False) -> Path:
    """A model file that says something else, with a digest that fits; with `weights` also tensors of its new architecture."""
    import hashlib

    header, tensors = header_of(whole)
    said = json.loads(header["__metadata__"]["mbgd"])
    said["sha256"] = BLANK
    change(said)
    if weights:
        header, tensors, at = {}, b"", 0
        for name, shape in outline(said["architecture"]).items():
            size = 4 * int(np.prod(shape))
            header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
            at += size
        tensors = bytes(at)
    header["__metadata__"] = {"mbgd": json.dumps(said)}
    data = with_header(header, tensors)
    to.write_bytes(data.replace(BLANK.encode(), hashlib.sha256(data).hexdigest().encode(), 1))
    return to


def at(*keys: Any, to: Any) -> Callable[[dict[str, Any]], object]:
    """A change of the entry at some keys: to a value, or what a function makes of it."""

    def change(said: Any) -> None:
        for key in keys[:-1]:
            said = said[key]
        said[keys[-1]] = to(copy.deepcopy(said[keys[-1]])) if callable(to) else to

    return change


def both(*changes: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda said: [change(said) for change in changes]


THRESHOLD = {"metric": "f1", "positive": 1, "probability": 0.5, "before": 0.1, "after": 0.2}
DISAGREE: dict[str, tuple[str, Callable[[dict[str, Any]], object], bool, str]] = {
    "one number less": ("number", at("architecture", "n_numbers", to=lambda n: n - 1), False,
        r"edges must have an entry for each of the 8 numbers, got 9"),
    "one number more in the network": ("number",
        both(at("architecture", "n_numbers", to=lambda n: n + 1), at("architecture", "edges", to=lambda e: [*e, []])), True,
        r"facts.encoder makes \d+ numbers of a row, the network takes \d+"),
    "a flag that the network lacks": ("number", at("facts", "encoder", "parts", 0, "flag", to=True), False,
        r"facts.encoder makes \d+ numbers of a row, the network takes \d+"),
    "a label more": ("number", at("facts", "encoder", "parts", -1, "labels", to=lambda labels: [*labels, "new"]), False,
        "facts.encoder makes codes of .* codes, the network takes those of"),
    "shared codes": ("number", at("facts", "encoder", "parts", -1, "shared", to=9), False, "facts.encoder makes codes of"),
    "codes of another order": ("number", at("architecture", "cardinalities", to=lambda each: each[::-1]), True,
        "facts.encoder makes codes of"),
    "another size of embeddings": ("number", at("architecture", "embedding_size", to=9), False, "tensor 'embeddings.0' must be"),
    "an output more": ("number", at("architecture", "n_outputs", to=2), True,
        "output_shape must be that of the network, which has 2"),
    "outputs in the facts alone": ("number", at("facts", "output_shape", to=[2]), False,
        "output_shape must be that of the network"),
    "a class more": ("classes", at("facts", "target", "classes", to=["a", "b", "c"]), False,
        "output_shape must be that of a target of 3 classes"),
    "classes of a loss of numbers": ("classes", at("facts", "loss", to="squared_error"), False,
        "facts.loss must be one of classes"),
    "numbers of a loss of classes": ("number", at("facts", "loss", to="log_loss"), False, "facts.loss must be one of numbers"),
    "a level more": ("quantiles", at("facts", "quantiles", to=[0.1, 0.5, 0.9, 0.95]), False,
        "facts.widening must be of the 1 pairs|quantiles"),
    "levels of other pairs": ("quantiles", at("facts", "quantiles", to=[0.2, 0.5, 0.8]), False,
        "facts.widening must be of the 1 pairs"),
    "a level less": ("quantiles", both(at("facts", "quantiles", to=[0.1, 0.9]), at("facts", "widening", to=None)), False,
        r"facts.quantiles must be \[3\], one an output, got 2"),
    "a target more": ("several", at("facts", "target", "several", to=lambda each: [*each, each[0]]), False,
        r"output_shape must be that of a target of 3 numbers, got \[2\]"),
    "a threshold of numbers": ("number", at("facts", "threshold", to=THRESHOLD), False,
        "facts.threshold must be of a target of two classes"),
    "a threshold of a third class": ("classes", at("facts", "threshold", "positive", to=2), False,
        "positive must be a whole number from 0 to 1"),
    "a temperature of nothing": ("classes", at("facts", "temperature", to=0), False,
        "facts.temperature must be a number of at least 0.05"),
    "a scale of nothing": ("number", at("facts", "target", "scale", to=0.0), False, "facts.target.scale must be a number above 0"),
    "a range upside down": ("number", both(at("facts", "target", "low", to=2.0), at("facts", "target", "high", to=1.0)), False,
        "facts.target.low must be at most its high"),
    "a member less": ("members", at("facts", "models", to=lambda each: each[:1]), False, "architecture must be of 1 models"),
    "an encoder that is not there": ("members", at("facts", "models", 1, "encoder", to=1), False,
        r"facts.models\[1\].encoder must be a whole number from 0 to 0, got 1"),
    "members of two targets": ("members", at("facts", "models", 1, "target", "name", to="other"), False,
        r"facts.models\[1\] must be of the target, loss and outputs that the first model has"),
    "a member of another width": ("members", at("architecture", "models", 1, "n_numbers", to=0), False, "edges must have an entry"),
    "a name more": ("arrays", at("facts", "names", to=lambda names: [*names, "d"]), False, "facts.names must be 3, one an input"),
    "an input less": ("arrays", at("architecture", "n_inputs", to=2), True, "facts.names must be 2, one an input"),
    "an encoder of arrays": ("arrays", at("facts", "kind", to="table"), False, "facts.encoder must be that of a table's model"),
    "a newer encoder": ("number", at("facts", "encoder", "version", to=2), False,
        "the encoder has format version 2, this mbgd reads 1"),
    "a newer format": ("number", at("format", to=9), False, "has format 9, this MBGD reads 2; install mbgd"),
    "a month 13": ("number", at("facts", "encoder", "parts", 2, "codes", to={"month": [1, 13]}), False,
        r"month\[1\] must be a whole number from 1 to 12, got 13"),
    "codes of 2 to the 40": ("number", at("facts", "encoder", "parts", 2, "codes", to={"hour": [1 << 40]}), False, "hour"),
    "a label twice": ("number", at("facts", "encoder", "parts", -1, "labels", to=lambda labels: [*labels[1:], labels[1]]), False,
        "labels must have each entry once"),
    "a column twice": ("number", at("facts", "encoder", "parts", to=lambda parts: [*parts, parts[0]]), False, "each column once"),
    "a column of another kind": ("number", at("facts", "encoder", "facts", 0, "kind", to="category"), False,
        "facts.encoder.facts must be of the columns that facts.encoder.parts has"),
    "a time of no unit": ("number", at("facts", "encoder", "facts", 0, "type", to="timestamp[fortnight]"), False,
        "must be the name of a type of Arrow's"),
}  # fmt: skip


@pytest.mark.parametrize("name", DISAGREE)
def test_what_disagrees_is_refused_by_every_door_with_one_sentence(
    models: dict[str, Path], tmp_path: Path, name: str
) -> None:
    which, change, weights, message = DISAGREE[name]
    path = forged(models[which], tmp_path / "m.safetensors", change, weights=weights)
    said = set()
    for door in (mbgd.load, mbgd.load_light):
        with pytest.raises(SavedFileError, match=message) as caught:
            door(path)
        said.add(str(caught.value))
    assert len(said) == 1
    assert "\n" not in said.pop()


def test_what_was_saved_is_taken_by_every_door(models: dict[str, Path]) -> None:
    for path in models.values():
        mbgd.load(path)
        mbgd.load_light(path)


@pytest.mark.parametrize(
    "words",
    [("predict", "M", "T", "--out", "OUT"), ("explain", "M", "T"), ("export", "M", "OUT.onnx"), ("info", "M"),
     ("train", "T", "--target", "y", "--init", "M", "--steps", "1", "--out", "OUT")],
    ids=lambda words: words[0],
)  # fmt: skip
def test_commands_say_it_and_leave_nothing(
    models: dict[str, Path], tmp_path: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    path = forged(models["number"], tmp_path / "m.safetensors", at("facts", "encoder", "parts", -1, "shared", to=9))
    table().to_csv(tmp_path / "t.csv", index=False)
    places = {"M": path, "T": tmp_path / "t.csv", "OUT": tmp_path / "out", "OUT.onnx": tmp_path / "out.onnx"}
    before = sorted(tmp_path.iterdir())
    assert run([str(places.get(word, word)) for word in words]) == 4
    assert "facts.encoder makes codes of" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


GREEDY = """
import resource, sys
import mbgd
from mbgd.desk.load import load
from mbgd.desk.one_row import load_light
door = {"load": load, "load_light": load_light}[sys.argv[1]]
door(sys.argv[2])  # all is imported and warm
before, cpu = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
try:
    door(sys.argv[3])
    said = "loaded"
except mbgd.SavedFileError:
    said = "refused"
after = resource.getrusage(resource.RUSAGE_SELF)
print(said, (after.ru_maxrss - before) * 1024, sum(after[:2]) - cpu)
"""
CLAIMS: dict[str, Callable[[dict[str, Any]], object]] = {
    "wide layers": at("architecture", "hidden_layer_sizes", to=[40_000, 40_000]),
    "negative counts": at("architecture", "n_numbers", to=-40_000),
    "many codes": at("architecture", "cardinalities", to=[1 << 26]),
    "uneven edges": at(
        "architecture", "edges", to=lambda e: [[k / 1e5 for k in range(90_000)], *([0.0, 1.0] for _ in e[1:])]
    ),
    "many edges": at("architecture", "edges", to=[[0.0, 1.0]] * 60_000),
    "empty objects": at("facts", "plan", to=[{}] * 100_000),
    "many labels": at("facts", "encoder", "parts", -1, "labels", to=[str(k) for k in range(200_000)]),
}


@pytest.mark.slow
@pytest.mark.parametrize("door", ["load", "load_light"])
@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_takes_no_memory_beside_the_file(
    models: dict[str, Path], tmp_path: Path, door: str, claim: str
) -> None:
    """Files of 3 KB to 4 MB that took up to 7 GB."""
    path = forged(models["number"], tmp_path / "m.safetensors", CLAIMS[claim])
    words = [sys.executable, "-c", GREEDY, door, str(models["number"]), str(path)]
    said, took, seconds = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    assert said == "refused"
    assert int(took) <= path.stat().st_size + (64 << 20)
    assert float(seconds) < 5


@pytest.mark.slow
@pytest.mark.parametrize("door", ["load", "load_light"])
def test_a_large_model_takes_its_size_once(models: dict[str, Path], tmp_path: Path, door: str) -> None:
    """120 MB of weights."""
    model = mbgd.mlp(3, hidden_layer_sizes=(5000, 6000))
    run_of = mbgd.fit(model, (torch.zeros(4, 3), torch.zeros(4)), loss="squared_error", learning_rate=0.1, steps=1)
    run_of.save(tmp_path / "m.safetensors")
    words = [sys.executable, "-c", GREEDY, door, str(models["number"]), str(tmp_path / "m.safetensors")]
    said, took, _ = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    assert said == "loaded"
    assert int(took) <= (tmp_path / "m.safetensors").stat().st_size + (64 << 20)
