"""A table's rows encoded and split, ready to train a network of MBGD's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mbgd.data.encode.encoder import Encoded, Encoder, learn_encoder
from mbgd.data.encode.target import Target
from mbgd.data.encode.targets import Targets, apart
from mbgd.data.encode.weights import class_weights, row_weights
from mbgd.data.order import IntArray
from mbgd.data.places import Places
from mbgd.data.source import ArraySource, Rows, Source, row_bytes
from mbgd.data.table import Table
from mbgd.desk.hints import hints
from mbgd.desk.machine import choose_device, fits
from mbgd.desk.opened import Opened, open_rows
from mbgd.desk.parts import Held, Parts, assemble
from mbgd.desk.plan import Plan
from mbgd.desk.predictor import Predictor
from mbgd.desk.room import ROWS_OF_A_BLOCK, check_members
from mbgd.desk.sets import Sets, split_column, times_of
from mbgd.desk.table_defaults import (
    default_average,
    default_batch_size,
    default_decay,
    default_dropout,
    default_epochs,
    default_patience,
    default_rate,
)
from mbgd.errors import DataError, PlanError, plain
from mbgd.model.start import ROWS as ROWS_OF_A_START
from mbgd.model.start import start_from_data
from mbgd.model.table import TableModel
from mbgd.seeds import Purpose, hash_rows
from mbgd.step.loss import Loss, make_loss

STANDARDISED = ("squared_error", "absolute_error", "huber", "quantile")  # losses whose target is centred and scaled


@dataclass(frozen=True)
class TableRows:
    """A table as a model takes it, its sets by row number, and what was learned from the training rows."""

    name: str
    encoder: Encoder
    target: Target | Targets
    encoded: Encoded
    y: NDArray[Any]  # (n,) float64 in the target's own units, (n, T) of several targets, or int64 class codes
    w: NDArray[np.float64] | None  # of the weight column: all that is measured goes by them
    taught_w: NDArray[np.float64] | None  # those times the weights of classes: what the training loss goes by
    sets: Sets
    notices: tuple[str, ...]
    manifest: dict[str, Any]
    file_columns: tuple[str, ...]  # of a row as it stands in a file of the table
    places: tuple[Places, ...]  # of the table, the validation file and the test file, one behind the other


def read_rows(
    data: Any, plan: Plan, *, init: Predictor | None = None, as_before: Mapping[str, Any] | None = None
) -> TableRows:
    """Open, check, split and encode, as the first model trains on it. `init` is the model whose weights are taken over:
    its encoder and target are kept; `as_before` the manifest of what the data has to be."""
    return first_rows(open_rows(data, plan, init=init, as_before=as_before), plan, init=init)


def first_rows(opened: Opened, plan: Plan, *, init: Predictor | None = None) -> TableRows:
    """The rows of the first model, with notices of what looks too good or too rare in them."""
    table = opened.parts[0]
    for sets in opened.sets:
        _check_sets(table, opened.target, opened.y[0], sets)
    rows = encode_rows(opened, plan, sets=opened.sets[0], init=init)
    y, training = rows.y[: table.n_rows], rows.sets.training
    known: dict[str, Any] = {"encoder": rows.encoder, "encoded": rows.encoded, "training": training}
    hinted = [said for one, y_n in apart(rows.target, y) for said in hints(table, plan, target=one, y=y_n, **known)]
    return replace(rows, notices=(*rows.notices, *dict.fromkeys(map(plain, hinted))))


def encode_rows(opened: Opened, plan: Plan, *, sets: Sets, init: Predictor | None = None) -> TableRows:
    """The rows of one model: encoder, scale and weights are learned from its training rows alone."""
    table, y, target = opened.parts[0], opened.y[0], opened.target
    if init is None and _loss_name(plan, target) in STANDARDISED:
        target = target.fit_scale(y, sets.training)
    elif not target.classes:
        target = target.widened(y, sets.training)  # its scale is one that the weights have learned
    encoder = (None if init is None else init.encoder) or learn_encoder(
        table,
        training_rows=sets.training,
        drop=_left_out(plan),
        numeric=plan.numeric,
        categorical=plan.categorical,
        times=times_of(table, plan),
    )
    codes_and_numbers = [encoder.encode(part) for part in opened.parts]
    encoded = Encoded(
        np.concatenate([e.numbers for e in codes_and_numbers]), np.concatenate([e.codes for e in codes_and_numbers])
    )
    targets = np.concatenate(opened.y)
    w = None if plan.weight is None else np.concatenate([row_weights(part, plan.weight) for part in opened.parts])
    taught_w = _taught(w, plan, target, targets, sets)
    places = tuple(part.places for part in opened.parts)
    notices = tuple(map(plain, (*opened.notices, *encoder.notices)))
    learned = (table.name, encoder, target, encoded, targets, w, taught_w, sets, notices, opened.manifest)
    return TableRows(*learned, table.file_columns, places)


def _check_sets(table: Table, target: Target | Targets, y: NDArray[Any], sets: Sets) -> None:
    if target.classes and len(np.unique(y[sets.training])) < 2:
        only = target.classes[int(y[sets.training][0])]
        raise DataError(
            f"{table.name}: training rows must hold at least two classes, got {only!r} alone; split another way"
        )


def _left_out(plan: Plan) -> tuple[str, ...]:
    """Columns that are no inputs: dropped ones, target, weight, and the column that marks sets or groups."""
    by = split_column(plan)
    marks = (by,) if by is not None and not plan.split.startswith("time:") else ()
    return tuple(name for name in (*plan.drop, *plan.targets, plan.weight, *marks) if name is not None)


def _taught(
    w: NDArray[np.float64] | None, plan: Plan, target: Target | Targets, y: NDArray[Any], sets: Sets
) -> NDArray[np.float64] | None:
    """The weights by which rows are trained on. Scores go without those of classes: they are to hold for such data as this."""
    if plan.class_weight is None:
        return w
    if not target.classes:
        raise PlanError("class_weight belongs to classification, got a target of numbers; use a weight column instead")
    of_class = class_weights(y, plan.class_weight, training_rows=sets.training)
    return of_class if w is None else of_class * w


def _loss_name(plan: Plan, target: Target | Targets) -> str:
    name = plan.loss or ("quantile" if plan.quantiles else "log_loss" if target.classes else "squared_error")
    if not isinstance(name, str):
        raise PlanError(
            f"loss must be a name with fit_table, got {type(name).__name__}; fit(model, (X, y)) takes your own"
        )
    return name


def outputs_of(target: Target | Targets, plan: Plan) -> int:
    """One output for a number or two classes, else one a class, a quantile or a target."""
    return len(plan.quantiles) or (len(target.classes) if len(target.classes) > 2 else len(target.names))


def by_size(plan: Plan, rows: TableRows) -> Plan:
    """The plan with every `auto` made a number by the count of training rows: small tables need more passes."""
    n = len(rows.sets.training)
    batch_size = plan.batch_size if plan.batch_size != "auto" else default_batch_size(n)
    m = n if batch_size == "full" else min(int(batch_size), n)
    later, classes = plan.split.startswith("time:"), bool(rows.target.classes)
    epochs = plan.epochs if plan.epochs != "auto" else default_epochs(n, m, preset=plan.preset, later=later)
    patience = plan.patience if plan.patience != "auto" else default_patience(epochs)
    tabular, linear = plan.optimizer == "tabular", not plan.hidden_layer_sizes
    return replace(
        plan,
        number_embeddings=plan.number_embeddings and not linear,
        input_scales=plan.input_scales and not linear,
        batch_size=batch_size,
        epochs=epochs,
        patience=patience if len(rows.sets.validation) else None,
        ema_decay=plan.ema_decay if plan.ema_decay != "auto" else default_average(plan.steps, epochs, -(-n // m)),
        learning_rate=plan.learning_rate
        if plan.learning_rate != "auto"
        else default_rate(plan.optimizer, n, m, classes=classes),
        dropout=plan.dropout if plan.dropout != "auto" else default_dropout(n, classes=classes, later=later),
        weight_decay=default_decay(n) if tabular and plan.weight_decay is None else plan.weight_decay,
        loss=_loss_name(plan, rows.target),
        metric=_metric(plan, rows),
    )


def _metric(plan: Plan, rows: TableRows) -> Any:
    """What stops a training and picks its weights; None for the loss."""
    if plan.metric is None and len(plan.targets) > 1:
        return "r2"  # units do not add up
    two = len(rows.target.classes) == 2 and len(np.unique(rows.y[rows.sets.validation])) == 2
    if plan.metric is None and plan.class_weight is not None and two:
        return "roc_auc"  # probabilities are shifted by such weights, so that their log loss favours what has been learnt by heart
    return plan.metric


def new_model(rows: TableRows, plan: Plan) -> TableModel:
    """A network for these rows; its start values are a function of the seed, and of training rows for `tabular`."""
    if plan.shared_members > 1:
        m = plan.micro_batch or (plan.batch_size if isinstance(plan.batch_size, int) else ROWS_OF_A_BLOCK)
        batch_rows = min(m, len(rows.sets.training))
        with torch.device("meta"):
            check_members(_network(rows, plan), batch_rows=batch_rows, optimizer=plan.optimizer)
    model = _network(rows, plan)
    if plan.optimizer == "tabular":
        chosen = rows.sets.training
        if len(chosen) > ROWS_OF_A_START:
            lowest = np.argsort(hash_rows(chosen, seed=plan.seed, purpose=Purpose.SAMPLE), kind="stable")
            chosen = np.sort(chosen[lowest[:ROWS_OF_A_START]])
        numbers, codes = torch.from_numpy(rows.encoded.numbers[chosen]), torch.from_numpy(rows.encoded.codes[chosen])
        start_from_data(model, numbers, codes, seed=plan.seed)
    return model


def _network(rows: TableRows, plan: Plan) -> TableModel:
    return TableModel(
        rows.encoded.numbers.shape[1],
        rows.encoder.cardinalities,
        outputs_of(rows.target, plan),
        hidden_layer_sizes=plan.hidden_layer_sizes,
        dropout=plan.dropout,
        edges=rows.encoder.edges if plan.number_embeddings else (),
        scaled=plan.input_scales,
        shared_members=plan.shared_members,
        seed=plan.seed,
    )


def parts_of(
    rows: TableRows, model: Any, plan: Plan, *, training: IntArray, validation: IntArray, stop_after: int | None = None
) -> Parts:
    """What trains `model` on some of the rows."""
    device = choose_device(plan.device)
    model.to(device)
    outputs = outputs_of(rows.target, plan)
    shape = (outputs,) if outputs > 1 else ()
    loss = make_loss(
        plan.loss,
        output_shape=shape,
        label_smoothing=plan.label_smoothing,
        quantile=plan.quantile,
        huber_delta=plan.huber_delta,
        levels=plan.quantiles,
    )
    _check_kind(loss, rows.target)
    y = torch.from_numpy(rows.y if rows.target.classes else rows.target.standardise(rows.y))
    w = None if rows.taught_w is None else torch.from_numpy(rows.taught_w).float()
    x = (torch.from_numpy(rows.encoded.numbers), torch.from_numpy(rows.encoded.codes))
    source = ArraySource(Rows(x, loss.prepare(y), w))
    if fits(row_bytes(source) * source.n_rows, device):
        source = source.to(device)
    return assemble(
        model,
        source,
        plan=plan,
        loss=loss,
        output_shape=shape,
        chosen=training,
        validation=held_of(rows, source, validation) if len(validation) else None,
        device=device,
        stop_after=stop_after,
        classes=rows.target.classes,
        n_classes=max(2, len(rows.target.classes)),
        target_scale=(rows.target.center, rows.target.scale),
        target_range=(rows.target.low, rows.target.high),
    )


def held_of(rows: TableRows, source: Source, held: IntArray) -> Held:
    """Some rows of what `parts_of` trains on, with the weights that they are scored with."""
    assert isinstance(source, ArraySource)
    if rows.taught_w is not rows.w:
        w = None if rows.w is None else torch.from_numpy(rows.w).float().to(source.data.leaves()[0].device)
        source = ArraySource(replace(source.data, w=w))
    return Held(source, held)


def _check_kind(loss: Loss, target: Target | Targets) -> None:
    of_numbers = loss.kind in ("regression", "quantiles")
    if target.classes and of_numbers:
        raise PlanError(
            f"loss must be 'log_loss' or 'hinge' for the classes of {target.name!r}, got {loss.name!r}; "
            "or give task='regression'"
        )
    if not target.classes and not of_numbers:
        raise PlanError(
            f"loss must be one of numbers for the numbers of {target.name!r}, got {loss.name!r}; 'squared_error' is usual, "
            "or give task='classification'"
        )


def facts_of(rows: TableRows) -> Mapping[str, Any]:
    """What plan.json and the screen say of the data."""
    return {
        "rows": len(rows.y),
        "training_rows": len(rows.sets.training),
        "validation_rows": len(rows.sets.validation),
        "test_rows": len(rows.sets.test),
        "numbers": len(rows.encoder.number_names),
        "categories": len(rows.encoder.code_names),
        "task": rows.target.task,
        "classes": len(rows.target.classes),
    }
