"""Law: a save goes on beside the training; what is announced is safe, what fails is said and ends nothing, an interrupt waits."""

from __future__ import annotations

import errno
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mbgd.desk import recorder as recording
from mbgd.desk.run import fitting, module_plan
from mbgd.errors import StorageError
from mbgd.record import checkpoint
from mbgd.record.aside import Aside
from short_runs import W, X, Y, fit, fresh_chance, net, outcome, resume, saved_aside, whole_step, whole_steps, words


def looks(folder: Path, **more: Any) -> Iterator[Any]:
    fresh_chance()
    plan = module_plan(words(**{"epochs": 1, **more}), None)
    return fitting(net(), (X, Y, W), plan=plan, out=folder)


def refused(number: int, *, when: Callable[[], bool], call: str = "posix_fallocate") -> Callable[..., None]:
    real = getattr(os, call)

    def instead(*given: Any) -> None:
        if when():
            raise OSError(number, os.strerror(number))
        real(*given)

    return instead


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    fit(folder, epochs=1)  # 23 steps
    return folder


def test_a_step_is_announced_only_when_its_checkpoint_is_whole_and_stays_so(tmp_path: Path, whole: Path) -> None:
    said: list[int] = []
    for look in looks(tmp_path / "run"):
        said += [saved.step for saved in look.saves]
        assert all(saved.failure is None and str(saved) == f"saved step {saved.step:,}" for saved in look.saves)
        assert whole_step(tmp_path / "run") >= max(said, default=0)
    saved_aside()
    assert said == list(range(len(said)))  # each step once, in order, from the weights that were given on
    assert len(said) >= 22  # the last ones are written when the last look has been
    assert outcome(tmp_path / "run") == outcome(whole)


def test_a_first_save_soon_after_the_start_changes_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first look, as if it had taken five seconds; the next is due a minute later, so there is none."""
    for name, seconds in (("never", 1e9), ("soon", 0.0)):
        monkeypatch.setattr(recording, "SECONDS_TO_FIRST_SAVE", seconds)
        fit(tmp_path / name, checkpoint_every=None)
        saved_aside()
    assert whole_steps(tmp_path / "never") == [0]
    start, first = whole_steps(tmp_path / "soon")
    assert (start, 0 < first < 69) == (0, True)
    never, soon = (outcome(tmp_path / name, checkpoint=False) for name in ("never", "soon"))
    assert never == soon


def test_a_full_disk_ends_no_training_and_is_said_at_each_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path
) -> None:
    """Full from step 8 to step 15: what was whole before stays, and the run ends as if nothing had been."""
    at = [0]
    monkeypatch.setattr(os, "posix_fallocate", refused(errno.ENOSPC, when=lambda: 8 <= at[0] < 16))
    failed = []
    for look in looks(tmp_path / "run"):
        saved_aside()
        at[0] = look.progress.steps_done
        failed += [saved for saved in look.saves if saved.failure is not None]
        if 8 < at[0] < 16:
            assert whole_steps(tmp_path / "run") == [6, 7]
    assert [saved.step for saved in failed] == list(range(8, 16))
    assert "step 8 was not saved: disk must have room" in str(failed[0])
    assert str(failed[0]).endswith("it is full; free some space or choose a folder on another disk; "
                                   "the last saved step is 7, 'mbgd resume' goes on from it")  # fmt: skip
    assert outcome(tmp_path / "run") == outcome(whole)


def test_a_disk_that_stays_full_is_told_at_the_end_with_the_last_good_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path
) -> None:
    seen = [0]

    def full() -> bool:
        seen[0] += threading.current_thread().name == "mbgd-aside"
        return seen[0] > 2 * 10  # two files a save: those of steps 0 to 9 are written

    monkeypatch.setattr(os, "posix_fallocate", refused(errno.ENOSPC, when=full))
    with (
        pytest.warns(RuntimeWarning, match="was not saved: disk must have room.*training goes on") as warned,
        pytest.raises(StorageError, match=r"is full; .*; the last saved step is 9, 'mbgd resume' goes on from it"),
    ):
        fit(tmp_path / "run", epochs=1)
    assert len(warned) >= 12
    monkeypatch.undo()
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert whole_steps(tmp_path / "run") == [8, 9]
    resume(tmp_path / "run")
    assert outcome(tmp_path / "run") == outcome(whole)


def test_lines_that_the_disk_refused_are_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path
) -> None:
    from mbgd.record import history

    real, count = history.append_line, [0]

    def full(path: Path, text: str) -> None:
        count[0] += 1
        if 5 < count[0] < 15:
            raise StorageError("disk must have room for history, it is full; free some space")
        real(path, text)

    monkeypatch.setattr(history, "append_line", full)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # said at each interval; the law is that nothing is missing
        run = fit(tmp_path / "run", epochs=1)
    assert run.notices == ()
    assert outcome(tmp_path / "run") == outcome(whole)


def test_what_is_no_refusal_of_the_disk_ends_the_run_at_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, step: int, **__: object) -> None:
        if step == 5:
            raise ZeroDivisionError("ours")

    monkeypatch.setattr(recording, "save", broken)
    flow = looks(tmp_path / "run")
    with pytest.raises(ZeroDivisionError, match="ours"):
        for look in flow:
            assert look.progress.steps_done <= 6


class Gate:
    """Holds the thread that writes inside a save of a given number until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, at: int) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        real, left = checkpoint.write_folder, [at]

        def held(*given: Any, **how: Any) -> None:
            left[0] -= 1
            if left[0] == 0:
                self.reached.set()
                assert self.open.wait(60)
            real(*given, **how)

        monkeypatch.setattr(checkpoint, "write_folder", held)


