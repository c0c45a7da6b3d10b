"""Keras 3 on the backend that KERAS_BACKEND names; on JAX eight steps an execution, which serves it best."""

from __future__ import annotations

from typing import Any

import keras

from bench.workloads import Unit, Workload


def setup(threads: int, which: str) -> None:
    """Called once, before anything else."""
    if keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(threads)


def versions() -> dict[str, Any]:
    """Version and backend."""
    return {"keras": keras.__version__, "keras backend": keras.backend.backend()}


def model(work: Workload, activation: str | None = None) -> Any:
    """The net, compiled; the loss takes its logits."""
    net = keras.Sequential([keras.Input((work.widths[0],))])
    for units in work.widths[1:-1]:
        net.add(keras.layers.Dense(units, use_bias=not work.norm))
        if work.norm:
            net.add(keras.layers.BatchNormalization())
        net.add(keras.layers.Activation(work.activation))
    net.add(keras.layers.Dense(work.widths[-1], activation=activation))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    together = min(8, work.steps) if keras.backend.backend() == "jax" else 1
    adam = keras.optimizers.Adam(1e-3)
    net.compile(adam, loss, jit_compile="auto", steps_per_execution=together)
    return net


def train(work: Workload) -> Unit:
    """An epoch."""
    (x, y), net = work.data, model(work)
    return Unit(lambda: net.fit(x, y, epochs=1, batch_size=work.batch, verbose=0), work.steps)


def predict(work: Workload) -> Unit:
    """All rows at once."""
    (x, _), net = work.data, model(work, "softmax")
    return Unit(lambda: net.predict_on_batch(x))
