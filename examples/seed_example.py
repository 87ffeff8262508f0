"""The training loop of every tutorial: with `mbgd.batches` in place of the DataLoader, and as one call of `mbgd.fit`."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import mbgd

EPOCHS, BATCH_SIZE, LEARNING_RATE = 20, 32, 0.1


def main() -> None:
    torch.manual_seed(0)
    X = torch.randn(100, 10)
    random_labels = torch.randint(0, 2, (100,))
    real_labels = (X @ torch.randn(10) > 0).long()
    model = nn.Linear(10, 2)

    print("Random labels: nothing to learn, so the loss stays near ln 2 = 0.693. What falls below is noise by heart.")
    compare(model, X, random_labels)
    print("\nLabels that follow from the inputs, y = (x @ w > 0): the loss falls.")
    compare(model, X, real_labels)


def compare(model: nn.Module, X: Tensor, y: Tensor) -> None:
    """Train one copy of the model by the loop and another by `fit`: the same updates, up to rounding."""
    dataset = TensorDataset(X, y)
    by_loop, by_fit = deepcopy(model), deepcopy(model)

    sizes = train_by_loop(by_loop, dataset)
    print(f"batch sizes of an epoch      {', '.join(map(str, sizes))}")
    print(f"loss before training         {loss_of(model, X, y):.4f}")
    print(f"loss after the loop          {loss_of(by_loop, X, y):.4f}")

    mbgd.fit(
        by_fit,
        dataset,
        loss=nn.CrossEntropyLoss(),
        optimizer="sgd",
        learning_rate=LEARNING_RATE,
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        seed=0,
    )
    print(f"loss after fit               {loss_of(by_fit, X, y):.4f}")
    print(f"largest difference of weights {difference(by_loop, by_fit):.1e}")


def train_by_loop(model: nn.Module, dataset: TensorDataset) -> list[int]:
    """The loop as everybody writes it; only the loader is another. Returns the batch sizes of the last epoch."""
    # was: DataLoader(dataset, batch_size=32, shuffle=True)
    loader = mbgd.batches(dataset, batch_size=BATCH_SIZE, seed=0, with_scale=True)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    for _ in range(EPOCHS):
        sizes = []
        for x, y, scale in loader:
            # The criterion divides by the rows at hand: in the last batch of 4, each row would pull 32/4 = 8 times as
            # hard as in the others. scale is 4/32 there and 1 elsewhere. `fit` divides by 32 throughout.
            loss = criterion(model(x), y) * scale
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            sizes.append(len(x))
    return sizes


@torch.inference_mode()
def loss_of(model: nn.Module, X: Tensor, y: Tensor) -> float:
    return float(nn.functional.cross_entropy(model(X), y))


@torch.inference_mode()
def difference(a: nn.Module, b: nn.Module) -> float:
    """The largest difference between two weights in the same place."""
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return max(float((p - q).abs().max()) for p, q in pairs)


if __name__ == "__main__":
    main()
