"""What a first fit loads: seconds at the start of every process, so only what it uses. And torch is left as it was."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

import mbgd
from mbgd.step.light_start import light_start

UNUSED = (  # module -> about what it costs: seconds
    "torch._dynamo",  # 1.2, with sympy
    "pyarrow",  # 0.2, for tables
    "numba.np.arraymath",  # 0.25, with all that Numba registers before it compiles
    "scipy.linalg",  # 0.1
    "rich",
    "sklearn",
    "pandas",
    "threadpoolctl",  # and BLAS, for layers so wide that it multiplies them
)
FIT = """
import sys
import torch
from torch import nn
import mbgd

x = torch.linspace(-1, 1, 64).reshape(32, 2)
net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
run = mbgd.fit(net, (x, x[:, 0]), loss="squared_error", optimizer=sys.argv[1], epochs=1)
assert run.engine == "fused", run.engine_reason
print(*[name for name in sys.argv[2:] if name in sys.modules])
"""


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_fit_of_arrays_loads_what_it_uses(optimizer: str) -> None:
    """After a fit of the same kind: what is compiled needs a compiler."""
    command = [sys.executable, "-c", FIT, optimizer, *UNUSED]
    subprocess.run(command, check=True, capture_output=True)
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "\n"


AFTER = """
import sys
import torch
from torch import nn
from mbgd.step.light_start import light_start

with light_start():
    first = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1)
assert "torch._dynamo" not in sys.modules
second = torch.optim.Adam([nn.Parameter(torch.zeros(2))], lr=0.1)
mark = torch.optim.Optimizer.add_param_group.__wrapped__.__dynamo_disable
assert mark is not torch.optim.Optimizer.add_param_group.__wrapped__
first.add_param_group({"params": [nn.Parameter(torch.zeros(3))]})
with light_start():
    torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1)
assert torch.optim.Optimizer.add_param_group.__wrapped__.__dynamo_disable is mark
print("torch._dynamo" in sys.modules, len(first.param_groups))
"""


def test_torch_makes_its_own_mark_when_it_comes_to_that() -> None:
    """The optimizer made outside loads torch's compiler, as ever; a mark that is there is kept."""
    done = subprocess.run([sys.executable, "-c", AFTER], check=True, capture_output=True, text=True)
    assert done.stdout == "True 2\n"


def test_an_optimizer_that_cannot_be_made_leaves_no_mark_behind() -> None:
    method = torch.optim.Optimizer.add_param_group.__wrapped__
    before = vars(method).copy()
    with pytest.raises(ValueError), light_start():
        torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=-1.0)
    assert vars(method) == before


def test_gradients_of_the_callers_are_dropped_as_torch_drops_them() -> None:
    """Of frozen parameters too, which no optimizer holds."""
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    x = torch.linspace(-1, 1, 64).reshape(32, 2)
    net(x).sum().backward()
    net[0].requires_grad_(False)
    mbgd.fit(net, (x, x[:, 0]), loss="squared_error", epochs=1)
    assert [p.grad for p in net.parameters()] == [None] * 4
