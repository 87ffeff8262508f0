"""LightGBM's scikit-learn interface: pandas categories are its categories, NaN is its missing value."""

from __future__ import annotations

from lightgbm import LGBMClassifier, LGBMRegressor

from sides import Job, Predict
from sides.prepared import learn


def fit(job: Job) -> Predict:
    prepared = learn(job.inputs)
    kind = LGBMClassifier if job.classes else LGBMRegressor
    model = kind(n_jobs=job.threads, random_state=job.seed, verbose=-1, **job.options)
    model.fit(prepared(job.inputs), job.y)
    predict = model.predict_proba if job.classes else model.predict
    return lambda frame: predict(prepared(frame))
