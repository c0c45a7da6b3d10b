"""What ranks and one process train alike: made by name, for both, from the same seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastdl
from fastdl import layers, optimizers
from fastdl.regularizers import OrthogonalRegularizer

ROWS, BATCH, EPOCHS = 110, 32, 2  # of all ranks together; the last batch is smaller


def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 6))
    return x, (x[:, :3].sum(axis=1) > 0).astype(np.int64) + (x[:, 3] > 0)


def far(y_true: Any, y_pred: Any) -> Any:
    """A metric of one's own, which counts itself."""
    return np.abs(y_pred).max(axis=-1)


def dense(optimizer: Any, units: int = 16, **options: Any) -> Any:
    model = fastdl.Sequential([fastdl.Input((6,), dtype="float64"), layers.Dense(units, "relu", **options)])
    model.add(layers.Dense(3, "softmax"))
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy", far])
    return model


def twice(optimizer: Any) -> Any:
    """One layer read twice, whose gradients are added up first."""
    hidden, inputs = layers.Dense(6, "tanh"), fastdl.Input((6,), dtype="float64")
    model = fastdl.Model(inputs, layers.Dense(3, "softmax")(hidden(hidden(inputs))))
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


CASES: dict[str, Callable[[], Any]] = {
    "adam": lambda: dense(optimizers.Adam(0.01)),
    "momentum, penalty, weight decay": lambda: dense(
        optimizers.SGD(0.1, momentum=0.9, weight_decay=0.01), kernel_regularizer="l2"
    ),
    "clipnorm": lambda: dense(optimizers.Adam(0.01, clipnorm=0.1)),
    "global_clipnorm, a moving average": lambda: dense(optimizers.SGD(0.1, global_clipnorm=0.1, use_ema=True)),
    "gradient accumulation": lambda: dense(optimizers.Adam(0.01, gradient_accumulation_steps=3)),
    "a penalty by numpy": lambda: dense(optimizers.SGD(0.1), kernel_regularizer=OrthogonalRegularizer()),
    "a constraint, a whole rule": lambda: dense(optimizers.Muon(0.01), kernel_constraint="unit_norm"),
    "one layer twice": lambda: twice(optimizers.SGD(0.1)),
}


def made(name: str) -> Any:
    fastdl.utils.set_random_seed(1)
    fastdl.config.set_floatx("float64")
    return CASES[name]()
