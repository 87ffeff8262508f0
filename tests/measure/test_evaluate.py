"""Evaluation: scikit-learn's numbers on the model's outputs, any batch size, and the model left exactly as it was."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from mbgd.data.dataset import DatasetSource
from mbgd.data.source import ArraySource, Rows, Source
from mbgd.measure.evaluate import evaluate, predict
from mbgd.step.loss import make_loss

CPU = torch.device("cpu")
N = 50


def rows(labels: int = 0, *, weighted: bool = False) -> ArraySource:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(N, 4)).astype(np.float32))
    y = torch.from_numpy(rng.integers(0, labels, N) if labels else rng.normal(size=N).astype(np.float32))
    w = torch.from_numpy(rng.gamma(1.0, size=N).astype(np.float32)) if weighted else None
    return ArraySource(Rows(x, y, w))


def outputs(model: nn.Module, source: ArraySource) -> np.ndarray:
    assert isinstance(source.data.x, Tensor)
    with torch.no_grad():
        return model(source.data.x).double().numpy()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("batch_rows", [1, 7, 50, 8192])
def test_scores_of_regression_are_in_the_units_of_the_target(batch_rows: int, weighted: bool) -> None:
    source, model = rows(weighted=weighted), nn.Linear(4, 1)
    loss = make_loss("squared_error", output_shape=(1,))
    found = evaluate(model, source, loss=loss, device=CPU, target_scale=(100.0, 20.0), batch_rows=batch_rows)
    assert source.data.y is not None
    y, p = source.data.y.double().numpy(), outputs(model, source)[:, 0]
    w = None if source.data.w is None else source.data.w.double().numpy()
    expected = {
        "loss": sk.mean_squared_error(y, p, sample_weight=w),  # standardised, as training sees it
        "rmse": 20 * sk.root_mean_squared_error(y, p, sample_weight=w),
        "r2": sk.r2_score(y, p, sample_weight=w),
        "mae": 20 * sk.mean_absolute_error(y, p, sample_weight=w),
    }
    assert found == pytest.approx(expected, rel=1e-5)  # outputs of a float32 product, in batches of other sizes
    assert next(iter(found)) == "loss"


def test_scores_are_of_predictions_clamped_to_the_range_and_of_targets_as_they_are() -> None:
    x, y = torch.tensor([[-3.0], [0.5], [9.0]]), torch.tensor([-2.0, 0.0, 4.0])
    loss = make_loss("squared_error", output_shape=(1,))
    found = evaluate(
        nn.Identity(),
        ArraySource(Rows(x, y, None)),
        loss=loss,
        device=CPU,
        target_scale=(1.0, 2.0),
        target_range=(-1, 7),
    )
    # outputs * 2 + 1 are -5, 2 and 19, clamped -1, 2 and 7; targets -3, 1 and 9
    assert found["mae"] == pytest.approx((2 + 1 + 2) / 3)
    assert found["rmse"] == pytest.approx(((4 + 1 + 4) / 3) ** 0.5)
    assert found["loss"] == pytest.approx((1 + 0.25 + 25) / 3)  # of the outputs as they are


@pytest.mark.parametrize(("n_classes", "n_outputs"), [(2, 1), (2, 2), (3, 3)])
def test_scores_of_classes_are_those_of_scikit_learn(n_classes: int, n_outputs: int) -> None:
    source, model = rows(n_classes, weighted=True), nn.Linear(4, n_outputs)
    loss = make_loss("log_loss", output_shape=(n_outputs,))
    found = evaluate(model, source, loss=loss, device=CPU, n_classes=n_classes, batch_rows=7)
    o = outputs(model, source)
    p = np.exp(np.hstack([np.zeros((N, 1)), o]) if n_outputs == 1 else o)
    p /= p.sum(1, keepdims=True)
    y, w = source.data.y, source.data.w
    expected = sk.log_loss(y, p, sample_weight=w)
    assert found["log_loss"] == pytest.approx(expected, rel=1e-5)  # float32 outputs
    assert found["loss"] == pytest.approx(expected, rel=1e-5)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y, p.argmax(1), sample_weight=w), rel=1e-6)


def test_very_sure_outputs_keep_their_log_loss() -> None:
    """At a logit of 30 a float32 probability is exactly 1, and a wrong one would seem to cost 16 in place of 30."""
    source = ArraySource(Rows(torch.full((2, 1), 30.0), torch.tensor([0, 0]), None))
    found = evaluate(nn.Identity(), source, loss=make_loss("log_loss", output_shape=(1,)), device=CPU)
    assert found["log_loss"] == pytest.approx(30, rel=1e-3)  # 1 - 1/(1 + e^-30) has three digits left in float64
    assert found["loss"] == pytest.approx(30, rel=1e-6)


@pytest.mark.parametrize("chosen", [[3, 3, 49, 0], [5], list(range(10, 40))])
def test_chosen_rows_come_in_their_order(chosen: list[int]) -> None:
    source, model = rows(weighted=True), nn.Linear(4, 1)
    loss = make_loss("squared_error", output_shape=(1,))
    wanted = np.array(chosen, np.int64)
    parts = list(predict(model, source, loss=loss, device=CPU, rows=wanted, batch_rows=3))
    prediction, y, w = (torch.cat([part[i] for part in parts]) for i in range(3))  # type: ignore[misc]  # y and w are there
    np.testing.assert_allclose(prediction, outputs(model, source)[wanted, 0], rtol=1e-5)  # float32, other batch sizes
    assert prediction.dtype == torch.float64
    assert source.data.y is not None
    assert source.data.w is not None
    assert torch.equal(y, source.data.y[wanted])
    assert torch.equal(w, source.data.w[wanted])
    subset = evaluate(model, ArraySource(source.data.map(lambda t: t[wanted])), loss=loss, device=CPU)
    assert evaluate(model, source, loss=loss, device=CPU, rows=wanted) == pytest.approx(subset, rel=1e-6, nan_ok=True)


def test_a_source_read_row_by_row_gives_the_same_scores() -> None:
    source, model = rows(2), nn.Linear(4, 1)
    assert isinstance(source.data.x, Tensor)
    assert source.data.y is not None
    loss = make_loss("log_loss", output_shape=(1,))
    by_row: Source = DatasetSource(TensorDataset(source.data.x, source.data.y))
    assert evaluate(model, by_row, loss=loss, device=CPU) == evaluate(model, source, loss=loss, device=CPU)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.modes: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.modes.append(any(module.training for module in self.modules()) or torch.is_grad_enabled())
        return self.inner(x)  # type: ignore[no-any-return]  # modules are untyped


@pytest.mark.parametrize("frozen", ["inner.1", "inner.2", ""])
def test_every_submodule_comes_back_in_its_own_mode(frozen: str) -> None:
    model, source = Net(), rows()
    if frozen:
        model.get_submodule(frozen).eval()
    modes = {name: module.training for name, module in model.named_modules()}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loss = make_loss("squared_error", output_shape=(1,))
    evaluate(model, source, loss=loss, device=CPU, batch_rows=20)
    assert model.modes == [False] * 3
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_may_be_trained_between_two_batches() -> None:
    model, source = Net(), rows()
    loss = make_loss("squared_error", output_shape=(1,))
    for _ in predict(model, source, loss=loss, device=CPU, batch_rows=20):
        assert model.training
        assert torch.is_grad_enabled()
        assert isinstance(source.data.x, Tensor)
        assert source.data.y is not None
        loss.per_row(model.inner(source.data.x), source.data.y).sum().backward()


def test_what_a_module_keeps_from_evaluation_can_be_trained_on() -> None:
    class Keeping(nn.Linear):
        kept: Tensor | None = None

        def forward(self, input: Tensor) -> Tensor:
            if self.kept is None:
                self.kept = 2 * torch.ones(1)
            return super().forward(input) * self.kept

    model, source = Keeping(4, 1), rows()
    evaluate(model, source, loss=make_loss("squared_error", output_shape=(1,)), device=CPU)
    assert isinstance(source.data.x, Tensor)
    model(source.data.x).sum().backward()
    assert model.weight.grad is not None


def test_a_failing_model_comes_back_in_its_mode() -> None:
    model = nn.Linear(9, 1)
    with pytest.raises(RuntimeError):
        evaluate(model, rows(), loss=make_loss("squared_error", output_shape=(1,)), device=CPU)
    assert model.training


def test_tuples_and_dicts_of_inputs_and_own_losses() -> None:
    class Sum(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            return a + b, b

    y = torch.arange(4.0)
    loss = make_loss(lambda output, t: (output[0] - t).abs() + output[1], output_shape=())
    for x in ((torch.ones(4), y), {"b": y, "a": torch.ones(4)}):
        found = evaluate(Sum(), ArraySource(Rows(x, y, None)), loss=loss, device=CPU, batch_rows=3)
        assert found == {"loss": 1 + 1.5}  # |1 + y - y| + y, y = 0, 1, 2, 3


def test_no_rows_give_no_numbers() -> None:
    found = evaluate(
        nn.Linear(4, 1),
        rows(),
        loss=make_loss("squared_error", output_shape=(1,)),
        device=CPU,
        rows=np.empty(0, np.int64),
    )
    assert all(math.isnan(score) for score in found.values())
