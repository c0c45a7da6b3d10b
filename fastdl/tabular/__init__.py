"""Tables: raw columns in, one proven file out. Built on the public layers, models and fusion.

    model = TabularClassifier(random_state=0).fit(frame, y)
    model.predict_proba(new_frame)
    model.export("model.onnx")

The estimators need scikit-learn: pip install 'fastdl[tabular]'.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fastdl.base.naming import no_such
from fastdl.tabular.columns import Columns, Encoded
from fastdl.tabular.file import assemble
from fastdl.tabular.proof import ColumnsProof, prove
from fastdl.tabular.reading import read_table
from fastdl.tabular.recipes import Recipe
from fastdl.tabular.table import Table

if TYPE_CHECKING:
    from fastdl.tabular.classifier import TabularClassifier
    from fastdl.tabular.regressor import TabularRegressor

__all__ = [
    "Columns",
    "ColumnsProof",
    "Encoded",
    "Recipe",
    "Table",
    "TabularClassifier",
    "TabularRegressor",
    "assemble",
    "load",
    "prove",
    "read_table",
]
ESTIMATORS = {"TabularClassifier": "classifier", "TabularRegressor": "regressor"}


def __getattr__(name: str) -> Any:
    if name not in ESTIMATORS:
        raise no_such(__name__, name, __all__)
    from importlib import import_module

    try:
        value = getattr(import_module(f"{__name__}.{ESTIMATORS[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sklearn":
            raise
        raise ImportError(f"{name} needs scikit-learn: pip install 'fastdl[tabular]'") from None
    globals()[name] = value
    return value


def load(filepath: str | os.PathLike[str]) -> Any:
    """The estimator that `save` wrote, or `fastdl train` as model.fastdl. ModelFileError for any other file."""
    from fastdl.tabular import saving

    return saving.load(filepath, {name: __getattr__(name) for name in ESTIMATORS})
