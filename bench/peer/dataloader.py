"""The loop that everybody writes: `DataLoader(TensorDataset, shuffle=True)`."""

from __future__ import annotations

from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from peer import Job
from peer.modules import TorchPeer


def make(job: Job) -> TorchPeer:
    return TorchPeer(job, epoch)


def epoch(peer: TorchPeer, parts: tuple[Tensor, ...]) -> None:
    for *inputs, y in DataLoader(TensorDataset(*parts), batch_size=peer.job.batch_size, shuffle=True):
        peer.step(inputs, y)
