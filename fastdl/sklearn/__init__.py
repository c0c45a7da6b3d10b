"""Dense nets as scikit-learn estimators, for its pipelines, searches and cross-validation. Needs 'fastdl[sklearn]'.

Search on a logarithmic scale, two models at a time, each in a process of its own:

    space = {"learning_rate": loguniform(1e-4, 1e-1), "hidden_layer_sizes": [(50,), (100, 100)]}
    search = RandomizedSearchCV(FastdlClassifier(), space, n_jobs=2)

On a cluster: the same within `with joblib.parallel_config("dask")`, or "ray".
"""

from __future__ import annotations

try:
    from sklearn.utils.validation import validate_data as _newer_than_1_6  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"fastdl.sklearn needs scikit-learn 1.6 or newer: pip install 'fastdl[sklearn]' ({error})"
    ) from None

from fastdl.sklearn.classifier import FastdlClassifier as FastdlClassifier
from fastdl.sklearn.regressor import FastdlRegressor as FastdlRegressor
