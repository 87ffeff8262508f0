"""Trainings that find one damaged file among their compiled kernels, each in a child of a process that has loaded none of them.

    MBGD_CACHE_DIR=FOLDER python tests/faults/damaged_kernels.py COUNT SEED

ends with 0 where each child came to the weights of one with whole kernels, and left the damaged file whole and the others as
they were.
"""

from __future__ import annotations

import os
import pickle
import random
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

import mbgd
from mbgd.compiled.cache import place
from mbgd.compiled.entry import read_entry
from mbgd.compiled.news import told_of_compiling
from mbgd.step.fused import step  # noqa: F401  # imported before the fork, not used

PAGE = 4096
Damage = Callable[[bytes, bytes, random.Random], bytes]


def flip(data: bytes, other: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def flip_of_checksum(data: bytes, other: bytes, chance: random.Random) -> bytes:
    return flip(data[:32], other, chance) + data[32:]


def cut(data: bytes, other: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def zero_page(data: bytes, other: bytes, chance: random.Random) -> bytes:
    at = PAGE * chance.randrange(-(-len(data) // PAGE))
    zeros = min(PAGE, len(data) - at)
    return data[:at] + bytes(zeros) + data[at + zeros :]


def random_bytes(data: bytes, other: bytes, chance: random.Random) -> bytes:
    return chance.randbytes(len(data))


def no_bytes(data: bytes, other: bytes, chance: random.Random) -> bytes:
    return b""


def of_another(data: bytes, other: bytes, chance: random.Random) -> bytes:
    return other


def half_of_another(data: bytes, other: bytes, chance: random.Random) -> bytes:
    return data[: len(data) // 2] + other[len(other) // 2 :]


def pickle_of_something_else(data: bytes, other: bytes, chance: random.Random) -> bytes:
    return data[:32] + pickle.dumps(os.abort)


DAMAGES: tuple[Damage, ...] = (
    flip, flip_of_checksum, cut, zero_page, random_bytes, no_bytes, of_another, half_of_another, pickle_of_something_else,
)  # fmt: skip


def trained() -> bytes:
    """The weights that a short training comes to."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.randn(64, 3)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.2), nn.Linear(4, 3))
    labels = x.argmax(1)
    run = mbgd.fit(model, (x, labels), loss="log_loss", batch_size=8, epochs=3, optimizer="adam", threads=1, seed=1)
    assert run.engine == "fused"
    return b"".join(p.detach().numpy().tobytes() for p in model.parameters())


def in_child() -> tuple[int, int, bytes]:
    """(its status, how many kernels it compiled, the weights)."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            compiled: list[str] = []
            with told_of_compiling(compiled.append):
                weights = trained()
            os.write(writing, bytes([min(255, len(compiled))]) + weights)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(99)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    return os.waitpid(child, 0)[1], said[0] if said else -1, said[1:]


def kernels() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(place().folder.iterdir())}


def main(count: int, seed: int) -> int:
    chance, wrong = random.Random(seed), 0
    in_child()
    whole = kernels()
    status, compiled, expected = in_child()
    assert (status, compiled) == (0, 0), "the first has kept every kernel that the second uses"
    for case in range(count):
        damage, (path, other) = DAMAGES[case % len(DAMAGES)], chance.sample(sorted(whole), 2)
        path.write_bytes(damage(whole[path], whole[other], chance))
        print(f"case {case}: {damage.__name__} of {path.name}", flush=True)
        status, compiled, weights = in_child()
        found = kernels()
        others = all(found[name] == whole[name] for name in whole if name != path)
        if status or compiled != 1 or weights != expected or not others or read_entry(path) is None:
            print(f"case {case}: status {status}, {compiled} compiled, weights {weights == expected}, others {others}")
            wrong += 1
        whole = found
    print(f"{count - wrong} of {count} as with whole kernels")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
