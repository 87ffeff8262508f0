from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from command import Command

TRAINS = """
import torch
from torch import nn
import mbgd

torch.set_num_threads(1)
curves = [nn.ReLU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Tanh(), nn.Sigmoid(), nn.LeakyReLU(), nn.SELU()]
x = torch.randn(32, 3)
y = torch.arange(32) % 3
for curve, optimizer in zip(curves, ("sgd", "adamw", "adam") * 3):
    net = nn.Sequential(nn.Linear(3, 4), curve, nn.Dropout(0.5), nn.Linear(4, 3))
    run = mbgd.fit(net, (x, y), loss="log_loss", optimizer=optimizer, epochs=1, clip_norm=1.0)
    assert run.engine == "fused"
for loss in ("squared_error", "absolute_error", "huber"):
    for rows in (1, 8):
        mbgd.fit(nn.Linear(3, 1), (x, x[:, 0]), loss=loss, epochs=1, batch_size=rows, validation=0.25, engine="fused")
"""
PREDICTS = """
import sys
from mbgd.cli import run

code = run(["predict", *sys.argv[1:]])
assert "numba" not in sys.modules
sys.exit(code)
"""


def run_python(code: str, *words: object, **environment: str) -> None:
    subprocess.run([sys.executable, "-c", code, *map(str, words)], check=True, env={**os.environ, **environment})


def test_after_it_another_process_compiles_nothing(mbgd: Command, tmp_path: Path) -> None:
    """What is compiled here, no other test compiles again: so it is in the cache that they share. Looked at is a copy, since
    tests that run beside this one write there, too."""
    said = mbgd("warmup", "--dtype", "float32", "--json")
    assert said.code == 0
    shared = Path(json.loads(said.out)["folder"])
    folder = tmp_path / "cache" / "kernels" / shared.name
    shutil.copytree(shared, folder, ignore=shutil.ignore_patterns(".tmp-*"))
    folder.parent.chmod(0o700)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert before
    run_python(TRAINS, MBGD_CACHE_DIR=str(tmp_path / "cache"))
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert "all kernels were compiled already" in mbgd("warmup", "--dtype", "float32").out


def test_a_type_without_kernels_is_an_error_of_usage(mbgd: Command) -> None:
    said = mbgd("warmup", "--dtype", "float16")
    assert said.code == 2
    assert "float16" in said.err


def test_predict_compiles_nothing(runs: Path, tables: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    out = tmp_path / "out.csv"
    run_python(PREDICTS, runs / "number", tables / "new.csv", "--out", out, MBGD_CACHE_DIR=str(cache))
    assert out.exists()
    assert not cache.exists()
