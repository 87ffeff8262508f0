"""scikit-learn's MLP in a pipeline: numbers imputed and scaled, categories one-hot, a number to predict scaled too."""

from __future__ import annotations

import warnings

from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sides import Job, Predict
from sides.prepared import learn


def fit(job: Job) -> Predict:
    warnings.simplefilter("ignore", ConvergenceWarning)  # its default of 200 passes is all it is to have
    prepared = learn(job.inputs)
    frame = prepared(job.inputs)
    numbers = [name for name in frame if name not in prepared.labels]
    encoder = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore"), prepared.categories),
    )
    if job.classes:
        network = MLPClassifier(random_state=job.seed, **job.options)
    else:  # left in its own units a target of thousands is not learned at all
        network = TransformedTargetRegressor(
            MLPRegressor(random_state=job.seed, **job.options), transformer=StandardScaler()
        )
    whole = make_pipeline(encoder, network)
    whole.fit(frame, job.y)
    predict = whole.predict_proba if job.classes else whole.predict
    return lambda frame: predict(prepared(frame))
