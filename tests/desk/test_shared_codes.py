"""A table with a column of very many labels, from training to a row served: rare and unseen labels are known everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mbgd
from mbgd.data.encode import categories
from mbgd.errors import PlanError

N = 600
QUICK: dict[str, Any] = {"epochs": 2, "hidden_layer_sizes": (16,), "batch_size": 32, "learning_rate": 0.02}


def frame() -> pd.DataFrame:
    chance = np.random.default_rng(2)
    who = np.minimum(chance.geometric(0.02, N), 150)
    return pd.DataFrame(
        {"who": [f"w{n}" for n in who], "x": chance.normal(size=N), "y": who % 7 + chance.normal(size=N)}
    )


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> mbgd.Run:
    monkeypatch.setattr(categories, "MOST_LABELS", 20)
    return mbgd.fit_table(frame(), "y", categorical=("who",), out=tmp_path / "run", **QUICK)


def test_rare_labels_are_predicted_in_every_way_alike(run: mbgd.Run, tmp_path: Path) -> None:
    encoder = run.predictor.encoder
    assert encoder is not None
    (part,) = encoder.categories
    assert part.shared >= 10
    assert run.model.embeddings[0].shape[0] == 21 + part.shared
    assert any("have a code each, the others share" in notice for notice in encoder.notices)
    rows = pd.DataFrame({"who": ["w1", "w149", "never", "", None], "x": 0.3})
    expected = run.predict(rows)
    for model in (mbgd.load(tmp_path / "run"), mbgd.load_light(tmp_path / "run")):
        found = [model.predict_one(row) for row in rows.to_dict("records")]
        assert found == pytest.approx(expected.tolist(), rel=1e-5)
    assert expected[3] == expected[4]  # an empty cell is a missing one
    assert len(np.unique(expected)) == 4  # two labels of one code would not be told apart


def test_explain_names_a_rare_label_by_its_text(run: mbgd.Run) -> None:
    found = mbgd.explain(run, frame())
    (one,) = [one for one in found.dependence if one.column == "who"]
    assert set(one.values) <= {*frame()["who"]}


def test_onnx_has_no_hash_of_text(run: mbgd.Run, tmp_path: Path) -> None:
    with pytest.raises(PlanError) as raised:
        mbgd.export(run, tmp_path / "m.onnx")
    assert str(raised.value) == (
        "export needs a code for each label, got column 'who', whose rarer ones share codes by a hash that ONNX has no "
        "operator for; drop it and train again"
    )
    assert not (tmp_path / "m.onnx").exists()
