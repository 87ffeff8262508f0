"""Row D: bit flips, truncations, zeros and swapped files in checkpoints and models: each is found, an older one steps in."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import mbgd
from mbgd.desk.run import fitting, module_plan
from mbgd.errors import SavedFileError
from mbgd.record.checkpoint import newest
from problems import flat
from short_runs import W, X, Y, fit, fresh_chance, net, other_net, outcome, resume, whole_steps, words

KINDS = {"a flipped bit": 1000, "cut short": 200, "zeros": 50, "swapped": 20}
SHARE_IN_THE_QUICK_TIER = 10


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`whole`, and `stopped` with the checkpoints of steps 39 and 40."""
    folder = tmp_path_factory.mktemp("runs")
    fit(folder / "whole")
    fresh_chance()
    flow = fitting(net(), (X, Y, W), plan=module_plan(words(), None), out=folder / "stopped")
    while next(flow).progress.steps_done < 41:
        pass
    flow.close()
    assert whole_steps(folder / "stopped") == [39, 40]
    return folder


def damages(kind: str, whole: bytes, other: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(whole))
    if kind == "a flipped bit":
        return whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :]
    if kind == "cut short":
        return whole[:at]
    if kind == "zeros":
        end = chance.randrange(at + 1, len(whole) + 1)
        return whole[:at] + bytes(end - at) + whole[end:]
    return other


def damaged(kind: str, n: int, files: list[tuple[Path, Path]], chance: random.Random) -> Iterator[Path]:
    """One file after the other, damaged while the caller looks, whole again afterwards; the partner is what it is swapped for."""
    done = 0
    while done < n:
        path, partner = files[chance.randrange(len(files))]
        whole = path.read_bytes()
        state = damages(kind, whole, partner.read_bytes(), chance)
        if state == whole:  # zeros where there were zeros
            continue
        path.write_bytes(state)
        yield path
        path.write_bytes(whole)
        done += 1


TIERS = [pytest.param(SHARE_IN_THE_QUICK_TIER, id="a tenth"), pytest.param(1, id="all", marks=pytest.mark.slow)]


@pytest.mark.parametrize("share", TIERS)
@pytest.mark.parametrize("kind", KINDS)
def test_damage_to_a_checkpoint_is_found_and_the_one_before_taken(
    kind: str, share: int, runs: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(runs / "stopped", tmp_path / "run")
    older, newer = sorted((run / "checkpoints").glob("step-*"))
    files = [(newer / name, older / name) for name in ("state.safetensors", "manifest.json")]
    chance = random.Random(1)
    for path in damaged(kind, KINDS[kind] // share, files, chance):
        found = newest(run)
        assert found is not None
        assert found.checkpoint.step == 39, path
        assert len(found.notices) == 1
        assert str(newer) in found.notices[0]
    assert whole_steps(run) == [39, 40]


@pytest.mark.parametrize("share", TIERS)
@pytest.mark.parametrize("kind", KINDS)
def test_damage_to_a_model_is_found(kind: str, share: int, runs: Path, tmp_path: Path) -> None:
    path, partner = tmp_path / "model.safetensors", runs / "stopped" / "checkpoints"
    shutil.copy(runs / "whole" / "model.safetensors", path)
    swapped_for = min(partner.glob("step-*")) / "state.safetensors"
    model, chance = other_net(), random.Random(2)
    before = flat(model)
    for _ in damaged(kind, KINDS[kind] // share, [(path, swapped_for)], chance):
        with pytest.raises(SavedFileError):
            mbgd.load(path, model)
    assert torch.equal(flat(model), before)  # nothing of a damaged file comes into the module
    mbgd.load(path, model)


@pytest.mark.parametrize("count", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_with_a_damaged_checkpoint_ends_with_the_same_bits(count: int, runs: Path, tmp_path: Path) -> None:
    expected, chance = outcome(runs / "whole"), random.Random(3)
    for number in range(count):
        run = shutil.copytree(runs / "stopped", tmp_path / str(number))
        older, newer = sorted((run / "checkpoints").glob("step-*"))
        name = ("state.safetensors", "manifest.json")[number % 2]
        damage: Any = damaged(list(KINDS)[number % 4], 1, [(newer / name, older / name)], chance)
        next(damage)
        done = resume(run)
        assert len(done.notices) == 1
        assert "was passed over" in done.notices[0]
        assert outcome(run) == expected
