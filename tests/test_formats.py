"""Law: today's code reads what the first version wrote, and makes its rows come in the same order. See docs/formats.md.

`python tests/test_formats.py` writes the golden files: for a new format, beside the old ones, never in their place.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from mbgd.data.encode.encoder import learn_encoder
from mbgd.data.encode.target import Target
from mbgd.data.encode.targets import target_from_json
from mbgd.data.order import Cursor, draw, shuffle
from mbgd.data.table import open_table
from mbgd.desk.ensemble import Ensemble
from mbgd.desk.load import load
from mbgd.desk.one_row import load_light
from mbgd.desk.predictor import Predictor
from mbgd.measure.conformal import Widening
from mbgd.measure.threshold import Threshold
from mbgd.model.saved import load_model, restore, save_model
from mbgd.model.scaled import ScaledMLP
from mbgd.model.table import TableModel
from mbgd.record import checkpoint
from mbgd.record.history import HistoryWriter, read_history
from mbgd.seeds import Purpose, counter, hash_rows, member_seed, step_seed
from mbgd.step.loss import make_loss
from mbgd.store import write_json
from oracles import fisher_yates, halves

GOLDEN = Path(__file__).parent / "golden"
ORDER: dict[str, Any] = json.loads((GOLDEN / "order.json").read_text()) if (GOLDEN / "order.json").exists() else {}
LONGER = [(1000, 0, 0), (1000, 7, 3), (32_769, 0, 0), (70_000, 0, 1)]
MORE = 1_050_000  # rows, many blocks
FACTS = {"progress": {"steps_done": 3, "rows_seen": 96, "cursor": {"epoch": 0, "row": 96}}, "best": {"score": None}}
MODEL_FACTS = {"loss": "squared_error", "encoder": {"numbers": ["größe"]}, "scores": {"r2": 0.9, "rmse": None}}
RECORDS = [
    {"step": 3, "epoch": 0.5, "rows_seen": 96, "loss": 0.1 + 0.2, "learning_rate": 0.05},
    {"step": 6, "epoch": 1.0, "rows_seen": 192, "loss": None, "learning_rate": 0.025, "validation_rmse": 1 / 3},
]


def tensors() -> dict[str, Tensor]:
    """Written out rather than drawn: torch's generators may change."""
    return {
        "model.weight": torch.tensor([[1.5, -0.0, float("inf")], [float("nan"), 1e-45, 3.4e38]]),
        "model.buffer.count": torch.tensor(2**62),
        "optimizer.0.step": torch.tensor(3.0),
        "optimizer.0.half": torch.tensor([0.1, 65280.0]).to(torch.bfloat16),
        "average.0": torch.tensor([1 / 3, 5e-324], dtype=torch.float64),
        "best.mask": torch.tensor([True, False]),
        "best.bytes": torch.tensor([0, 255], dtype=torch.uint8),
    }


def model() -> TableModel:
    made = TableModel(1, (3, 12), 2, hidden_layer_sizes=(2,), embedding_size=2)
    with torch.no_grad():
        for number, parameter in enumerate(made.parameters()):
            parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) / 8 - number)
    return made.eval()


def inputs() -> tuple[Tensor, Tensor]:
    return torch.tensor([[1.0], [-2.0], [0.5]]), torch.tensor([[0, 0], [2, 11], [1, 5]])


def digest(rows: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(rows, "<i8").tobytes()).hexdigest()


def bits(tensor: Tensor) -> list[int]:
    return tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


# --- files of the first version ---------------------------------------------------------------------------------------


def test_a_checkpoint_of_the_first_version_is_read() -> None:
    found = checkpoint.newest(GOLDEN / "run")
    assert found is not None
    assert found.notices == ()
    assert (found.checkpoint.step, found.checkpoint.facts) == (3, FACTS)
    held = found.checkpoint.tensors
    assert {name: (t.dtype, t.shape, bits(t)) for name, t in held.items()} == {
        name: (t.dtype, t.shape, bits(t)) for name, t in tensors().items()
    }


def test_a_model_of_the_first_version_is_read_and_predicts_the_same() -> None:
    saved = load_model(GOLDEN / "run")
    assert saved.facts == MODEL_FACTS
    outputs = restore(saved)(*inputs())
    # all weights are eighths, so that every sum is exact on any machine
    assert outputs.tolist() == model()(*inputs()).tolist() == ORDER["outputs"]


