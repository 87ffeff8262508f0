"""`mbgd.fit_table` with the target, the seed, and no test rows of its own; split by time where the test rows are."""

from __future__ import annotations

import mbgd
from sides import Job, Predict


def fit(job: Job) -> Predict:
    options = {"split": f"time:{job.by_time}"} if job.by_time else {}
    run = mbgd.fit_table(job.train, job.target, test="none", seed=job.seed, **{**options, **job.options})
    if not job.classes:
        return run.predict
    found = run.predictor.classes
    assert found == job.classes, f"classes must be {job.classes}, got {found}"
    return run.predict_proba
