"""Where it computes: devices by word, threads by a static rule, and both given back with torch's generators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mbgd
from mbgd.desk import machine
from mbgd.desk.machine import (
    WORK_FOR_THREADS,
    WORK_OF_A_THREAD,
    choose_device,
    choose_team,
    choose_threads,
    computing,
    fits,
    quota_of,
    work_of_a_step,
)
from mbgd.errors import PlanError
from mbgd.model.table import TableModel

CPU = torch.device("cpu")


def test_auto_is_where_the_model_is() -> None:
    assert choose_device("auto", nn.Linear(2, 1)) == CPU
    assert choose_device("auto", nn.Linear(2, 1, device="meta")) == torch.device("meta")
    assert choose_device("cpu") == CPU
    assert choose_device("auto", nn.Flatten()).type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("gpu", "device must be auto, cpu, cuda, cuda:1 or mps, got 'gpu'; 'auto' chooses"),
        ("cuda:99", "device must be "),
        ("meta", "device must be one that this machine has, got 'meta'; use device='cpu', or 'auto'"),
    ],
)
def test_a_device_that_is_not_here_is_refused(word: str, said: str) -> None:
    with pytest.raises(PlanError) as caught:
        choose_device(word)
    assert str(caught.value).startswith(said)


def test_threads_follow_the_work_of_a_step_and_nothing_measured() -> None:
    small, large = nn.Linear(10, 1), nn.Linear(1000, 1000)
    assert work_of_a_step(small, 32) == 6 * 32 * 11  # 2 forward and 4 backward a parameter and row
    shared = TableModel(3, hidden_layer_sizes=(4,), scaled=True, shared_members=5)
    assert work_of_a_step(shared, 2) == 6 * 2 * (5 * (3 + 3 * 4 + 4 + 4 + 1))  # as of five networks
    assert work_of_a_step(nn.Flatten(), 32) > 0
    assert choose_threads("auto", work_of_a_step(small, 32)) == 1
    assert choose_threads("auto", work_of_a_step(large, 256)) >= 1
    assert choose_threads("auto", WORK_FOR_THREADS) == choose_threads("auto", 1e30)
    assert choose_threads(3, 0.0) == 3


def test_no_more_threads_than_the_environment_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, most in (("1", 1), ("2", 2)):
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
        assert choose_team("auto", 1e30, 1 << 20) <= most
        assert choose_threads("auto", 1e30) <= most
    monkeypatch.setenv("OMP_NUM_THREADS", "4,2")  # a list, one a level: as if it were not set
    assert choose_threads("auto", 1e30) >= 1


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000\n", None), ("250000 100000\n", 2), ("50000 100000\n", 1), ("", None)]
)
def test_a_containers_quota_is_whole_cores(text: str, cores: int | None, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert quota_of(tmp_path / "cpu.max") == cores
    assert quota_of(tmp_path / "none") is None


def test_no_more_threads_than_the_quota(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("100000 100000")
    monkeypatch.setattr(machine, "CPU_MAX", tmp_path / "cpu.max")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert choose_threads("auto", 1e30) == 1


def test_rows_are_shared_where_each_thread_gets_enough_of_them() -> None:
    assert choose_team(4, 0.0, 31) == 1
    assert choose_team(4, 0.0, 64) == 2
    assert choose_team(4, 0.0, 1 << 20) == 4
    assert choose_team("auto", WORK_OF_A_THREAD, 1 << 20) == 1
    assert choose_team("auto", 1e30, 1 << 20) == choose_threads("auto", 1e30)


def test_data_always_fits_where_it_is_already() -> None:
    assert fits(1 << 60, CPU)


@pytest.mark.parametrize("broken", [False, True])
def test_threads_generators_and_gradients_are_given_back(broken: bool) -> None:
    torch.set_num_threads(1)
    state = torch.get_rng_state()
    with torch.no_grad():
        try:
            with computing(2):
                assert torch.get_num_threads() == 2
                assert torch.is_grad_enabled()
                torch.rand(3)
                if broken:
                    raise KeyError
        except KeyError:
            assert broken
        assert not torch.is_grad_enabled()
    assert torch.get_num_threads() == 1
    assert torch.equal(torch.get_rng_state(), state)


def test_the_plan_takes_torchs_own_device() -> None:
    words: Any = {"loss": "squared_error", "epochs": 1}
    run = mbgd.fit(nn.Linear(2, 1), (torch.ones(4, 2), torch.ones(4)), device=torch.device("cpu"), **words)
    assert (run.plan.device, run.resolved["device"], run.resolved["threads"]) == ("cpu", "cpu", 1)