def test_a_target_written_without_a_range_is_read_and_clamps_nothing() -> None:
    saved = {"name": "y", "task": "regression", "classes": [], "center": 3.0, "scale": 2.0}
    assert Target.from_json(saved).restore(np.array([-1e300, 0.5, 1e300])).tolist() == [-2e300, 4.0, 2e300]
    bounded = {**saved, "low": 2.5, "high": None}
    assert Target.from_json(bounded).restore(np.array([-1e300, 0.5, 1e300])).tolist() == [2.5, 4.0, 2e300]
    assert Target.from_json(bounded).to_json() == bounded


def test_quantiles_thresholds_and_several_targets_are_read_as_the_docs_describe() -> None:
    one = {"name": "y", "task": "regression", "classes": [], "center": 3.0, "scale": 2.0, "low": None, "high": 5.0}
    both = {"name": "y, z", "task": "regression", "several": [one, {**one, "name": "z", "scale": 1.0}]}
    read = target_from_json(both)
    assert read.restore(np.array([[0.5, 0.5], [9.0, 1.0]])).tolist() == [[4.0, 3.5], [5.0, 4.0]]
    assert read.to_json() == both
    assert target_from_json(one) == Target.from_json(one)
    saved = [{"low": 0.1, "high": 0.9, "by": 1.0, "rows": 9}, {"low": 0.25, "high": 0.75, "by": None, "rows": 0}]
    widening = Widening.from_json((0.1, 0.25, 0.5, 0.75, 0.9), saved)
    assert widening.applied(np.arange(5.0)[None]).tolist() == [[-1.0, 1.0, 2.0, 3.0, 5.0]]
    assert widening.to_json() == saved
    facts = {"metric": "f1", "positive": 0, "probability": 0.25, "before": 0.1, "after": 0.2}
    assert Threshold.from_json(facts).found(np.array([[0.25, 0.75], [0.2, 0.8]])).tolist() == [0, 1]
    assert asdict(Threshold.from_json(facts)) == facts


def test_a_history_of_the_first_version_is_read_without_its_torn_line() -> None:
    history = read_history(GOLDEN / "run" / "history.jsonl")
    assert list(history) == [{**RECORDS[0], "validation_rmse": None}, RECORDS[1]]


def test_todays_history_is_the_very_file_of_the_first_version(tmp_path: Path) -> None:
    assert (golden_run(tmp_path) / "history.jsonl").read_bytes() == (GOLDEN / "run" / "history.jsonl").read_bytes()


def test_the_layout_of_a_run_folder_is_the_one_in_the_docs(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "formats.md").read_text()
    for path in golden_run(tmp_path).rglob("*"):
        assert path.name.replace("0003", "0123") in page, path.name
    for purpose in Purpose:
        assert f"| `{purpose.name}` | {int(purpose)} |" in page


