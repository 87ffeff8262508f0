"""The facts that tell a run's rows from others: any changed row is found, or how many rows were looked at is said."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import nn

import mbgd
from mbgd.data.given import as_source
from mbgd.desk import fingerprint as module
from mbgd.desk.fingerprint import check_same, compared, fingerprint
from mbgd.errors import DataError

N = 20_000  # rows, five times as many as an older version looked at


def arrays(*, sparse: bool = False) -> tuple[Any, Any]:
    x = np.random.default_rng(0).standard_normal((N, 3)).astype(np.float32)
    y = np.arange(N, dtype=np.float32)
    return (sp.csr_array(x * (x > 0)) if sparse else x), y


def facts(data: Any, **how: Any) -> dict[str, Any]:
    return fingerprint(as_source(data), None, **{"seed": 0, **how})


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("row", [1, 3, N // 2, N - 2])  # none of the rows 0, 4.88, 9.77, ... of an older version
def test_one_changed_value_of_any_row_is_found(row: int, sparse: bool) -> None:
    then, (x, y) = facts(arrays(sparse=sparse)), arrays(sparse=sparse)
    check_same(then, facts((x, y), as_before=then))
    assert compared(then) == f"rows, shapes, types and the values of all {N:,} rows"
    if sparse:
        x.data[x.indptr[row]] += 1
    else:
        x[row, 1] += 1
    with pytest.raises(DataError, match="got other values"):
        check_same(then, facts((x, y), as_before=then))


def test_entries_that_move_to_the_next_row_are_other_rows() -> None:
    y = np.zeros(2, np.float32)
    a, b = (sp.csr_array((np.ones(2), [0, 1], starts), shape=(2, 3)) for starts in ([0, 1, 2], [0, 2, 2]))
    with pytest.raises(DataError, match="got other values"):
        check_same(facts((a, y)), facts((b, y)))


@pytest.mark.parametrize("sparse", [False, True])
def test_the_rows_that_are_read_together_are_no_part_of_it(sparse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    then = facts(arrays(sparse=sparse))
    monkeypatch.setattr(module, "AT_ONCE", 1000)
    assert facts(arrays(sparse=sparse)) == then


def test_of_long_rows_some_of_each_stretch_are_looked_at_and_their_number_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WHOLE", N * 16 // 4)  # a quarter of the bytes
    monkeypatch.setattr(module, "STRETCHES", 50)
    then, (x, y) = facts(arrays()), arrays()
    assert then["hashed_rows"] == N // 4
    assert compared(then) == f"rows, shapes, types and the values of {N // 4:,} of {N:,} rows, drawn over all of them"
    assert facts((x, y)) == then
    assert facts((x, y), seed=1)["sha256"] != then["sha256"]
    for start in range(0, N - 800, 371):  # two stretches of 400 rows, wherever they begin
        other = x.copy()
        other[start : start + 800] += 1
        assert facts((other, y))["sha256"] != then["sha256"]


def test_what_an_older_version_wrote_is_still_compared() -> None:
    x, y = arrays()
    spread = np.unique(np.linspace(0, N - 1, 4096).astype(np.int64))
    then = {"rows": N, "weights": False, "shapes": [[3], []], "types": ["float32", "float32"]}
    then["sha256"] = hashlib.sha256(x[spread].tobytes() + y[spread].tobytes()).hexdigest()
    check_same(then, facts((x, y), as_before=then))
    assert compared(then) == f"rows, shapes, types and the values of 4,096 of {N:,} rows, drawn over all of them"
    x[spread[5]] += 1
    with pytest.raises(DataError, match="got other values"):
        check_same(then, facts((x, y), as_before=then))
    check_same({"rows": N}, facts((x, y), as_before={"rows": N}))
    assert compared({"rows": N}) == "their rows alone, since their values were not recorded"


def test_verify_says_what_it_compared_and_finds_other_rows(tmp_path: Path) -> None:
    def net() -> nn.Module:
        torch.manual_seed(0)
        return nn.Linear(3, 1)

    x, y = arrays()
    mbgd.fit(net(), (x, y), out=tmp_path / "run", loss="squared_error", epochs=1, batch_size=1000, checkpoint_every=10)
    said = mbgd.verify(tmp_path / "run", net(), (x, y))
    assert any(
        line.startswith("the rows are what they were when the run began: rows, shapes, types and") for line in said.held
    )
    x[3] += 1
    with pytest.raises(DataError, match="got other values"):
        mbgd.verify(tmp_path / "run", net(), (x, y))
