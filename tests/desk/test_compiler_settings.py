"""Law: whatever Numba's environment variables say, a training ends as without them, or a sentence names the variable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import mbgd
from mbgd.desk.machine import check_compiler
from mbgd.errors import PlanError

TRAINS = """
import hashlib, torch, mbgd
from torch import nn

torch.manual_seed(0)
x = torch.randn(64, 3)
model = nn.Linear(3, 1)
run = mbgd.fit(model, (x, x[:, 0]), loss="squared_error", batch_size=8, epochs=2, seed=1)
print(run.engine, hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
"""


def trained(**environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**{n: v for n, v in os.environ.items() if not n.startswith("NUMBA_")}, **environment}
    return subprocess.run([sys.executable, "-c", TRAINS], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def plain() -> str:
    done = trained()
    assert done.stdout.startswith("fused "), done.stderr
    return done.stdout


HARMLESS = [
    "NUMBA_DISABLE_JIT=1",
    "NUMBA_CACHE_DIR=/proc/nowhere",
    "NUMBA_NUM_THREADS=999",
    "NUMBA_NUM_THREADS=garbage",
    "NUMBA_OPT=garbage",
    "NUMBA_THREADING_LAYER=garbage",
    "NUMBA_CACHE_LOCATOR_CLASSES=garbage",
]


@pytest.mark.parametrize("setting", [HARMLESS[0], *(pytest.param(s, marks=pytest.mark.slow) for s in HARMLESS[1:])])
def test_a_variable_that_is_not_for_our_kernels_changes_no_bit(plain: str, setting: str) -> None:
    done = trained(**dict([setting.split("=")]))
    assert done.stdout == plain, done.stderr


ENDS_NUMBA = {
    ("NUMBA_NUM_THREADS", "0"): "must be at least 1, got 0; unset it",
    ("NUMBA_NUM_THREADS", "-1"): "must be at least 1, got -1; unset it",
    ("NUMBA_CPU_FEATURES", "avx"): "must be LLVM's features, each behind + or -, got 'avx'; unset it",
    ("NUMBA_CPU_FEATURES", "+avx,"): "must be LLVM's features, each behind + or -, got ''; unset it",
}


@pytest.mark.parametrize(("name", "value"), ENDS_NUMBA)
def test_a_variable_that_ends_numba_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(PlanError) as told:
        mbgd.fit(nn.Linear(2, 1), (torch.ones(4, 2), torch.ones(4)), loss="squared_error", epochs=1)
    assert str(told.value) == f"{name} {ENDS_NUMBA[name, value]}"


@pytest.mark.parametrize("value", ["", "+avx", "-avx512f,+fma"])
def test_features_of_llvm_are_let_through(value: str) -> None:
    check_compiler({"NUMBA_CPU_FEATURES": value, "NUMBA_NUM_THREADS": "1"})


COMPILED_OTHERWISE = ("NUMBA_BOUNDSCHECK=1", "NUMBA_CPU_NAME=garbage", "NUMBA_OPT=0")


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting", ["NUMBA_DISABLE_JIT=1", *(pytest.param(s, marks=pytest.mark.soak) for s in COMPILED_OTHERWISE)]
)
def test_kernels_are_compiled_under_it_as_well(tmp_path: Path, plain: str, setting: str) -> None:
    """In an empty cache; other machine code may add in another order."""
    done = trained(**dict([setting.split("=")]), MBGD_CACHE_DIR=str(tmp_path))
    assert done.stdout.startswith("fused "), done.stderr
    if setting not in COMPILED_OTHERWISE:
        assert done.stdout == plain
