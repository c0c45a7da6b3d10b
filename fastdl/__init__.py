"""fastdl: train dense networks on a CPU, fold batch norm away, serve the ONNX file.

`import fastdl as keras` gives a textbook's names: `keras.models.Sequential`, `keras.layers.Dense`, …
Importing loads numpy and the extension; everything else is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

try:
    from fastdl import config
except ImportError as error:
    if getattr(error, "name", None) == "fastdl" and "_ext" in str(error):
        raise ImportError(
            "this is fastdl's source folder, whose extension is not built: leave it after `pip install .`, "
            "or build in place with `pip install -e .`"
        ) from None
    raise
from fastdl.base.version import VERSION
from fastdl.config import get_num_threads, set_num_threads

__version__ = VERSION

if TYPE_CHECKING:
    from fastdl import (
        activations,
        backend,
        callbacks,
        constraints,
        datasets,
        deployment,
        distributed,
        errors,
        fusion,
        initializers,
        kernels,
        layers,
        losses,
        metrics,
        models,
        onnx,
        ops,
        optimizers,
        plots,
        pretraining,
        random,
        regularizers,
        saving,
        schedules,
        tree,
        utils,
    )
    from fastdl.diagnosis.finder import find_learning_rate
    from fastdl.diagnosis.layer_statistics import layer_statistics
    from fastdl.diagnosis.monte_carlo import mc_predict
    from fastdl.diagnosis.profile import profile
    from fastdl.initialization import initialize_from_data
    from fastdl.initializers import Initializer
    from fastdl.layers import Input, Layer
    from fastdl.losses import Loss
    from fastdl.metrics import Metric
    from fastdl.models import Model, Sequential, load_model
    from fastdl.models.from_onnx import from_onnx
    from fastdl.optimizers import Optimizer
    from fastdl.regularizers import Regularizer
    from fastdl.runner import Runner

_MODULES = (
    "activations",
    "backend",
    "callbacks",
    "constraints",
    "datasets",
    "deployment",
    "distributed",
    "errors",
    "fusion",
    "initializers",
    "kernels",
    "layers",
    "losses",
    "metrics",
    "models",
    "onnx",
    "ops",
    "optimizers",
    "plots",
    "pretraining",
    "random",
    "regularizers",
    "saving",
    "schedules",
    "sklearn",
    "tree",
    "utils",
)
_NAMES = {
    "Initializer": "fastdl.initializers",
    "Input": "fastdl.layers",
    "Layer": "fastdl.layers",
    "Loss": "fastdl.losses",
    "Metric": "fastdl.metrics",
    "Model": "fastdl.models",
    "Optimizer": "fastdl.optimizers",
    "Regularizer": "fastdl.regularizers",
    "Runner": "fastdl.runner",
    "Sequential": "fastdl.models",
    "find_learning_rate": "fastdl.diagnosis.finder",
    "from_onnx": "fastdl.models.from_onnx",
    "initialize_from_data": "fastdl.initialization",
    "layer_statistics": "fastdl.diagnosis.layer_statistics",
    "load_model": "fastdl.models",
    "mc_predict": "fastdl.diagnosis.monte_carlo",
    "profile": "fastdl.diagnosis.profile",
}

__all__ = [
    "Initializer",
    "Input",
    "Layer",
    "Loss",
    "Metric",
    "Model",
    "Optimizer",
    "Regularizer",
    "Runner",
    "Sequential",
    "__version__",
    "activations",
    "backend",
    "callbacks",
    "config",
    "constraints",
    "datasets",
    "deployment",
    "distributed",
    "errors",
    "find_learning_rate",
    "from_onnx",
    "fusion",
    "get_num_threads",
    "initialize_from_data",
    "initializers",
    "kernels",
    "layer_statistics",
    "layers",
    "load_model",
    "losses",
    "mc_predict",
    "metrics",
    "models",
    "onnx",
    "ops",
    "optimizers",
    "plots",
    "pretraining",
    "profile",
    "random",
    "regularizers",
    "saving",
    "schedules",
    "set_num_threads",
    "tree",
    "utils",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"fastdl.{name}")
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
        globals()[name] = value
        return value
    from fastdl.base.naming import no_such

    raise no_such(__name__, name, __all__, "it has what Keras has for dense nets")


def __dir__() -> list[str]:
    return sorted(__all__)
