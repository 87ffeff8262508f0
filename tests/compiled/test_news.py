from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mbgd
from mbgd.compiled import news
from mbgd.compiled.news import seconds_compiling, tell_of_compiled, tell_of_compiling, told_of_compiling


def test_whoever_asked_is_told_while_they_listen() -> None:
    first: list[str] = []
    second: list[str] = []
    with told_of_compiling(first.append):
        tell_of_compiling("float32")
        with pytest.raises(KeyError), told_of_compiling(second.append):
            tell_of_compiling("")
            raise KeyError
        tell_of_compiling("float64")
    tell_of_compiling("float32")
    assert (first, second) == (["float32", "", "float64"], [""])


def test_to_listen_loads_no_compiler() -> None:
    import subprocess

    code = "import mbgd.compiled.news, sys; print({'numba', 'llvmlite', 'numpy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_where_nobody_listens_a_line_on_stderr_tells_once_for_each_type(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "_unheard", news.Compiling(news._to_stderr))
    for number in ("", "float32", "float32", "", "float64"):
        tell_of_compiling(number)
    with told_of_compiling(lambda number: None):
        tell_of_compiling("float16")
    assert capsys.readouterr().err.splitlines() == [
        "mbgd: compiling kernels, once on this machine ...",
        "mbgd: compiling kernels for float32, once on this machine ...",
        "mbgd: compiling kernels for float64, once on this machine ...",
    ]
    monkeypatch.setattr(sys, "stderr", None)
    tell_of_compiling("bool")


def test_seconds_are_counted_once_where_one_compilation_is_within_another(monkeypatch: pytest.MonkeyPatch) -> None:
    at = [100.0]
    monkeypatch.setattr(news.time, "perf_counter", lambda: at[0])
    before = seconds_compiling()
    with told_of_compiling(lambda number: None):
        outer = tell_of_compiling("float32")
        at[0] += 3
        tell_of_compiling("float64")  # and fails: nobody hears that it is done
        inner = tell_of_compiling("float32")
        at[0] += 4
        tell_of_compiled(inner)
        at[0] += 5
        tell_of_compiled(outer)
        at[0] += 2
        other = tell_of_compiling("float32")
        at[0] += 6
        tell_of_compiled(other)
    assert seconds_compiling() - before == 3 + 4 + 5 + 6  # not the 2 between the two that stand alone


def test_a_training_leaves_them_out_of_its_seconds_and_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that stands still but while the loss is computed, two seconds each update, and while something is compiled."""
    at = [0.0]
    monkeypatch.setattr(news.time, "perf_counter", lambda: at[0])

    def loss(output: Tensor, y: Tensor) -> Tensor:
        at[0] += 2.0
        with told_of_compiling(lambda number: None):
            begun = tell_of_compiling("float32")
            at[0] += 1000.0
            tell_of_compiled(begun)
        return (output[:, 0] - y) ** 2

    looks: list[Any] = []
    words: Any = {"loss": loss, "batch_size": 5, "time_limit": 9.0, "callback": looks.append}
    run = mbgd.fit(nn.Linear(2, 1), (torch.ones(10, 2), torch.ones(10)), **words)
    assert run.steps_done == 6  # 4 s an epoch: the third is the first that is over after 9 s
    assert run.seconds == pytest.approx(12.0, abs=1e-9)  # beside a clock that has come to thousands
    assert [look.rows_per_second for look in looks] == pytest.approx([2.5] * len(looks), rel=1e-9)


def test_a_real_compilation_is_told_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mbgd.compiled.cache import kept_njit, place

    monkeypatch.setenv("MBGD_CACHE_DIR", str(tmp_path))
    place.cache_clear()
    heard: list[str] = []
    with told_of_compiling(heard.append):
        before, twice = seconds_compiling(), kept_njit(lambda x: x + x)
        assert twice(1.5) == 3.0
        assert heard == ["float64"]
        middle = seconds_compiling()
        assert middle > before
        assert twice(2.5) == 5.0
    place.cache_clear()
    assert seconds_compiling() == middle
