"""CatBoost: categories as text, where it takes no NaN, so that a missing label is a label; NaN among numbers is its own."""

from __future__ import annotations

import pandas as pd
from catboost import CatBoostClassifier, CatBoostRegressor

from sides import Job, Predict
from sides.prepared import learn, with_calendar, with_columns

MISSING = "(missing)"


def fit(job: Job) -> Predict:
    categories = learn(job.inputs).categories

    def prepared(frame: pd.DataFrame) -> pd.DataFrame:
        frame = with_calendar(frame)  # a label that was not seen stays: CatBoost has a value for such
        return with_columns(frame, {name: frame[name].astype(object).fillna(MISSING) for name in categories})

    kind = CatBoostClassifier if job.classes else CatBoostRegressor
    quiet = {"verbose": False, "allow_writing_files": False}
    model = kind(cat_features=categories, thread_count=job.threads, random_seed=job.seed, **quiet, **job.options)
    model.fit(prepared(job.inputs), job.y)
    predict = model.predict_proba if job.classes else model.predict
    return lambda frame: predict(prepared(frame))
