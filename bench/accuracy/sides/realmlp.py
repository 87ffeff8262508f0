"""RealMLP of pytabkit with its defaults; missing numbers, which it refuses, are the mean and a category that says so.

For classes with what its documentation advises where log loss counts: no label smoothing, weights of the epoch of best
log loss.
"""

from __future__ import annotations

import pandas as pd
from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor, RealMLP_TD_S_Classifier, RealMLP_TD_S_Regressor

from sides import Job, Predict
from sides.prepared import Prepared, learn, with_columns

KINDS = {
    "TD": (RealMLP_TD_Regressor, RealMLP_TD_Classifier),
    "TD_S": (RealMLP_TD_S_Regressor, RealMLP_TD_S_Classifier),
}
FOR_LOG_LOSS = {"use_ls": False, "val_metric_name": "cross_entropy"}


def fit(job: Job) -> Predict:
    options = dict(job.options)
    kind = KINDS[options.pop("variant")][bool(job.classes)]
    prepared = learn(job.inputs)
    frame = prepared(job.inputs)
    means = frame.mean(numeric_only=True)
    missing = [name for name in means.index if frame[name].isna().any()]
    options = {**(FOR_LOG_LOSS if job.classes else {}), **options}
    model = kind(device="cpu", n_cv=1, n_threads=job.threads, random_state=job.seed, **options)
    model.fit(filled(job.inputs, prepared, means=means, missing=missing), job.y)
    predict = model.predict_proba if job.classes else model.predict
    return lambda frame: predict(filled(frame, prepared, means=means, missing=missing)).astype("float64")


def filled(frame: pd.DataFrame, prepared: Prepared, *, means: pd.Series, missing: list[str]) -> pd.DataFrame:
    """No NaN among numbers; a category of its own for each column that lacked some in training."""
    frame = prepared(frame)
    flags = {f"{name} missing": pd.Categorical(frame[name].isna().map({True: "yes", False: "no"})) for name in missing}
    numbers = {name: frame[name].astype("float64").fillna(means[name]) for name in means.index}
    return with_columns(frame, numbers | flags)
