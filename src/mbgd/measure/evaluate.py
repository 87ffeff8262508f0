"""Predict the rows of a source, or score them; the model is left as it was.

B rows of a batch
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, nan
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mbgd.data.order import IntArray
from mbgd.data.source import Rows, Source, call, mapped
from mbgd.data.source import batch_rows as rows_of_a_batch
from mbgd.data.sparse import AsTheyLie, SparseSource
from mbgd.data.stream import rows_of_a_chunk
from mbgd.measure.conformal import Widening
from mbgd.measure.metrics import Scorer, scorer
from mbgd.measure.own_metric import OwnMetric
from mbgd.measure.own_scores import OwnScorer
from mbgd.measure.threshold import Threshold
from mbgd.model.table import check_codes
from mbgd.step.evaluation import evaluating
from mbgd.step.fused.program import multiplies_first
from mbgd.step.gradient import Forward
from mbgd.step.loss import Loss

Ends = tuple[float | NDArray[np.float64], float | NDArray[np.float64]]
"""Two numbers, or two for each of several targets, (T,)."""
BATCH_ROWS = 8192  # large enough to hide Python, small enough that a hidden layer's outputs stay near the caches


def predict(
    model: nn.Module,
    source: Source,
    *,
    loss: Loss,
    device: torch.device,
    rows: IntArray | None = None,
    batch_rows: int = BATCH_ROWS,
    forward: Forward | None = None,
) -> Iterator[tuple[Any, Any, Tensor | None]]:
    """Yield (prediction, y, w) of consecutive rows, all on the CPU, predictions in float64 and as the model structures them.

    In evaluation mode and without gradients, but only while a batch is computed: whoever consumes this may train the
    model between two batches. y and w are as the source has them. `forward` computes the outputs in the model's place.
    """
    for data, output, _ in _outputs(
        model, source, loss=None, rows=rows, device=device, batch_rows=batch_rows, forward=forward
    ):
        yield _predicted(loss, output), _on_cpu(data.y), _on_cpu(data.w)


def outputs(
    model: nn.Module,
    source: Source,
    *,
    device: torch.device,
    rows: IntArray | None = None,
    batch_rows: int = BATCH_ROWS,
    forward: Forward | None = None,
) -> Iterator[tuple[Tensor, Tensor | None, Tensor | None]]:
    """As `predict`, but the model's outputs as they are: logits, where a loss would make probabilities of them."""
    for data, output, _ in _outputs(
        model, source, loss=None, rows=rows, device=device, batch_rows=batch_rows, forward=forward
    ):
        yield output.cpu().double(), _on_cpu(data.y), _on_cpu(data.w)


def evaluate(
    model: nn.Module,
    source: Source,
    *,
    loss: Loss,
    device: torch.device,
    rows: IntArray | None = None,
    n_classes: int = 2,
    target_scale: Ends = (0.0, 1.0),
    target_range: Ends = (-inf, inf),
    names: tuple[str, ...] = (),
    widening: Widening | None = None,
    threshold: Threshold | None = None,
    own: OwnMetric | None = None,
    classes: tuple[Any, ...] = (),
    batch_rows: int = BATCH_ROWS,
    forward: Forward | None = None,
) -> dict[str, float]:
    """Scores by name, weighted; "loss" first, the weighted mean of the loss of each row, as training sees it.

    y must have gone through `loss.prepare`. `target_scale` = (center, scale) takes a standardised target back to its
    own units, in which r2, rmse and mae are given, of predictions clamped to `target_range`; the loss stays in standardised
    ones, of outputs as they are. Quantiles are those after a `widening`, classes those by a `threshold`. Each target
    of several has scores under its own of `names` as well, and `own` is one of the user's, which knows labels by `classes`.
    NaN where there are no rows.
    """
    center, scale = target_scale
    scores: Scorer | None = None
    owned = (
        None
        if own is None
        else OwnScorer(own, kind=loss.kind, classes=classes, threshold=threshold, several_labels=loss.several_labels)
    )
    loss_sum = weight_sum = 0.0
    for data, output, loss_B in _outputs(
        model, source, loss=loss, rows=rows, device=device, batch_rows=batch_rows, forward=forward
    ):
        assert loss_B is not None  # it was asked for
        assert data.y is not None  # the desk refuses data without a target
        per_row = loss_B.cpu().double().numpy()
        w_B = np.ones(len(per_row)) if data.w is None else data.w.cpu().double().numpy()
        loss_sum, weight_sum = loss_sum + float(w_B @ per_row), weight_sum + float(w_B.sum())
        if loss.kind == "custom":  # what such outputs mean, nobody but the user knows
            if owned is not None:
                owned.add(mapped(_predicted(loss, output), _as_array), mapped(_on_cpu(data.y), _as_array), w_B)
            continue
        prediction, y = _predicted(loss, output).numpy(), data.y.cpu().numpy()
        by_position = loss.kind == "multiclass" and prediction.ndim > 2
        if scores is None:
            how: dict[str, Any] = {"levels": loss.levels, "threshold": threshold, "names": names}
            scores = scorer(loss.kind, n_classes, **how, ranked=not by_position)
        if loss.kind in ("regression", "quantiles"):
            prediction = np.clip(prediction * scale + center, *target_range)
            y = y.astype(np.float64) * scale + center
            prediction = prediction if widening is None else widening.applied(prediction)
        if by_position:
            prediction, y, w_B = _positions(prediction, data.y.cpu(), w_B, loss=loss)
        scores.add(prediction, y, w_B)
        if owned is not None:
            owned.add(prediction, y, w_B)
    scores = (
        scorer(loss.kind, n_classes, levels=loss.levels, threshold=threshold, names=names) if scores is None else scores
    )
    found = {"loss": loss_sum / weight_sum if weight_sum else nan, **scores.result()}
    return found if owned is None or not weight_sum else found | owned.result()


