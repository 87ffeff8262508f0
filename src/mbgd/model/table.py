"""Embeddings of numbers and category codes in front of a multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mbgd.errors import DataError, PlanError
from mbgd.model.body import at_least_one, body, start

ROW_BY_ROW = 10_001  # codes: of an embedding of more an update moves only the rows that have a gradient

# B rows · F numbers · E of them embedded · K bins · C category columns · H columns of ones and zeros · M members


class TableModel(nn.Module):
    """A multilayer perceptron over numbers (B, F) and category codes (B, C), int64, with code 0 for missing or unseen.

    A column of up to `one_hot_up_to` categories, code 0 not counted, becomes a column of ones and zeros for each of them
    (all zero for code 0); one of more becomes an embedding of `embedding_size` numbers, code 0 a row of its own. Of one of
    more than 10,001 codes the engines move only the rows that have a gradient, decay included (`step.rows`).

    A number with `edges` l_0 < ... < l_K stays and is embedded as well, in `number_size` numbers that bend at the edges
    and are constant beyond them (piecewise linear, Gorishniy et al. 2022, equation 1):

        e(x) = sum over j of clip((x - l_j-1) / (l_j - l_j-1), 0, 1) V_j

    With `scaled` each input of the first layer is multiplied by a number of its own (Holzmueller et al. 2024, RealMLP).

    Several `shared_members` have scales and a last layer of their own each, and share the rest; the mean of their outputs
    is the model's (TabM-mini, Gorishniy et al. 2025, section 3.3). Trained is the mean of their losses: see `of_each`.
    """

    def __init__(
        self,
        n_numbers: int,
        cardinalities: Sequence[int] = (),
        n_outputs: int = 1,
        *,
        hidden_layer_sizes: Sequence[int] = (256, 256),
        activation: str = "relu",
        dropout: float = 0.0,
        one_hot_up_to: int = 8,
        embedding_size: int = 8,
        edges: Sequence[Sequence[float]] = (),
        number_size: int = 3,
        scaled: bool = False,
        shared_members: int = 1,
        seed: int | None = 0,
    ) -> None:
        """`cardinalities`: codes of each category column, code 0 counted. `edges`: those of each number, none where it is
        not embedded; no entry at all where no number is."""
        super().__init__()
        self.n_numbers, self.cardinalities, self.n_outputs = n_numbers, tuple(cardinalities), n_outputs
        self.hidden_layer_sizes, self.activation, self.dropout = tuple(hidden_layer_sizes), activation, dropout
        self.one_hot_up_to, self.embedding_size = one_hot_up_to, at_least_one("embedding_size", embedding_size)
        self.edges, self.number_size, self.scaled = tuple(map(tuple, edges)), number_size, scaled
        self.shared_members = at_least_one("shared_members", shared_members)
        self._check_members()
        if n_numbers < 0:
            raise PlanError(f"n_numbers must be at least 0, got {n_numbers}; give the columns of the numbers")
        sizes = list(enumerate(at_least_one("cardinalities", size) for size in self.cardinalities))
        self._embedded = [column for column, size in sizes if size - 1 > one_hot_up_to]
        hot = [(column, code) for column, size in sizes if size - 1 <= one_hot_up_to for code in range(1, size)]
        bent = self._bent_numbers()
        self.width = n_numbers + number_size * len(bent) + len(hot) + embedding_size * len(self._embedded)
        if self.width < 1:
            raise PlanError("model must have at least one input, got no numbers and no categories; give it a column")
        tables = [torch.empty(self.cardinalities[column], embedding_size, device="meta") for column in self._embedded]
        self.embeddings = nn.ParameterList(nn.Parameter(table) for table in tables)
        if bent:
            most = max(len(self.edges[column]) for column in bent) - 1
            self.number_embedding = nn.Parameter(torch.empty(len(bent), most, number_size, device="meta"))
        if scaled:
            apart = (shared_members,) if shared_members > 1 else ()
            self.scale = nn.Parameter(torch.empty(*apart, self.width, device="meta"))
        layers: dict[str, Any] = {"activation": activation, "dropout": dropout, "members": shared_members}
        self.body = body(self.width, n_outputs, self.hidden_layer_sizes, **layers)
        start(self, seed)
        self._keep("_hot_column", torch.tensor([column for column, _ in hot], dtype=torch.int64))
        self._keep("_hot_code", torch.tensor([code for _, code in hot], dtype=torch.int64))
        self._keep("bent", torch.tensor(bent, dtype=torch.int64))
        self._keep("left", _padded([self.edges[column][:-1] for column in bent], 0.0))
        self._keep("per_bin", _padded([[1 / (b - a) for a, b in _bins(self.edges[column])] for column in bent], 0.0))
        self._any_hot, self._any_bent = bool(hot), bool(bent)

    def forward(self, numbers_BF: Tensor, codes_BC: Tensor) -> Tensor:
        return self.outputs(self.inputs(numbers_BF, codes_BC))

    def outputs(self, inputs_BI: Tensor) -> Tensor:
        """What it makes of the first layer's inputs: (B,) for one output, else (B, n_outputs); the mean over members."""
        if self.shared_members > 1:
            return self._of_each(inputs_BI).mean(0)
        output: Tensor = self.body(inputs_BI)
        return output.squeeze(1) if self.n_outputs == 1 else output

    def of_each(self, numbers_BF: Tensor, codes_BC: Tensor) -> Tensor:
        """What each of several members makes of the rows: (M, B) for one output, else (M, B, n_outputs)."""
        return self._of_each(self.inputs(numbers_BF, codes_BC))

    def _of_each(self, inputs_BI: Tensor) -> Tensor:
        output: Tensor = self.body(self.of_members(inputs_BI))
        return output.squeeze(2) if self.n_outputs == 1 else output

    def of_members(self, inputs_BI: Tensor) -> Tensor:
        """The inputs as each of several members scales them, (M, B, width)."""
        return inputs_BI * self.scale[:, None]

    def inputs(self, numbers_BF: Tensor, codes_BC: Tensor) -> Tensor:
        """What the first layer gets, (B, width); before the scales where several members have each their own."""
        parts = [numbers_BF]
        if self._any_bent:
            parts.append(self._embed(numbers_BF))
        if self._any_hot:  # all columns in one comparison: several times quicker than a lookup for each
            parts.append((codes_BC.index_select(1, self._hot_column) == self._hot_code).to(numbers_BF.dtype))
        for column, table in zip(self._embedded, self.embeddings, strict=True):
            parts.append(nn.functional.embedding(codes_BC[:, column], table))
        joined = torch.cat(parts, dim=1) if len(parts) > 1 else numbers_BF
        return joined * self.scale if self.scaled and self.shared_members == 1 else joined

    def origins(self) -> tuple[list[int], list[int]]:
        """Of the first layer's inputs: the numbers that the first ones are made of, the code columns of those behind."""
        bent, hot = self.bent.tolist(), self._hot_column.tolist()
        numbers = [*range(self.n_numbers), *(column for column in bent for _ in range(self.number_size))]
        return numbers, hot + [column for column in self._embedded for _ in range(self.embedding_size)]

    def _embed(self, numbers_BF: Tensor) -> Tensor:
        x_BE1 = numbers_BF.index_select(1, self.bent).unsqueeze(2)
        share_BEK = ((x_BE1 - self.left) * self.per_bin).clamp(0, 1)
        return torch.einsum("bek,eks->bes", share_BEK, self.number_embedding).flatten(1)

    def _check_members(self) -> None:
        if self.shared_members > 1 and not (self.hidden_layer_sizes and self.scaled):
            got = f"{self.hidden_layer_sizes} and scaled={self.scaled}"
            raise PlanError(f"shared_members must have hidden layers to share and scales to differ by, got {got}")

    def _bent_numbers(self) -> list[int]:
        """The numbers that are embedded."""
        if self.edges and len(self.edges) != self.n_numbers:
            demand = f"edges must have one entry for each of the {self.n_numbers} numbers"
            raise PlanError(f"{demand}, got {len(self.edges)}; an empty one leaves a number as it is")
        for edges in self.edges:
            if edges and (len(edges) < 2 or any(b <= a for a, b in _bins(edges))):
                raise PlanError(f"edges must rise, two at least, got {list(edges)[:4]}; leave out what is equal")
        return [column for column, edges in enumerate(self.edges) if edges]

    def _keep(self, name: str, values: Tensor) -> None:
        """A buffer that follows the model to a device, and that the architecture makes again."""
        self.register_buffer(name, values, persistent=False)

    _hot_column: Tensor
    _hot_code: Tensor
    bent: Tensor
    left: Tensor
    per_bin: Tensor


