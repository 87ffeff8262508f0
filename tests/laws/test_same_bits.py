"""Law: the same plan gives the same bits, here and in another process, with what is stored as the witness."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import Dataset

import mbgd
from problems import arrays, mlp

N, WIDTH = 60, 13
X, Y, W = (torch.tensor(part, dtype=torch.float32) for part in arrays(N, WIDTH))


class Pairs(Dataset[Any]):
    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        return X[row], Y[row]


def net(**options: Any) -> nn.Module:
    return mlp(WIDTH, dtype=torch.float32, dropout=0.3, **options)


def image_net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Unflatten(1, (1, WIDTH)), nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Linear(44, 3)
    )


RUNS: dict[str, Any] = {  # name -> (model, data, words)
    "dropout, adam, average": (
        lambda: net(hidden=31),
        lambda: (X, Y, W),
        {"optimizer": "adam", "ema_decay": 0.9, "validation": 0.2, "patience": 3, "schedule": "cosine"},
    ),
    "convolution": (image_net, lambda: (X, (Y > 0).long() + (Y > 1)), {"loss": "log_loss", "batch_size": 7}),
    "two threads": (lambda: net(hidden=300), lambda: (X, Y), {"threads": 2, "batch_size": 50}),
    "bf16": (net, lambda: (X, Y), {"precision": "bf16", "momentum": 0.9, "nesterov": True}),
    "a dataset with workers": (net, Pairs, {"workers": 1, "sampling": "iid", "validation": 0.3}),
}


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 over the names and bytes of each run's model, and its scores."""
    found = {}
    for name, (model, data, words) in RUNS.items():
        out = folder / name.replace(" ", "-")
        run = mbgd.fit(model(), data(), out=out, **{"loss": "squared_error", "epochs": 5, "seed": 2, **words})
        tensors = load_file(out / "model.safetensors")
        digest = hashlib.sha256(repr(run.history["loss"]).encode() + repr(run.scores).encode())
        for key in sorted(tensors):
            digest.update(key.encode() + tensors[key].numpy().tobytes())
        found[name] = digest.hexdigest()
    return found


def test_the_same_plan_gives_the_same_bits_in_two_processes(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}\n"
        "import json, random, numpy, torch, pathlib\n"
        "import test_same_bits\n"
        "torch.set_num_threads(1)\n"
        "print(json.dumps(test_same_bits.digests(pathlib.Path(sys.argv[1]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "there")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": "77"},
    )
    assert done.returncode == 0, done.stderr
    torch.manual_seed(123)  # the caller's own generators, differently placed
    np.random.seed(123)
    random.seed(123)
    assert digests(tmp_path / "here") == json.loads(done.stdout)


def test_another_seed_gives_other_bits() -> None:
    def end(seed: int) -> list[float]:
        run = mbgd.fit(net(), (X, Y), loss="squared_error", epochs=2, seed=seed)
        return run.history["loss"]

    assert end(0) == end(0)
    assert end(0) != end(1)