def test_several_models_of_the_first_version_are_read_and_predict_their_mean() -> None:
    """Numbers at the median are encoded as 0, so that a prediction is weight of the category and bias, by hand."""
    found = load(GOLDEN / "ensemble")
    assert isinstance(found, Ensemble)
    assert [one.temperature for one in found.predictors] == [1.0, 1.0]
    rows = pa.table({"x": [2.0, 2.0, 2.0], "c": ["a", "c", "never seen"]})
    # weights of x, a, b, c and bias: 1/8, 2/8, 3/8, 4/8 and 1, then twice as much; no prediction is above 17
    first = [(0.25 + 1) * 2 + 10, (0.5 + 1) * 2 + 10, 1 * 2 + 10]
    second = [min(x, 17.0) for x in ((0.5 + 2) * 4 + 6, (1 + 2) * 4 + 6, 2 * 4 + 6)]
    assert found.predict(rows).tolist() == [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    assert golden_ensemble().predict(rows).tolist() == found.predict(rows).tolist()


def test_a_golden_estimator_predicts_in_the_units_of_its_columns() -> None:
    found, light = load(GOLDEN / "estimator"), load_light(GOLDEN / "estimator")
    rows = np.array([[10.0, -1000.0], [14.0, -900.0], [8.0, -1050.0], [100.0, 1e9], [-1e9, -1e9]])
    # (x - center) / scale: 0 0, 2 1, -1 -1/2, beyond the bounds 3 10 and -3 -10; then (z0 / 8 + z1 / 4 + 1) * 4 + 5
    expected = [9.0, 11.0, 8.0, 20.5, -2.5]
    assert found.predict(rows).tolist() == expected
    assert [light.predict_one(row) for row in rows] == [found.predict_one(row) for row in rows] == expected


# --- the order ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epoch", ["0", "1"])
def test_the_order_of_ten_rows_is_pinned(epoch: str) -> None:
    assert shuffle(10, seed=0, epoch=int(epoch)).tolist() == ORDER["shuffle n=10 seed=0"][epoch]
    assert draw(10, seed=0, epoch=int(epoch)).tolist() == ORDER["iid n=10 seed=0"][epoch]


@pytest.mark.parametrize(("n", "seed", "epoch"), LONGER)
def test_longer_orders_are_pinned(n: int, seed: int, epoch: int) -> None:
    assert digest(shuffle(n, seed=seed, epoch=epoch)) == ORDER["sha256 of shuffle"][f"n={n} seed={seed} epoch={epoch}"]


@pytest.mark.parametrize(("n", "epoch"), [(1, 0), (2, 0), (3, 1), (10, 0), (999, 5), (1024, 0), (1025, 0), (32_768, 1)])
def test_the_order_is_the_one_that_the_docs_describe(n: int, epoch: int) -> None:
    words = halves(counter(0, Purpose.SHUFFLE, epoch))
    assert shuffle(n, seed=0, epoch=epoch).tolist() == fisher_yates(list(range(n)), words)


@pytest.mark.parametrize(("n", "epoch", "n_blocks"), [(32_769, 0, 2), (70_000, 1, 4), (MORE, 0, 64)])
def test_the_order_of_more_rows_takes_two_passes_as_the_docs_describe(n: int, epoch: int, n_blocks: int) -> None:
    stream = counter(0, Purpose.SHUFFLE, epoch)
    parts = [word >> shift & 0xFFFF for word in stream.random_raw((n + 3) // 4).tolist() for shift in (0, 16, 32, 48)]
    blocks: list[list[int]] = [[] for _ in range(n_blocks)]  # the least power of two with n_blocks * 2^15 >= n
    for row in range(n):
        blocks[parts[row] % n_blocks].append(row)
    words = halves(stream)
    expected = np.array([row for block in blocks for row in fisher_yates(block, words)])
    assert np.array_equal(shuffle(n, seed=0, epoch=epoch), expected)
    assert digest(expected) == ORDER["sha256 of shuffle"][f"n={n} seed=0 epoch={epoch}"]


def test_seeds_of_steps_and_hashes_of_rows_are_pinned() -> None:
    assert [step_seed(0, 0), step_seed(0, 1), step_seed(12345, 10**6)] == ORDER["step_seed"]
    rows = np.arange(3, dtype=np.int64)
    hashed = {p.name: hash_rows(rows, seed=1, purpose=p).tolist() for p in (Purpose.TEST_ROWS, Purpose.VALIDATION_ROWS)}
    assert hashed == ORDER["hash_rows seed=1"]
    assert [int(word) for word in counter(5, Purpose.SHUFFLE, 2).random_raw(2)] == ORDER["words seed=5 SHUFFLE epoch=2"]


def test_hashes_are_those_that_the_docs_describe() -> None:
    def mixed(z: int) -> int:
        z = (z + 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31

    for seed, number in ((0, 0), (3, 17), (2**63, 10**9)):
        start = mixed((seed + 0x9E3779B97F4A7C15) % 2**64)
        assert step_seed(seed, number) % 2**64 == mixed(mixed(start ^ 3) ^ number)
        row = hash_rows(np.array([number]), seed=seed, purpose=Purpose.TEST_ROWS)
        assert row.tolist() == [mixed(number ^ mixed(start ^ 4))]
        assert member_seed(seed, number) == (mixed(mixed(start ^ 8) ^ number) >> 1 if number else seed)


def test_a_cursor_is_an_epoch_and_a_row_and_orders_in_time() -> None:
    assert [Cursor(0, 96), Cursor(1, 0), Cursor(1, 32)] == sorted([Cursor(1, 32), Cursor(0, 96), Cursor(1, 0)])
    assert Cursor(**FACTS["progress"]["cursor"]) == Cursor(epoch=0, row=96)  # type: ignore[index]


# --- how the golden files were made -------------------------------------------------------------------------------------


def golden_run(folder: Path) -> Path:
    run = folder / "run"
    run.mkdir(parents=True)
    checkpoint.save(run, step=3, tensors=tensors(), facts=FACTS)
    writer = HistoryWriter(run / "history.jsonl")
    for record in RECORDS:
        writer.append(record)
    with (run / "history.jsonl").open("a") as file:
        file.write('{"step": 9, "epoch"')
    save_model(run / "model.safetensors", model(), facts=MODEL_FACTS)
    return run


def golden_ensemble() -> Ensemble:
    frame = pa.table({"x": [0.0, 1.0, 2.0, 3.0, 4.0], "c": ["a", "b", "a", "b", "c"]})
    models = []
    for number, (center, scale) in enumerate([(10.0, 2.0), (6.0, 4.0)], 1):
        table = open_table(frame)
        encoder = learn_encoder(table, training_rows=np.arange(5), categorical=("c",))
        made = TableModel(1, encoder.cardinalities, 1, hidden_layer_sizes=())
        last = made.body[-1]
        with torch.no_grad():
            last.weight.copy_(torch.arange(1, 5).reshape(1, 4) * number / 8)
            last.bias.fill_(float(number))
        target = Target("y", "regression", center=center, scale=scale, low=0.0, high=17.0)
        models.append(Predictor(made.eval(), make_loss("squared_error", output_shape=()), (), encoder, target))
    return Ensemble(tuple(models), {"scores": {"test": {"r2": 0.9}}})


def golden_estimator() -> Predictor:
    """What an estimator of arrays saves: columns in their own units, weights 1/8, 2/8 and a bias of 1."""
    made = ScaledMLP(2).double()
    with torch.no_grad():
        made.body[-1].weight.copy_(torch.arange(1, 3).reshape(1, 2) / 8)
        made.body[-1].bias.fill_(1.0)
    for buffer, values in ((made.center, [10.0, -1000.0]), (made.scale, [2.0, 100.0]), (made.bound, [3.0, 10.0])):
        buffer.copy_(torch.tensor(values))
    target = Target("y", "regression", center=5.0, scale=4.0)
    return Predictor(made.eval(), make_loss("squared_error", output_shape=()), (), target=target)


def golden_order() -> dict[str, Any]:
    rows = np.arange(3, dtype=np.int64)
    return {
        "shuffle n=10 seed=0": {str(e): shuffle(10, seed=0, epoch=e).tolist() for e in (0, 1)},
        "iid n=10 seed=0": {str(e): draw(10, seed=0, epoch=e).tolist() for e in (0, 1)},
        "sha256 of shuffle": {
            f"n={n} seed={s} epoch={e}": digest(shuffle(n, seed=s, epoch=e)) for n, s, e in (*LONGER, (MORE, 0, 0))
        },
        "step_seed": [step_seed(0, 0), step_seed(0, 1), step_seed(12345, 10**6)],
        "hash_rows seed=1": {
            p.name: hash_rows(rows, seed=1, purpose=p).tolist() for p in (Purpose.TEST_ROWS, Purpose.VALIDATION_ROWS)
        },
        "words seed=5 SHUFFLE epoch=2": [int(word) for word in counter(5, Purpose.SHUFFLE, 2).random_raw(2)],
        "outputs": model()(*inputs()).tolist(),
    }


if __name__ == "__main__":
    shutil.rmtree(GOLDEN, ignore_errors=True)
    golden_run(GOLDEN)
    (GOLDEN / "ensemble").mkdir()
    golden_ensemble().save(GOLDEN / "ensemble" / "model.safetensors")
    (GOLDEN / "estimator").mkdir()
    golden_estimator().save(GOLDEN / "estimator" / "model.safetensors")
    write_json(GOLDEN / "order.json", golden_order())