def _positions(
    p: NDArray[np.float64], y: Tensor, w_B: NDArray[np.float64], *, loss: Loss
) -> tuple[NDArray[np.float64], NDArray[Any], NDArray[np.float64]]:
    """(probabilities (N, C), labels (N,) or shares (N, C), weights (N,)) of all positions of rows with p (B, C, *), each with
    the weight of its row, those that are ignored with none."""
    n_classes, labels, shares = p.shape[1], y.numpy(), y.ndim == p.ndim
    by_class = np.moveaxis(p, 1, -1).reshape(-1, n_classes)
    flat = np.moveaxis(labels, 1, -1).reshape(-1, n_classes) if shares else labels.reshape(-1)
    w = np.ones((len(p), len(flat) // len(p)))
    if loss.label_weights is not None:
        w = loss.label_weights.each(y, torch.float64).flatten(1).numpy().astype(np.float64)
    of_row_B = w.sum(1)  # of which the weight of the row is a multiple
    return (
        by_class,
        flat,
        (w * np.divide(w_B, of_row_B, out=np.zeros_like(w_B), where=of_row_B > 0)[:, None]).reshape(-1),
    )


def losses(
    model: nn.Module,
    source: Source,
    *,
    loss: Loss,
    device: torch.device,
    rows: IntArray | None = None,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[tuple[Rows, NDArray[np.float64]]]:
    """Yield consecutive rows and the loss of each, (B,), by the model itself."""
    for data, _, loss_B in _outputs(
        model, source, loss=loss, rows=rows, device=device, batch_rows=batch_rows, forward=None
    ):
        assert loss_B is not None  # it was asked for
        yield data, loss_B.cpu().double().numpy()


def _outputs(
    model: nn.Module,
    source: Source,
    *,
    loss: Loss | None,
    rows: IntArray | None,
    device: torch.device,
    batch_rows: int,
    forward: Forward | None,
) -> Iterator[tuple[Rows, Any, Tensor | None]]:
    """Rows, the model's raw outputs and, with a loss, that of each row. Neighbouring rows are read as slices: no copy."""
    by = model if forward is None or isinstance(source, SparseSource) else forward  # kernels take dense rows
    source, batch_rows = _as_taken(model, source, batch_rows)
    n_rows = source.n_rows if rows is None else len(rows)
    for start in range(0, n_rows, batch_rows):
        wanted = slice(start, min(start + batch_rows, n_rows))
        data = source.read(wanted if rows is None else rows[wanted])
        check_codes(model, data.x)
        # no_grad: what a module caches under inference_mode could not be trained on later
        with evaluating(model), torch.no_grad():
            here = data.map(lambda leaf: leaf.to(device, non_blocking=True))
            output = call(by, here.x)
            loss_B = None if loss is None or here.y is None else loss.per_row(output, here.y)
        yield data, output, loss_B


def _as_taken(model: nn.Module, source: Source, at_once: int) -> tuple[Source, int]:
    """Sparse rows as they lie where the model multiplies them by a matrix first; else few dense ones at once. What a collate_fn
    of one's own makes comes a batch at a time."""
    if not isinstance(source, SparseSource):
        return source, min(at_once, rows_of_a_batch(source) or at_once)
    if multiplies_first(model):
        return AsTheyLie(source), BATCH_ROWS
    return source, min(at_once, rows_of_a_chunk(source))


def _predicted(loss: Loss, output: Any) -> Any:
    # In float64, where a probability within 1e-7 of 1 is not yet 1; on the CPU, since not every device has it.
    return loss.prediction(mapped(output, lambda leaf: leaf.cpu().double()))


def _as_array(leaf: Tensor) -> NDArray[Any]:
    found: NDArray[Any] = leaf.numpy()
    return found


def _on_cpu(part: Any) -> Any:
    return None if part is None else mapped(part, lambda leaf: leaf.cpu())
