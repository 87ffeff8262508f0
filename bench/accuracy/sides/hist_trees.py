"""scikit-learn's HistGradientBoosting: pandas categories and NaN as it takes them; more labels than it has bins go through
scikit-learn's TargetEncoder, since it refuses them."""

from __future__ import annotations

from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import TargetEncoder

from sides import Job, Predict
from sides.prepared import learn

MOST_LABELS = 255  # `max_bins` of its default


def fit(job: Job) -> Predict:
    prepared = learn(job.inputs)
    many = [name for name, labels in prepared.labels.items() if len(labels) > MOST_LABELS]
    encoder = make_column_transformer(
        (TargetEncoder(random_state=job.seed), many), remainder="passthrough", verbose_feature_names_out=False
    ).set_output(transform="pandas")
    kind = HistGradientBoostingClassifier if job.classes else HistGradientBoostingRegressor
    model = kind(random_state=job.seed, **job.options)
    whole = make_pipeline(encoder, model) if many else model
    whole.fit(prepared(job.inputs), job.y)
    predict = whole.predict_proba if job.classes else whole.predict
    return lambda frame: predict(prepared(frame))
