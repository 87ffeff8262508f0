"""What to say here for a word that another library has for a knob."""

from __future__ import annotations

from collections.abc import Iterable

from mbgd.errors import did_you_mean

FOREIGN = {
    "max_iter": "epochs",
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "lr": "learning_rate",
    "eta0": "learning_rate",
    "learning_rate_init": "learning_rate",
    "criterion": "loss",
    "loss_fn": "loss",
    "random_state": "seed",
    "solver": "optimizer",
    "optim": "optimizer",
    "alpha": "weight_decay",
    "l2": "weight_decay",
    "eta": "learning_rate",
    "bs": "batch_size",
    "minibatch_size": "batch_size",
    "train_batch_size": "batch_size",
    "per_device_train_batch_size": "batch_size",
    "shuffle": "sampling ('reshuffle', 'iid' or 'natural')",
    "drop_last": "tail ('short', 'even' or 'drop')",
    "n_iter_no_change": "patience",
    "early_stopping": "patience with validation",
    "tol": "min_delta (with patience)",
    "validation_split": "validation",
    "validation_fraction": "validation",
    "validation_data": "validation",
    "num_workers": "workers",
    "grad_clip": "clip_norm",
    "gradient_clip_val": "clip_norm",
    "max_grad_norm": "clip_norm",
    "accumulate_grad_batches": "micro_batch (rows of one forward pass)",
    "gradient_accumulation_steps": "micro_batch (rows of one forward pass)",
    "amp": "precision='bf16'",
    "mixed_precision": "precision='bf16'",
    "max_steps": "steps",
    "max_time": "time_limit",
    "scheduler": "schedule",
    "lr_scheduler": "schedule",
    "lr_schedule": "schedule",
    "weights": "sample_weight",
    "sample_weights": "sample_weight",
    "val_data": "validation",
    "valid_data": "validation",
    "n_jobs": "threads",
    "num_threads": "threads",
    "hidden_sizes": "hidden_layer_sizes",
    "nesterovs_momentum": "nesterov",
    "sep": "delimiter",
    "names": "columns",
    "comment_char": "comment",
}
FOREIGN_VALUES = {  # words of other libraries -> the word here
    "auc": "roc_auc",
    "acc": "accuracy",
    "onecycle": "one_cycle",
    "OneCycleLR": "one_cycle",
    "CosineAnnealingLR": "cosine",
    "StepLR": "step",
    "bfloat16": "bf16",
    "bf16-mixed": "bf16",
    "fp32": "float32",
    "32": "float32",
    "classifier": "classification",
    "regressor": "regression",
    "drop_last": "drop",
    "shuffle": "reshuffle",
    "random": "reshuffle",
    "sequential": "natural",
    "replacement": "iid",
    "all": "full",
}


def unknown(word: str, known: Iterable[str]) -> str:
    """A sentence on a word that is no knob, with the right one where it is known."""
    if word in FOREIGN:
        return f"{word!r} is not an argument of MBGD; say {FOREIGN[word]} instead"
    return f"{word!r} is not an argument of MBGD{did_you_mean(word, known) or '; see help(mbgd.Plan) for all of them'}"
