"""Draw docs/descent.svg: the same network on the same rows by batch, mini-batch and stochastic gradient descent.

Run: python scripts/make_picture.py (about a minute). Every point is measured: the training loss over the whole of
20,000 flights, after a number of seconds of training on one thread.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from torch import nn

import mbgd
from mbgd.desk.run import fitting, module_plan
from mbgd.desk.table import read_rows
from mbgd.desk.table_plan import table_plan

HERE = Path(__file__).parent.parent
ROWS, SECONDS, WIDTH, HEIGHT = 20_000, 6.0, 800, 360
LEFT, TOP, RIGHT, BOTTOM = 56, 46, 212, 44
LINE = 17  # between two labels that would lie on each other
RUNS = [
    ("batch, m = 20,000", "full", 0.15, "#7a7a7a"),
    ("SGD, m = 1", 1, 0.001, "#d9822b"),
    ("mini-batch, m = 32", 32, 0.03, "#1f6feb"),
]


def main() -> None:
    plan = table_plan({"target": "arr_delay"})
    rows = read_rows(HERE / "examples" / "flights.parquet", plan)
    x = torch.from_numpy(rows.encoded.numbers[:ROWS])
    y = torch.from_numpy(rows.target.standardise(rows.y[:ROWS]))
    for _ in mbgd.steps(mbgd.mlp(x.shape[1]), (x, y), loss="squared_error", steps=1):
        pass  # what torch loads at its first step is nobody's time
    curves = [(name, color, curve(x, y, batch_size=size, learning_rate=rate)) for name, size, rate, color in RUNS]
    (HERE / "docs" / "descent.svg").write_text(drawn(curves))


def curve(
    x: torch.Tensor, y: torch.Tensor, *, batch_size: int | str, learning_rate: float
) -> list[tuple[float, float]]:
    """(seconds of training, mean loss over all rows) until SECONDS are over."""
    model = mbgd.mlp(x.shape[1], hidden_layer_sizes=(64, 64), seed=0)
    knobs = {"loss": "squared_error", "optimizer": "sgd", "batch_size": batch_size, "learning_rate": learning_rate}
    look_every = 2 if batch_size == "full" else 256  # steps between two looks: a chunk ends where a checkpoint is due
    plan = module_plan({**knobs, "epochs": 1e9, "threads": 1, "checkpoint_every": look_every}, None)
    points = [(0.0, whole_loss(model, x, y))]
    seconds = 0.0  # of this process, on one thread: what else runs here does not count
    start = time.process_time()
    for _ in fitting(model, (x, y), plan=plan):
        seconds += time.process_time() - start
        if seconds > points[-1][0] * 1.12 + 0.01:
            points.append((seconds, whole_loss(model, x, y)))
        if seconds > SECONDS:
            break
        start = time.process_time()
    return points


@torch.inference_mode()
def whole_loss(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    return float(((model(x) - y) ** 2).mean())


def drawn(curves: list[tuple[str, str, list[tuple[float, float]]]]) -> str:
    """The curves as SVG: seconds along the bottom, loss upwards on a log scale."""
    losses = [loss for _, _, points in curves for _, loss in points]
    low, high = math.log10(min(losses) * 0.93), math.log10(max(losses) * 1.05)

    def at(seconds: float, loss: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * min(seconds, SECONDS) / SECONDS
        return across, TOP + (HEIGHT - TOP - BOTTOM) * (high - math.log10(loss)) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="24" font-size="15" fill="#111">Training loss on 20,000 flights, by seconds of training</text>',
    ]
    for tick in (0.1, 0.2, 0.3, 0.5, 0.7, 1.0):
        if low < math.log10(tick) < high:
            _, y = at(0, tick)
            parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e4"/>')
            parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#444">{tick:g}</text>')
    for second in range(0, int(SECONDS) + 1):
        x, _ = at(second, 1)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle" fill="#444">{second} s</text>')
    below = 0.0
    for name, color, points in sorted(curves, key=lambda curve: -curve[2][-1][1]):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
        below = max(at(*points[-1])[1] + 4, below + LINE)
        label = f"{name}: {points[-1][1]:.3f}"
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{below:.1f}" fill="{color}">{label}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    main()
