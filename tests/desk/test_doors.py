"""Wrong and foreign words at every door: the same sentence at each, before anything is read, trained or written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import mbgd
from mbgd import DataError, PlanError
from mbgd.desk.foreign import FOREIGN
from problems import arrays, flat, mlp

N, WIDTH = 20, 3
X, Y, W = (torch.tensor(part) for part in arrays(N, WIDTH))
FRAME = pd.DataFrame({"a": np.arange(30.0), "b": np.arange(30) % 3, "y": np.arange(30.0) * 2})


def unread(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("read before the words were checked")


class Untouched:
    """Data that nobody may look at."""

    n_rows = property(unread)
    read = __len__ = __getitem__ = __iter__ = unread


DOORS: dict[str, Callable[..., Any]] = {
    "fit": lambda **words: mbgd.fit(mlp(WIDTH), Untouched(), **{"loss": "squared_error", **words}),
    "steps": lambda **words: mbgd.steps(mlp(WIDTH), Untouched(), **{"loss": "squared_error", **words}),
    "fit_table": lambda **words: mbgd.fit_table("no such file.csv", "y", **words),
}


@pytest.mark.parametrize("word", FOREIGN)
@pytest.mark.parametrize("door", DOORS)
def test_a_foreign_word_leads_to_ours(door: str, word: str) -> None:
    with pytest.raises(PlanError) as caught:
        DOORS[door](**{word: 1})
    assert str(caught.value) == f"{word!r} is not an argument of MBGD; say {FOREIGN[word]} instead"


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1 or one of 'full', 'auto', got 0; "),
        ({"learning_rate": -1}, "learning_rate must be a number above 0 or 'auto', got -1; "),
        ({"epochs": float("nan")}, "epochs must be a number above 0 or 'auto', got nan; "),
        ({"seed": 1.5}, "seed must be a whole number of at least 0, got 1.5; "),
        ({"optimizer": 3}, "optimizer must be a name or a torch.optim class, partial or instance, got 3; "),
        ({"learnin_rate": 1}, "'learnin_rate' is not an argument of MBGD; did you mean 'learning_rate'?"),
        ({"nesterov": True}, "nesterov needs momentum above 0, got momentum=0.0; give momentum=0.9"),
        (
            {"schedule": "linear"},
            "schedule must be one of 'constant', 'step', 'cosine', 'one_cycle' or a function of updates done or a "
            "torch.optim.lr_scheduler, got 'linear'; ",
        ),
        ({"device": "gpu"}, "device must be auto, cpu, cuda, cuda:1 or mps, got 'gpu'; "),
        ({"threads": 0}, "threads must be a whole number of at least 1 or 'auto', got 0; "),
    ],
    ids=str,
)
def test_a_wrong_value_is_the_same_sentence_at_every_door(door: str, words: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError) as caught:
        DOORS[door](**words)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "target", "kind", "said"),
    [
        (None, "y", DataError, "data must be "),
        (3, "y", DataError, "data must be "),
        ((X, Y), "y", DataError, "data must be "),
        (FRAME, None, PlanError, "target must name the column to predict, got none; "),
        (FRAME, 3, PlanError, "target must be a name or names, got 3; "),
        (FRAME, "x", DataError, "there is no column 'x'"),
        (FRAME[:0], "y", DataError, "there are no rows; a table needs at least one"),
        ("no such file.csv", "y", DataError, "no such file.csv: "),
    ],
    ids=["nothing", "a number", "arrays", "no target", "a number as target", "another column", "no rows", "no file"],
)
def test_a_wrong_table_is_refused_in_one_sentence_and_leaves_no_folder(
    data: Any, target: Any, kind: type[Exception], said: str, tmp_path: Path
) -> None:
    with pytest.raises(kind) as caught:
        mbgd.fit_table(data, target, out=tmp_path / "run")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", [2, np.int64(2), [2]], ids=["int", "numpy", "list"])
def test_a_column_that_a_number_names_is_given_by_its_text(name: Any) -> None:
    frame = pd.DataFrame(np.random.default_rng(0).random((60, 3)))
    said = r"^target must be a name or names, got 2; columns are named by text here, give '2'$"
    with pytest.raises(PlanError, match=said):
        mbgd.fit_table(frame, name)
    run = mbgd.fit_table(frame, "2", epochs=1, hidden_layer_sizes=())
    assert set(run.predictor.columns) == {"0", "1"}


# --- (B,) against (B, 1): squeezed or refused, never broadcast ----------------------------------------------------------


class Squeezed(nn.Module):
    """A network whose output has shape (B,)."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)[:, 0]


OF_NUMBERS = ["squared_error", "absolute_error", "huber", "quantile"]
LOSSES: dict[str, tuple[Any, Tensor]] = {
    **{name: (name, Y) for name in OF_NUMBERS},
    **{name: (name, Y.abs() + 0.1) for name in ("poisson", "gamma")},
    **{name: (name, (Y > 0).double()) for name in ("log_loss", "hinge")},
    "MSELoss": (nn.MSELoss(), Y),
    "BCEWithLogitsLoss": (nn.BCEWithLogitsLoss(), (Y > 0).double()),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_trailing_one_on_either_side_changes_no_bit(name: str) -> None:
    loss, y = LOSSES[name]
    words: Any = {"loss": loss, "batch_size": 6, "epochs": 2, "learning_rate": 0.01, "validation": 0.2}
    words["engine"] = "autograd"  # one engine for both: a module of one's own has no other
    ends, scores = [], []
    for model in (Squeezed(), mlp(WIDTH)):
        for target in (y, y[:, None]):
            fresh = type(model)() if isinstance(model, Squeezed) else mlp(WIDTH)
            run = mbgd.fit(fresh, (X, target), **words)
            ends.append(flat(fresh))
            scores.append(run.scores)
            assert run.predict(X).shape == (N,)
    assert all(torch.equal(end, ends[0]) for end in ends)
    assert all(score == scores[0] for score in scores)


@pytest.mark.parametrize("loss", [*OF_NUMBERS, nn.MSELoss(), nn.L1Loss()], ids=str)
@pytest.mark.parametrize(("outputs", "columns"), [(1, (2,)), (1, (3,)), (2, (3,)), (2, (1,)), (1, (1, 1)), (2, (2, 1))])
def test_other_shapes_are_refused_with_both(loss: Any, outputs: int, columns: tuple[int, ...]) -> None:
    y = torch.ones(N, *columns, dtype=torch.float64)
    model = nn.Linear(WIDTH, outputs).double()
    before = flat(model)
    with pytest.raises((DataError, PlanError)) as caught:
        mbgd.fit(model, (X, y), loss=loss, epochs=1)
    assert "\n" not in str(caught.value)
    assert "must" in str(caught.value)
    assert torch.equal(flat(model), before)


def test_one_target_against_several_outputs_is_refused() -> None:
    for y in (Y, Y[:, None]):
        with pytest.raises((DataError, PlanError), match="must"):
            mbgd.fit(nn.Linear(WIDTH, 4).double(), (X, y), loss="squared_error", epochs=1)
