"""Row G: stopped at every step of 3 epochs x 23 steps, and 10 times in one epoch: the end has the same bits, by both engines."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from mbgd.desk.run import fitting, module_plan, resuming
from short_runs import MASK, W, X, Y, fresh_chance, net, other_net, outcome, resume, saved_aside, words

STEPS = 69


@pytest.fixture(scope="module", params=["fused", pytest.param("autograd", marks=pytest.mark.slow)])
def copies(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`whole`, and a copy of its folder after each step."""
    place = tmp_path_factory.mktemp(request.param)
    fresh_chance()
    for look in fitting(net(), (X, Y, W), plan=module_plan(words(request.param), None), out=place / "whole"):
        saved_aside()
        shutil.copytree(place / "whole", place / str(look.progress.steps_done))
    return place


STOPS = [
    pytest.param(sorted(random.Random(7).sample(range(1, STEPS + 1), 2)), id="two"),
    pytest.param(range(1, STEPS + 1), id="every step", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("stops", STOPS)
def test_stopped_at_a_step_and_resumed_it_ends_the_same(stops: list[int], copies: Path, tmp_path: Path) -> None:
    expected = outcome(copies / "whole")
    for step in stops:
        run = shutil.copytree(copies / str(step), tmp_path / str(step))
        resume(run)
        assert outcome(run) == expected, step


def test_interrupted_ten_times_in_one_epoch(copies: Path, tmp_path: Path) -> None:
    """Ctrl-C after every second step of the second epoch, each time in the folder of the time before."""
    run, engine = tmp_path / "run", copies.name.rstrip("0123456789")
    fresh_chance()
    flow = fitting(net(), (X, Y, W), plan=module_plan(words(engine), None), out=run)
    for wanted in range(24, 24 + 2 * 10, 2):
        while next(flow).progress.steps_done < wanted:
            pass
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            next(flow)
        np.random.seed(wanted)
        flow = resuming(other_net(), (X, Y, W), folder=run, sample_weight=None, again={"validation": MASK})
    for _ in flow:
        pass
    assert outcome(run) == outcome(copies / "whole")
