"""Lightning's Trainer over the DataLoader, with all that can be switched off switched off."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from peer import Job
from peer.modules import TorchPeer


class Lit(lightning.LightningModule):
    def __init__(self, peer: TorchPeer) -> None:
        super().__init__()
        self.model, self.criterion, self.made = peer.model, peer.criterion, peer.optimizer

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        *inputs, y = batch
        return self.criterion(self.model(*inputs), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.made


class LightningPeer(TorchPeer):
    """All epochs in one `Trainer.fit`: starting it costs once a call."""

    def __init__(self, job: Job) -> None:
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="lightning")
        super().__init__(job, lambda *_: None)
        self.lit = Lit(self)

    def train(self, n_rows: int, epochs: int) -> int:
        parts = (torch.from_numpy(array[:n_rows]) for array in (*self.job.inputs, self.job.y))
        trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(self.lit, DataLoader(TensorDataset(*parts), batch_size=self.job.batch_size, shuffle=True))
        return n_rows * epochs

    def facts(self) -> dict[str, Any]:
        return {}


def make(job: Job) -> LightningPeer:
    return LightningPeer(job)
