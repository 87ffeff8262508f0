"""`mbgd export`: one file that another runtime reads, whole or not at all; each mistake one line."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pandas as pd
import pytest

import mbgd as package
from command import Command


def test_a_run_is_exported_and_predicts_alike(mbgd: Command, runs: Path, tables: Path) -> None:
    said = mbgd("export", runs / "number", "m.onnx")
    assert (said.code, said.out, said.err) == (0, "saved m.onnx\n", "")
    data, session = pd.read_csv(tables / "new.csv"), onnxruntime.InferenceSession("m.onnx")
    given = {name: data[name].to_numpy()[:, None] for name in ("x", "z")} | {"c": data["c"].to_numpy(object)[:, None]}
    found = session.run(["prediction"], given)[0]
    assert found == pytest.approx(package.load(runs / "number").predict(data), rel=1e-5, abs=1e-5)


def test_an_existing_file_and_a_wrong_name_are_refused(mbgd: Command, runs: Path) -> None:
    Path("m.onnx").write_text("mine")
    for words, line in (
        (("m.onnx",), "out must be a new file, got m.onnx, which exists; --force replaces it"),
        (("m.json",), "path must end with .onnx, got m.json; name it model.onnx"),
    ):
        said = mbgd("export", runs / "label", *words)
        assert (said.code, said.out, said.err) == (2, "", f"mbgd: error: {line}\n")
    assert Path("m.onnx").read_text() == "mine"
    assert mbgd("export", runs / "label", "m.onnx", "--force").code == 0
    assert [one.name for one in onnxruntime.InferenceSession("m.onnx").get_outputs()] == ["label", "probabilities"]
