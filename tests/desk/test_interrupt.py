"""Ctrl-C: obeyed at the next look, saved where there is a folder, never swallowed; a second one is obeyed at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import mbgd
from mbgd.desk.interrupt import interruptible
from mbgd.record.checkpoint import newest
from problems import arrays, flat, mlp

N, WIDTH, M = 40, 3, 5
X, Y, W = (torch.tensor(part) for part in arrays(N, WIDTH))
WORDS: Any = {
    "loss": "squared_error",
    "batch_size": M,
    "seed": 3,
    "optimizer": "adam",
    "ema_decay": 0.9,
    "engine": "autograd",  # a bell is rung by a forward pass
}


def net() -> nn.Sequential:
    return mlp(WIDTH, dropout=0.3)


class Bell(nn.Module):
    """A model that rings, once, in its n-th training step."""

    def __init__(self, inner: nn.Module, at: int, ring: Callable[[], Any]) -> None:
        super().__init__()
        self.inner, self.left, self.ring = inner, at, ring

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.left -= 1
            if self.left == 0:
                self.ring()
        return self.inner(x)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def _the_handler_stays() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    found = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)
    assert found is before


@pytest.mark.parametrize("at", [1, 7, 33, 279])
def test_an_interrupt_is_saved_on_a_step_boundary_and_resumed_to_the_same_bits(at: int, tmp_path: Path) -> None:
    whole = net()
    mbgd.fit(whole, (X, Y), epochs=40, validation=0.2, **WORDS)
    stopped = net()
    bell = Bell(stopped, at, interrupt)
    with pytest.raises(KeyboardInterrupt):
        mbgd.fit(bell, (X, Y), epochs=40, validation=0.2, out=tmp_path / "run", **WORDS)
    found = newest(tmp_path / "run")
    assert found is not None
    step = found.checkpoint.step
    assert at <= step <= 280  # 7 steps an epoch
    on_it, kept = net(), _kept()
    done = list(mbgd.steps(on_it, (X[kept], Y[kept]), **{**WORDS, "steps": step, "ema_decay": None}))
    assert done[-1].progress.steps_done == step
    assert torch.equal(flat(stopped), flat(on_it))
    resumed = Bell(net(), 0, interrupt)
    run = mbgd.resume(tmp_path / "run", resumed, (X, Y))
    assert torch.equal(flat(resumed), flat(whole))
    assert run.steps_done == 280


def _kept() -> Tensor:
    """Rows that a share of 0.2 leaves to train on: those that a model sees in training mode."""
    seen: set[tuple[float, ...]] = set()

    class Spy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                seen.update(tuple(row) for row in x.tolist())
            return super().forward(x)

    spy = Spy(WIDTH, 1).double()
    mbgd.fit(spy, (X, Y), validation=0.2, loss="squared_error", epochs=1, seed=3)
    return torch.tensor([tuple(row) in seen for row in X.tolist()])


def test_an_interrupt_in_the_very_last_steps_is_not_swallowed(tmp_path: Path) -> None:
    """A fit so short that it is one chunk: a loop over many of them has to stop all the same."""
    model = Bell(net(), 3, interrupt)
    with pytest.raises(KeyboardInterrupt):
        mbgd.fit(model, (X, Y), epochs=1, **WORDS)
    whole = net()
    mbgd.fit(whole, (X, Y), epochs=1, **WORDS)
    with pytest.raises(KeyboardInterrupt):
        mbgd.fit(Bell(net(), 3, interrupt), (X, Y), epochs=1, out=tmp_path / "run", **WORDS)
    again = Bell(net(), 0, interrupt)
    mbgd.resume(tmp_path / "run", again, (X, Y))
    assert torch.equal(flat(again), flat(whole))


def test_an_interrupt_while_validation_is_scored_waits_and_passes() -> None:
    class InEval(Bell):
        def forward(self, x: Tensor) -> Tensor:
            if not self.training and len(x) == 8:
                self.ring()
            return self.inner(x)

    with pytest.raises(KeyboardInterrupt):
        mbgd.fit(InEval(net(), 0, interrupt), (X, Y), epochs=3, validation=0.2, **WORDS)


def test_a_second_interrupt_is_obeyed_at_once() -> None:
    model = Bell(net(), 3, lambda: (interrupt(), interrupt()))
    with pytest.raises(KeyboardInterrupt):
        mbgd.fit(model, (X, Y), epochs=40, **WORDS)
    assert model.left == 0  # in the middle of that very step
    assert torch.get_num_threads() == 1


def test_a_process_that_ignores_interrupts_goes_on_ignoring_them() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = mbgd.fit(Bell(net(), 3, interrupt), (X, Y), epochs=2, **WORDS)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert run.steps_done == 16


def test_elsewhere_than_on_the_main_thread_it_trains_and_touches_no_handler() -> None:
    whole, other = net(), net()
    mbgd.fit(whole, (X, Y), epochs=4, **WORDS)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            mbgd.fit(other, (X, Y), epochs=4, **WORDS)
            with interruptible() as interrupted:
                assert not interrupted()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not errors
    assert torch.equal(flat(whole), flat(other))


class Slow(Dataset[Any]):
    """Rows that take a while, so that workers are at it when the interrupt comes."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        time.sleep(0.002)
        return X[row], Y[row]


CHILD = textwrap.dedent(
    """
    import sys, time
    sys.path[:0] = {path!r}
    import torch, mbgd
    from test_interrupt import Bell, Slow, WORDS, X, Y, net

    torch.set_num_threads(1)

    def ready():
        print("at it", flush=True)
        time.sleep(0.05)

    bell = Bell(net(), 25, ready)
    try:
        mbgd.fit(bell, {data}, epochs={epochs}, checkpoint_every="1000s", out=sys.argv[1], **{{**WORDS, **{words}}})
    except KeyboardInterrupt:
        print("stopped", flush=True)
        sys.exit(130)
    """
)


def started(run: Path, *, data: str = "(X, Y)", epochs: int = 10_000, words: Any = None) -> subprocess.Popen[str]:
    """A process of its own group that trains, and is at it when this returns."""
    code = CHILD.format(path=[str(Path(__file__).parent), *sys.path], data=data, epochs=epochs, words=words or {})
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "at it\n", child.communicate()[1]
    return child


def test_ctrl_c_from_a_terminal_reaches_the_process_and_its_loader_workers(tmp_path: Path) -> None:
    child = started(tmp_path / "run", data="Slow()", epochs=40, words={"workers": 1, "validation": 0.2})
    os.killpg(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (130, "stopped\n"), err
    found = newest(tmp_path / "run")
    assert found is not None
    assert found.checkpoint.step >= 25
    whole, resumed = net(), Bell(net(), 0, interrupt)
    mbgd.fit(whole, (X, Y), epochs=40, validation=0.2, **WORDS)
    mbgd.resume(tmp_path / "run", resumed, (X, Y), workers=0)  # the same rows, from memory
    assert torch.equal(flat(resumed), flat(whole))


def test_two_signals_end_the_process_and_leave_the_checkpoint_before(tmp_path: Path) -> None:
    child = started(tmp_path / "run")
    child.send_signal(signal.SIGINT)
    time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    assert child.returncode == 130
    assert newest(tmp_path / "run") is not None
