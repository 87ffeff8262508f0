"""What the benchmarks' figures rest on: the bootstrap interval, and an order of the peers that favours none."""

from __future__ import annotations

import sys
from importlib import import_module
from itertools import permutations
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCH = Path(__file__).parents[2] / "bench"


def bench_module(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    module = import_module(name)
    assert Path(str(module.__file__)).parent == BENCH, f"another {name} stands in the way: {sys.modules[name]}"
    return module


@pytest.mark.parametrize("n_peers", [2, 5, 6, 11])
def test_no_peer_goes_first_or_before_another_more_often(n_peers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    order = bench_module("race", monkeypatch).order
    peers = [f"peer {number}" for number in range(n_peers)]
    rounds = [order(peers, number) for number in range(2 * n_peers)]
    assert all(sorted(one) == sorted(peers) for one in rounds)
    firsts = [one[0] for one in rounds]
    assert {peer: firsts.count(peer) for peer in peers} == dict.fromkeys(peers, 2)
    for a, b in permutations(peers, 2):
        assert sum(one.index(a) < one.index(b) for one in rounds) == n_peers


def test_interval_of_three_is_from_the_least_to_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two or three of three draws are the least with chance 3 (1/3)^2 (2/3) + (1/3)^3 = 7/27, well above 2.5 %."""
    assert bench_module("timing", monkeypatch).interval([3.0, 1.0, 2.0]) == (1.0, 3.0)


def test_interval_of_eleven_ends_at_the_order_statistics_that_counting_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """The median of 11 draws is at most the k-th of 11 values when 6 or more draws are: a binomial tail with p = k/11.

    It is 0.0072 for k = 2 and 0.0512 for k = 3, mirrored at the top, so 2.5 % lies at the 3rd and the 9th value.
    """
    values = np.random.default_rng(1).permutation(np.arange(1.0, 12.0)).tolist()
    assert bench_module("timing", monkeypatch).interval(values) == (3.0, 9.0)


@pytest.mark.slow
def test_interval_holds_the_true_median_about_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the 3rd to the 9th of 11 the median lies with chance 1 - 2 P(Bin(11, 1/2) <= 2) = 0.9346; 4 sd of 200: 0.07."""
    interval = bench_module("timing", monkeypatch).interval
    chance = np.random.default_rng(0)
    held = [low < 0 < high for low, high in (interval(chance.standard_normal(11).tolist()) for _ in range(200))]
    assert abs(np.mean(held) - 0.9346) < 0.07


class Imaginary:
    """A peer on a clock of its own: a call costs `fixed` seconds and each row `a_row` more."""

    def __init__(self, fixed: float, a_row: float) -> None:
        self.fixed, self.a_row, self.now, self.calls = fixed, a_row, 0.0, 0

    def train(self, n_rows: int, epochs: int) -> int:
        self.now, self.calls = self.now + self.fixed + self.a_row * n_rows * epochs, self.calls + 1
        return n_rows * epochs


@pytest.mark.parametrize("m", [1, 32, 2048])
@pytest.mark.parametrize(("fixed", "a_row"), [(0.0, 2e-7), (5e-3, 2e-8), (0.02, 5e-9), (1e-4, 2e-5), (1.0, 1e-8)])
def test_a_timed_call_is_long_beside_its_fixed_cost(
    fixed: float, a_row: float, m: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not below half of the seconds wanted, whatever a call costs besides its rows; nor far above where it need not be."""
    peer, n = Imaginary(fixed, a_row), 1_000_000
    amount = bench_module("amount", monkeypatch).amount
    rows, epochs = amount(peer.train, n=n, m=m, threads=1, wanted=0.15, clock=lambda: peer.now)
    assert rows % m == 0 or rows == n
    assert rows <= n
    assert peer.calls <= 16
    start = peer.now
    peer.train(rows, epochs)
    assert 0.075 <= peer.now - start <= max(3.5 * 0.15, fixed + 0.01)
