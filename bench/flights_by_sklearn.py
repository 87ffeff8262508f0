"""The flights job as scikit-learn does it: a Parquet file in, a saved pipeline and its scores (one JSON object) out.

python bench/flights_by_sklearn.py FILE MODEL SEED
"""

from __future__ import annotations

import json
import sys
import warnings

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

TARGET, TIME = "arr_delay", "time_hour"


def main(file: str, saved: str, seed: int) -> None:
    frame = pd.read_parquet(file).dropna(subset=TARGET)
    train, test = train_test_split(with_calendar(frame), test_size=0.2, random_state=seed)
    pipeline = pipeline_for(train.drop(columns=TARGET), seed)
    warnings.simplefilter("ignore", ConvergenceWarning)  # ten epochs are all it is to have
    pipeline.fit(train.drop(columns=TARGET), train[TARGET])
    joblib.dump(pipeline, saved)
    predicted = pipeline.predict(test.drop(columns=TARGET))
    scores = {"r2": r2_score(test[TARGET], predicted), "mae": mean_absolute_error(test[TARGET], predicted)}
    print(json.dumps({"scores": {"test": scores}}))


def with_calendar(frame: pd.DataFrame) -> pd.DataFrame:
    """The timestamp as the hour, the weekday and the day of the year."""
    parts = frame[TIME].dt
    return frame.drop(columns=TIME).assign(hour=parts.hour, weekday=parts.day_of_week, day_of_year=parts.day_of_year)


def pipeline_for(frame: pd.DataFrame, seed: int) -> Pipeline:
    """Impute, scale, one-hot, then a network of (128, 128), batches of 256, 10 epochs."""
    numbers = frame.select_dtypes("number").columns
    categories = frame.columns.difference(numbers)
    one_hot = make_pipeline(
        SimpleImputer(strategy="most_frequent"),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32),
    )
    encoder = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
            ("categories", one_hot, categories),
        ]
    )
    network = MLPRegressor(hidden_layer_sizes=(128, 128), batch_size=256, max_iter=10, random_state=seed)
    return make_pipeline(encoder, network)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