def test_training_goes_on_while_a_save_is_written_and_takes_no_second_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By time: a due look passes while one is at it; after it the next may come."""
    gate = Gate(monkeypatch, at=2)
    flow = looks(tmp_path / "run", checkpoint_every="0.000001s", engine="autograd", epochs=3)
    done = [next(flow).progress.steps_done]
    done.append(next(flow).progress.steps_done)
    assert gate.reached.wait(60)
    assert whole_steps(tmp_path / "run") == [0]
    done.append(next(flow).progress.steps_done)  # the third epoch is trained while the first one's save is held
    assert done == [23, 46, 69]
    assert whole_steps(tmp_path / "run") == [0]
    gate.open.set()
    with pytest.raises(StopIteration):
        next(flow)
    assert whole_steps(tmp_path / "run")[-1] >= 23


def test_the_first_interrupt_waits_for_the_save_and_the_second_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path
) -> None:
    gate = Gate(monkeypatch, at=11)  # that of step 10
    flow = looks(tmp_path / "run")
    while next(flow).progress.steps_done < 10:
        pass
    before = signal.getsignal(signal.SIGINT)
    main, again = threading.main_thread().ident, threading.Event()
    assert main is not None

    def second() -> None:
        assert gate.reached.wait(60)
        again.set()
        signal.pthread_kill(
            main, signal.SIGINT
        )  # the first has been asked, and the save of step 11 waits for that of 10

    thread = threading.Thread(target=second)
    signal.raise_signal(signal.SIGINT)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        next(flow)
    thread.join()
    assert again.is_set()
    assert signal.getsignal(signal.SIGINT) is before or callable(signal.getsignal(signal.SIGINT))
    assert whole_steps(tmp_path / "run") == [8, 9]  # the checkpoint before is there, the one given up is not
    gate.open.set()
    saved_aside()
    assert whole_steps(tmp_path / "run") == [8, 9]
    assert not list((tmp_path / "run").rglob(".tmp-*"))
    monkeypatch.undo()
    resume(tmp_path / "run")
    assert outcome(tmp_path / "run") == outcome(whole)


def test_an_interrupt_whose_save_fails_is_no_silent_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = looks(tmp_path / "run", checkpoint_every="1000s", epochs=3)
    next(flow)
    monkeypatch.setattr(os, "posix_fallocate", refused(errno.ENOSPC, when=lambda: True))
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(StorageError, match="step 23 was not saved: .* is full.*the last saved step is 0"):
        next(flow)


def test_a_resumed_run_names_the_step_it_has_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = looks(tmp_path / "run")
    while next(flow).progress.steps_done < 12:
        pass
    flow.close()  # type: ignore[attr-defined]  # a generator
    at = whole_step(tmp_path / "run")
    aside = refused(errno.EIO, when=lambda: threading.current_thread().name == "mbgd-aside", call="fsync")
    monkeypatch.setattr(os, "fsync", aside)
    with pytest.warns(RuntimeWarning, match=f"failed to write .*; the last saved step is {at}, "):
        run = resume(tmp_path / "run")
    assert len(run.notices) == 1
    assert run.notices[0].startswith("step 23 was not saved: ")
    assert whole_step(tmp_path / "run") == at


def test_a_piece_of_work_tells_its_failure_once() -> None:
    aside, order = Aside(), []

    def fail() -> None:
        raise ValueError("first")

    aside.start(fail)
    with pytest.raises(ValueError, match="first"):
        aside.wait()
    aside.wait()
    aside.start(lambda: order.append(1))
    aside.start(lambda: order.append(2))
    aside.wait()
    assert order == [1, 2]
    assert not aside.is_at_it
    assert aside.is_wanted
    aside.give_up()
    assert not aside.is_wanted