def check_codes(model: nn.Module, x: Any) -> None:
    """Raises DataError for codes that a `TableModel` has no column or place for; `x` is what its forward takes, as a tuple or by
    name, and would take some of them for others. Another model's inputs are its own affair."""
    if not isinstance(model, TableModel) or len(x) < 2:
        return
    codes_BC: Tensor = x["codes_BC" if isinstance(x, dict) else 1]
    n_columns = len(model.cardinalities)
    if codes_BC.ndim != 2 or codes_BC.shape[1] != n_columns or codes_BC.is_floating_point():
        columns = codes_BC.shape[1] if codes_BC.ndim == 2 else "no"
        raise DataError(
            f"codes must be whole numbers in {n_columns} columns, one for each of the model's cardinalities, got "
            f"{str(codes_BC.dtype).removeprefix('torch.')} in {columns} columns; give the columns of training"
        )
    limits_C = torch.tensor(model.cardinalities, dtype=torch.int64, device=codes_BC.device)
    outside_BC = (codes_BC < 0) | (codes_BC >= limits_C)
    if bool(outside_BC.any()):
        row, column = outside_BC.nonzero()[0].tolist()
        raise no_place(int(codes_BC[row, column]), column, model.cardinalities[column])


def no_place(code: int, column: int, cardinality: int) -> DataError:
    """What to say of a code that a model has no place for."""
    return DataError(
        f"codes must lie within 0 to {cardinality - 1} in column {column}, got {code}; give the model a larger cardinality, "
        "or 0 for what it does not know"
    )


def moves_by_rows(table: Tensor) -> bool:
    """Whether an update moves only the rows of an embedding that have a gradient."""
    return len(table) > ROW_BY_ROW


def _bins(edges: Sequence[float]) -> list[tuple[float, float]]:
    return list(pairwise(edges))


def _padded(rows: Sequence[Sequence[float]], value: float) -> Tensor:
    """(E, K) in torch's own floating type, the shorter rows filled up."""
    most = max((len(row) for row in rows), default=0)
    return torch.tensor([[*row, *[value] * (most - len(row))] for row in rows]).reshape(len(rows), most)
