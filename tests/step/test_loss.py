"""Losses: one value a row, equal to a scalar formula written by hand, stable, never broadcast, and bad targets named."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import hinge_loss, log_loss, mean_gamma_deviance, mean_pinball_loss, mean_poisson_deviance
from torch import Tensor, nn
from torch.nn import functional

from mbgd.errors import DataError, PlanError
from mbgd.step.loss import LOSSES, Loss, make_loss

FLOAT64 = 1e-12  # relative: a handful of float64 roundings of 1e-16 each


def python_row(name: str, o: float, y: float) -> float:
    """The loss of one row by the definition, in plain Python; naive where the library must be stable."""
    match name:
        case "squared_error":
            return (o - y) * (o - y)
        case "absolute_error":
            return abs(o - y)
        case "huber":
            r = abs(o - y)
            return 0.5 * r * r if r < 1.7 else 1.7 * r - 0.5 * 1.7 * 1.7
        case "quantile":
            return 0.8 * (y - o) if y > o else 0.2 * (o - y)
        case "poisson":
            return math.exp(o) - y * o
        case "gamma":
            return o + y / math.exp(o)
        case "log_loss":
            p = 1 / (1 + math.exp(-o))
            return -(y * math.log(p) + (1 - y) * math.log(1 - p))
        case "hinge":
            return max(0.0, 1 - o) if y == 1 else max(0.0, 1 + o)
    raise AssertionError(name)


def loss_of(name: str, output_shape: tuple[int, ...], **settings: float) -> Loss:
    more = {"huber": {"huber_delta": 1.7}, "quantile": {"quantile": 0.8}}.get(name, {})
    return make_loss(name, output_shape=output_shape, dtype=torch.float64, **{**more, **settings})


def target_for(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    if name in ("log_loss", "hinge"):
        return torch.from_numpy(rng.integers(0, 2, shape))
    values = rng.normal(size=shape)
    return torch.from_numpy(np.abs(values) + 0.1 if name in ("poisson", "gamma") else values)


ONE_OUTPUT = [name for name in LOSSES if name != "cross_entropy"]
ELEMENTWISE = [name for name in ONE_OUTPUT if name not in ("log_loss", "hinge")]
SEVERAL = ("log_loss", "cross_entropy", "hinge")


@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("name", ONE_OUTPUT)
def test_each_row_has_the_loss_of_the_scalar_definition(name: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    output, y = torch.from_numpy(rng.normal(size=40) * 2), target_for(name, (40,), rng)
    loss = loss_of(name, shape)
    expected = [python_row(name, o, t) for o, t in zip(output.tolist(), y.tolist(), strict=True)]
    found = loss.per_row(output.reshape(40, *shape), loss.prepare(y.reshape(40, *shape)))
    assert found.shape == (40,)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=FLOAT64, atol=FLOAT64)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_several_outputs_are_averaged_within_their_row(name: str) -> None:
    rng = np.random.default_rng(2)
    output, y = torch.from_numpy(rng.normal(size=(7, 3))), target_for(name, (7, 3), rng)
    loss = loss_of(name, (3,))
    expected = [
        math.fsum(python_row(name, o, t) for o, t in zip(os, ts, strict=True)) / 3
        for os, ts in zip(output.tolist(), y.tolist(), strict=True)
    ]
    found = loss.per_row(output, loss.prepare(y))
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=FLOAT64, atol=FLOAT64)


def test_losses_of_classes_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    output, y = rng.normal(size=(60, 5)) * 3, rng.integers(0, 5, 60)
    shares = np.exp(output) / np.exp(output).sum(1, keepdims=True)
    oracle = {
        "log_loss": lambda i: log_loss(y[i], shares[i], labels=range(5)),
        "hinge": lambda i: hinge_loss(y[i], output[i], labels=range(5)),
    }
    for name in SEVERAL:
        loss = loss_of(name, (5,))
        found = loss.per_row(torch.from_numpy(output), loss.prepare(torch.from_numpy(y)))
        expected = [oracle[loss.name]([i]) for i in range(60)]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)  # scikit-learn's clipping and renormalising


def test_poisson_gamma_and_quantile_differ_from_scikit_learn_by_a_term_of_y_alone() -> None:
    rng = np.random.default_rng(4)
    y, first, second = rng.gamma(2.0, size=30), rng.normal(size=30), rng.normal(size=30)
    halves = {"poisson": mean_poisson_deviance, "gamma": mean_gamma_deviance}
    for name, deviance in halves.items():
        loss = loss_of(name, ())
        ours = [float(loss.per_row(torch.from_numpy(o), torch.from_numpy(y)).mean()) for o in (first, second)]
        theirs = [deviance(y, np.exp(o)) / 2 for o in (first, second)]
        assert ours[0] - ours[1] == pytest.approx(theirs[0] - theirs[1], rel=1e-10)  # a difference of numbers near 3
    pinball = loss_of("quantile", (), quantile=0.9).per_row(torch.from_numpy(first), torch.from_numpy(y)).mean()
    assert float(pinball) == pytest.approx(mean_pinball_loss(y, first, alpha=0.9), rel=FLOAT64)


@pytest.mark.parametrize(("name", "shape"), [*((n, ()) for n in ONE_OUTPUT), *((n, (4,)) for n in SEVERAL)])
def test_gradients_are_those_of_finite_differences(name: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    output = torch.from_numpy(rng.normal(size=(25, *shape)))
    loss = loss_of(name, shape)
    y = torch.from_numpy(rng.integers(0, 4, 25)) if shape else target_for(name, (25,), rng)
    prepared = loss.prepare(y)
    moving = output.clone().requires_grad_()
    loss.per_row(moving, prepared).sum().backward()
    assert moving.grad is not None
    h = 1e-6  # error h^2 from curvature, 1e-16 / h from rounding: both below 1e-9; no kink lies that near, by the seed
    for place in np.ndindex(*output.shape):
        ends = []
        for side in (-h, h):
            shifted = output.clone()
            shifted[place] += side
            ends.append(float(loss.per_row(shifted, prepared)[place[0]]))
        assert float(moving.grad[place]) == pytest.approx((ends[1] - ends[0]) / (2 * h), abs=1e-8)


@pytest.mark.parametrize("magnitude", [1e4, -1e4])
@pytest.mark.parametrize(("name", "shape"), [("log_loss", ()), ("hinge", ()), *((n, (3,)) for n in SEVERAL)])
def test_extreme_outputs_give_finite_losses_and_gradients(name: str, shape: tuple[int, ...], magnitude: float) -> None:
    output = torch.zeros(2, *shape)
    output.reshape(2, -1)[:, 0] = magnitude
    output.requires_grad_()
    loss = make_loss(name, output_shape=shape)
    value = loss.per_row(output, loss.prepare(torch.tensor([0, 1])))
    value.sum().backward()
    assert output.grad is not None
    assert torch.isfinite(value).all()
    assert torch.isfinite(output.grad).all()
    assert float(value.detach().max()) == pytest.approx(
        1e4, rel=1e-3
    )  # the wrong label costs the logit itself (plus 1 for hinge)


def test_label_smoothing_is_the_loss_against_the_smoothed_shares() -> None:
    rng = np.random.default_rng(6)
    logits, y, eps = torch.from_numpy(rng.normal(size=(20, 4))), torch.from_numpy(rng.integers(0, 4, 20)), 0.3
    log_p = np.log(np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True))
    share = np.full((20, 4), eps / 4)
    share[np.arange(20), y.numpy()] += 1 - eps
    found = make_loss("log_loss", output_shape=(4,), label_smoothing=eps).per_row(logits, y)
    np.testing.assert_allclose(found, -(share * log_p).sum(1), rtol=1e-12)
    # one logit o is the two logits (0, o): the same smoothing must give the same loss
    one = make_loss("log_loss", output_shape=(), label_smoothing=eps).per_row(logits[:, 0], y % 2)
    pair = torch.stack([torch.zeros(20, dtype=torch.float64), logits[:, 0]], 1)
    two = make_loss("log_loss", output_shape=(2,), label_smoothing=eps).per_row(pair, y % 2)
    torch.testing.assert_close(one, two, rtol=FLOAT64, atol=FLOAT64)


@given(
    name=st.sampled_from(ONE_OUTPUT),
    rows=st.integers(1, 6),
    trailing_o=st.sampled_from([(), (1,)]),
    trailing_y=st.sampled_from([(), (1,)]),
)
def test_a_trailing_one_is_squeezed_and_never_broadcast(
    name: str, rows: int, trailing_o: tuple[int, ...], trailing_y: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(rows)
    output, y = torch.from_numpy(rng.normal(size=rows)), target_for(name, (rows,), rng)
    loss = loss_of(name, trailing_o)
    flat = loss.per_row(output, loss.prepare(y))
    assert flat.shape == (rows,)
    shaped_o, shaped_y = output.reshape(rows, *trailing_o), y.reshape(rows, *trailing_y)
    assert torch.equal(loss.per_row(shaped_o, loss.prepare(shaped_y)), flat)
    assert torch.equal(loss.per_row(shaped_o, shaped_y), flat)  # batch by batch, where no whole y could be prepared


@given(
    name=st.sampled_from(LOSSES),
    outputs=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    ys=st.lists(st.integers(1, 4), min_size=1, max_size=3),
)
def test_any_two_shapes_give_one_value_a_row_or_an_error_with_both(
    name: str, outputs: list[int], ys: list[int]
) -> None:
    output, y = torch.zeros(outputs), torch.ones(ys, dtype=torch.int64)
    y_shape = tuple(ys[:1]) if len(ys) == 2 and ys[1] == 1 else tuple(ys)
    for shape in {(), tuple(outputs[1:])}:
        try:
            loss = make_loss(name, output_shape=shape)
        except PlanError:
            assert name in SEVERAL
            continue
        classes = loss.kind == "multiclass"
        one = len(outputs) == 1 or tuple(outputs[1:]) == (1,)
        fits = y_shape == ((outputs[0],) if classes or one else tuple(outputs)) and (one or shape != ())
        if fits:
            assert loss.per_row(output, y).shape == (outputs[0],)
        else:
            with pytest.raises(DataError) as error:
                loss.per_row(output, y)
            assert str(tuple(outputs)) in str(error.value)
            assert str(tuple(ys)) in str(error.value)


@pytest.mark.parametrize("output_dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("y_dtype", [torch.float32, torch.float64, torch.int64, torch.bool])
def test_targets_of_another_dtype_do_not_change_that_of_the_loss(
    output_dtype: torch.dtype, y_dtype: torch.dtype
) -> None:
    y = torch.tensor([0, 1, 1]).to(y_dtype)
    for name in ("squared_error", "log_loss", "quantile"):
        assert make_loss(name, output_shape=()).per_row(torch.zeros(3, dtype=output_dtype), y).dtype == output_dtype


@pytest.mark.parametrize("y", [[0, 1, 1], [0.0, 1.0, 1.0], [False, True, True]])
@pytest.mark.parametrize("shape", [(), (1,), (2,)])
def test_labels_of_any_dtype_work_with_one_output_and_with_two(shape: tuple[int, ...], y: list[float]) -> None:
    loss = make_loss("log_loss", output_shape=shape)
    prepared = loss.prepare(torch.tensor(y))
    assert prepared.dtype == (torch.int64 if shape == (2,) else torch.float32)
    torch.testing.assert_close(loss.per_row(torch.zeros(3, *shape), prepared), torch.full((3,), math.log(2)))


def test_float_labels_that_nobody_has_prepared_are_refused_in_a_batch() -> None:
    with pytest.raises(
        DataError, match=r"y must hold class labels as integers, got torch.float32; convert it with y.long\(\)"
    ):
        make_loss("log_loss", output_shape=(2,)).per_row(torch.zeros(2, 2), torch.tensor([0.0, 0.5]))


def test_prepare_keeps_float64_where_the_model_has_it() -> None:
    y = torch.tensor([1 / 3], dtype=torch.float64)
    assert torch.equal(make_loss("squared_error", output_shape=(), dtype=torch.float64).prepare(y), y)
    assert make_loss("squared_error", output_shape=()).prepare(y).dtype == torch.float32


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("name", "shape", "y", "words"),
    [
        ("log_loss", (3,), [0, 2, 3], "y must hold class labels 0 to 2 for a model with 3 outputs, got 3 in row 2; "),
        ("cross_entropy", (2,), [0, -1], "got -1 in row 1"),
        ("hinge", (2,), [0, 1, 7], "got 7 in row 2"),
        ("log_loss", (3,), [0.0, 1.5], "whole class labels, got 1.5 in row 1"),
        ("log_loss", (3,), [0.0, NAN], "y must be finite in float32, got nan in row 1"),
        ("log_loss", (), [0, 1, 2], "got 2 in row 2; for more than two classes give the model one output a class"),
        ("log_loss", (), [-1, 1, 1], "got -1 in row 0; for labels -1 and 1 pass (y + 1) / 2"),
        ("hinge", (1,), [0.0, 0.5], "y must be 0 or 1 for loss='hinge' with one output, got 0.5 in row 1"),
        ("log_loss", (1,), [0.0, NAN], "got nan in row 1"),
        ("squared_error", (), [0.0, 1.0, NAN], "y must be finite in float32, got nan in row 2; leave that row out"),
        ("squared_error", (), [INF], "got inf in row 0"),
        ("squared_error", (2,), [[0.0, 1.0], [0.0, NAN]], "got nan in row 1, column 1"),
        ("poisson", (), [1.0, -2.0], "y must be at least 0 for loss='poisson', got -2 in row 1"),
        ("gamma", (), [1.0, 0.0], "y must be above 0 for loss='gamma', got 0 in row 1"),
        (
            "squared_error",
            (),
            [[1.0, 2.0]],
            "y must have shape (n,) for loss='squared_error' and outputs of shape (n,), got (n, 2)",
        ),
        ("squared_error", (2,), [1.0, 2.0], "outputs of shape (n, 2), got (n,); the model must give one output a row"),
        ("log_loss", (2,), [[0, 1], [1, 0]], "got (n, 2); for one-hot rows pass y.argmax(1)"),
    ],
)
def test_a_target_that_does_not_fit_is_named(name: str, shape: tuple[int, ...], y: list[float], words: str) -> None:
    with pytest.raises(DataError) as error:
        make_loss(name, output_shape=shape).prepare(torch.tensor(y))
    assert words in str(error.value)


def test_a_float64_too_large_for_float32_is_named() -> None:
    with pytest.raises(DataError, match=r"y must be finite in float32, got 1e\+300 in row 1"):
        make_loss("squared_error", output_shape=()).prepare(torch.tensor([0.0, 1e300], dtype=torch.float64))


def test_finite_targets_whose_sum_overflows_are_taken() -> None:
    make_loss("squared_error", output_shape=()).prepare(torch.full((4,), 3e38))


@pytest.mark.parametrize(
    ("spec", "settings", "words"),
    [
        ("mse", {}, "loss must be a known name, got 'mse'; here it is called 'squared_error'"),
        ("binary_crossentropy", {}, "'log_loss'"),
        ("BCE", {}, "'log_loss'"),
        ("mae", {}, "'absolute_error'"),
        ("hinge-loss", {}, "'hinge'"),
        ("squared_eror", {}, "did you mean 'squared_error'?"),
        ("zzz", {}, "known are squared_error, "),
        ("cross_entropy", {}, "must have one output a class, at least 2, got outputs of shape ('B',)"),
        (3, {}, "loss must be a name, a torch.nn loss or a callable, got int"),
        ("log_loss", {"label_smoothing": 1.0}, "label_smoothing must be at least 0 and below 1, got 1"),
        (
            "squared_error",
            {"label_smoothing": 0.1},
            "label_smoothing belongs to loss='log_loss', got loss='squared_error'",
        ),
        ("quantile", {"quantile": 0.0}, "quantile must be above 0 and below 1, got 0"),
        ("huber", {"huber_delta": NAN}, "huber_delta must be above 0 and finite, got nan"),
        (nn.MSELoss(), {"quantile": 0.9}, "quantile belongs to loss='quantile', got loss=MSELoss"),
        (nn.MSELoss(reduction="sum"), {}, "loss=MSELoss must not be a sum over the batch"),
        (nn.TripletMarginLoss(), {}, "got torch's TripletMarginLoss; pass a callable"),
        (nn.CrossEntropyLoss(), {}, "loss=CrossEntropyLoss must have one output a class"),
        (
            nn.BCEWithLogitsLoss(weight=torch.ones(32)),
            {},
            "loss=BCEWithLogitsLoss must have weight of the shape of one row's",
        ),
    ],
)
def test_a_loss_that_cannot_be_is_refused_by_name(spec: object, settings: dict[str, float], words: str) -> None:
    with pytest.raises(PlanError) as error:
        make_loss(spec, output_shape=(), **settings)  # type: ignore[arg-type]  # a wrong type is one of the cases
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.CrossEntropyLoss(weight=torch.ones(4)), "must have weight with one number a class, 3, got shape (4,)"),
        (
            nn.CrossEntropyLoss(weight=torch.tensor([1.0, 0.0, 1.0]), label_smoothing=0.1),
            "must have weight above 0 where labels are smoothed, got 0; ignore_index leaves out a class",
        ),
        (nn.CosineEmbeddingLoss(), "pass a callable loss(output, y) that returns one value a row"),
    ],
)
def test_settings_that_are_not_per_row_are_refused_by_name(module: nn.Module, words: str) -> None:
    with pytest.raises(PlanError) as error:
        make_loss(module, output_shape=(3,))
    assert words in str(error.value)


REAL = [nn.MSELoss(), nn.L1Loss(), nn.SmoothL1Loss(beta=0.5), nn.HuberLoss(delta=0.7), nn.SoftMarginLoss()]
SHARES = [nn.BCEWithLogitsLoss(), nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0))]


@pytest.mark.parametrize("shape", [(), (1,), (3,)])
@pytest.mark.parametrize("module", [*REAL, *SHARES, nn.PoissonNLLLoss(full=True)], ids=lambda m: type(m).__name__)
def test_the_mean_of_a_remade_module_is_the_module_itself(module: nn.Module, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(7)
    output, y = torch.from_numpy(rng.normal(size=(9, *shape))), torch.from_numpy(rng.integers(0, 2, (9, *shape)))
    loss = make_loss(module, output_shape=shape, dtype=torch.float64)
    value = loss.per_row(output, loss.prepare(y))
    assert value.shape == (9,)
    torch.testing.assert_close(value.mean(), module(output, y.double()), rtol=FLOAT64, atol=FLOAT64)
    assert module.reduction == "mean"  # the user's own instance is left alone


@pytest.mark.parametrize(
    "module", [nn.CrossEntropyLoss(label_smoothing=0.2), nn.NLLLoss(), nn.MultiMarginLoss(margin=2)]
)
def test_the_mean_of_a_remade_class_loss_is_the_module_itself(module: nn.Module) -> None:
    rng = np.random.default_rng(8)
    output, y = torch.from_numpy(rng.normal(size=(9, 4))).log_softmax(1), torch.from_numpy(rng.integers(0, 4, 9))
    loss = make_loss(module, output_shape=(4,))
    assert loss.kind == "multiclass"
    torch.testing.assert_close(loss.per_row(output, loss.prepare(y)).mean(), module(output, y), rtol=FLOAT64, atol=0)


@pytest.mark.parametrize("make", [nn.CrossEntropyLoss, nn.NLLLoss])
def test_class_weights_of_a_module_come_out_as_weights_of_rows(make: Callable[..., nn.Module]) -> None:
    rng = np.random.default_rng(9)
    weight = torch.tensor([1.0, 5.0, 0.2], dtype=torch.float64)
    output, y = torch.from_numpy(rng.normal(size=(9, 3))).log_softmax(1), torch.from_numpy(rng.integers(0, 3, 9))
    loss = make_loss(make(weight=weight), output_shape=(3,))
    assert loss.label_weights is not None
    w = loss.label_weights.of_rows(y, torch.float64)
    assert torch.equal(w, weight[y])
    mean = (w * loss.per_row(output, y)).sum() / w.sum()  # torch's own weighted mean over one batch
    torch.testing.assert_close(mean, make(weight=weight)(output, y), rtol=FLOAT64, atol=0)


@pytest.mark.parametrize("reduction", ["mean", "batchmean"])
def test_divergence_of_kullback_and_leibler_follows_its_own_reduction(reduction: str) -> None:
    rng = np.random.default_rng(10)
    output = torch.from_numpy(rng.normal(size=(6, 3))).log_softmax(1)
    y = torch.from_numpy(rng.dirichlet(np.ones(3), 6))
    value = make_loss(nn.KLDivLoss(reduction=reduction), output_shape=(3,), dtype=torch.float64).per_row(output, y)
    whole = float((y * (y.log() - output)).sum())
    assert float(value.sum()) == pytest.approx(whole / (3 if reduction == "mean" else 1), rel=FLOAT64)


def test_functions_of_torch_stand_for_their_modules() -> None:
    output, y = torch.tensor([[1.0], [2.0]]), torch.tensor([0.0, 0.0])
    value = make_loss(functional.mse_loss, output_shape=(1,)).per_row(output, y)
    assert value.tolist() == [1.0, 4.0]


class OwnModule(nn.Module):
    def forward(self, output: Tensor, y: Tensor) -> Tensor:
        return (output[:, 0] - y).abs()


def test_a_callable_returns_one_value_a_row() -> None:
    output, y = torch.tensor([[1.0], [4.0]]), torch.tensor([0.0, 1.0])
    for own in (OwnModule(), lambda o, t: (o[:, 0] - t).abs(), lambda o, t: (o - t[:, None]).abs()):
        loss = make_loss(own, output_shape=(1,))
        assert loss.kind == "custom"
        assert loss.per_row(output, loss.prepare(y)).tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (lambda o, y: ((o - y) ** 2).mean(), "loss must return one value a row, shape (B,), got a single number"),
        (lambda o, y: 0.0, "reduction='none'"),
        (lambda o, y: (o - y) ** 2, "shape (2,), got (2, 2) from outputs (2, 1) and y (2,)"),
    ],
)
def test_a_callable_that_reduces_or_broadcasts_is_refused(own: Callable[[Tensor, Tensor], Tensor], words: str) -> None:
    with pytest.raises(PlanError) as error:
        make_loss(own, output_shape=(1,)).per_row(torch.zeros(2, 1), torch.zeros(2))
    assert words in str(error.value)


def test_targets_of_a_callable_are_left_as_they_are_but_never_missing() -> None:
    prepare = make_loss(OwnModule(), output_shape=(1,)).prepare
    assert prepare(torch.zeros(3, 2, dtype=torch.int32)).dtype == torch.int32
    assert prepare(torch.zeros(3, dtype=torch.float64)).dtype == torch.float32
    with pytest.raises(DataError, match="y must not be missing, got nan in row 1"):
        prepare(torch.tensor([0.0, NAN]))


def test_predictions_are_means_or_probabilities() -> None:
    o = torch.tensor([[0.0], [2.0]])
    half = torch.tensor([0.5, 1 / (1 + math.exp(-2))])
    torch.testing.assert_close(make_loss("log_loss", output_shape=(1,)).prediction(o), half)
    torch.testing.assert_close(make_loss(nn.BCEWithLogitsLoss(), output_shape=(1,)).prediction(o), half)
    assert make_loss("squared_error", output_shape=(1,)).prediction(o).tolist() == [0.0, 2.0]
    torch.testing.assert_close(make_loss("gamma", output_shape=(1,)).prediction(o), torch.tensor([1.0, math.exp(2)]))
    both = make_loss("cross_entropy", output_shape=(2,)).prediction(torch.tensor([[0.0, 2.0]]))
    torch.testing.assert_close(both, torch.stack([1 - half[1:], half[1:]], 1))
    assert make_loss("cross_entropy", output_shape=(2,)).name == "log_loss"


def test_the_minimum_of_each_loss_is_where_its_prediction_says() -> None:
    """Over a constant output the best prediction is the mean of y (log links too), its median or its quantile."""
    y = torch.tensor([1.0, 2.0, 3.0, 10.0, 4.0], dtype=torch.float64)
    best = {"squared_error": 4.0, "poisson": 4.0, "gamma": 4.0, "absolute_error": 3.0, "quantile": 4.0}
    for name, expected in best.items():
        loss = loss_of(name, (), **({"quantile": 0.7} if name == "quantile" else {}))
        grid = torch.linspace(-1, 11, 12001, dtype=torch.float64)
        means = loss.per_row(grid.repeat_interleave(5), y.repeat(12001)).reshape(-1, 5).mean(1)
        at = float(loss.prediction(grid[means.argmin()]))
        assert at == pytest.approx(
            expected, abs=5e-3
        )  # half a step of the grid, stretched by the exponential's slope of 4
