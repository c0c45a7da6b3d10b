"""fastdl as its users call it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import fastdl
from bench.workloads import Lookup, Skip, Unit, Workload
from fastdl import _ext, kernels, layers, ops, optimizers
from fastdl.models.pace import SLICE_SECONDS, Pace, Plan

variant = ""


def setup(threads: int, which: str) -> None:
    """Called once, before anything else."""
    global variant
    variant = which
    if variant == "bfloat16":
        fastdl.config.set_dtype_policy("mixed_bfloat16")
    fastdl.set_num_threads(threads)
    if variant == "fixed":
        Pace.plan = lambda pace, left, **_: Plan(threads, pace._steps(threads, SLICE_SECONDS))  # type: ignore[method-assign]


def versions() -> dict[str, Any]:
    """Version and instruction set."""
    name, width = _ext.isa()
    return {"fastdl": fastdl.__version__, "isa": name, "bits": 8 * width, "isas": _ext.supported_isas()}


def own_loss(y_true: Any, y_pred: Any) -> Any:
    """sparse_categorical_crossentropy, written by oneself."""
    labels = ops.one_hot(ops.squeeze(y_true, -1), y_pred.shape[-1])
    return -ops.sum(labels * ops.log(ops.clip(y_pred, 1e-7, 1 - 1e-7)), axis=-1)


def own_relu(x: Any) -> Any:
    """relu, written by oneself."""
    return ops.maximum(x, 0)


def model(work: Workload) -> Any:
    """The net, compiled."""
    own = variant == "own"
    net = fastdl.Sequential([fastdl.Input((work.widths[0],))])
    for units in work.widths[1:-1]:
        net.add(layers.Dense(units, use_bias=not work.norm))
        if work.norm:
            net.add(layers.BatchNormalization())
        net.add(layers.Activation(own_relu if own and work.activation == "relu" else work.activation))
    net.add(layers.Dense(work.widths[-1], activation="softmax"))
    net.compile(optimizers.Adam(1e-3), own_loss if own else "sparse_categorical_crossentropy")
    return net


def train(work: Workload) -> Unit:
    """An epoch."""
    (x, y), net = work.data, model(work)
    return Unit(lambda: net.fit(x, y, epochs=1, batch_size=work.batch, verbose=0), work.steps)


def train_many(work: Workload) -> Unit:
    """An epoch of several nets: utils.fit_all, or one fit after the other."""
    (x, y), nets = work.data, [model(work) for _ in range(work.models)]
    options: dict[str, Any] = {"epochs": 1, "batch_size": work.batch, "verbose": 0}
    steps = work.steps * work.models
    if variant == "each":
        return Unit(lambda: [net.fit(x, y, **options) for net in nets], steps)
    return Unit(lambda: fastdl.utils.fit_all(nets, x, y, **options), steps)


def train_lookup(work: Lookup) -> Unit:
    """An epoch of a net on an Embedding."""
    (x, y), sparse = work.data, work.rule == "SparseAdam"
    net = fastdl.Sequential(
        [
            fastdl.Input((work.columns,)),
            layers.Embedding(work.values, work.size, sparse=sparse),
            layers.Flatten(),
            layers.Dense(work.hidden, "relu"),
            layers.Dense(2, "softmax"),
        ]
    )
    rule = optimizers.SGD(0.01) if work.rule == "SGD" else optimizers.Adam(1e-3)
    net.compile(rule, "sparse_categorical_crossentropy")
    return Unit(lambda: net.fit(x, y, epochs=1, batch_size=work.batch, verbose=0), work.steps)


def profile(work: Workload) -> str:
    """Where a step's time goes, kernel by kernel."""
    (x, y), net = work.data, model(work)
    return str(fastdl.profile(net, x, y, work.batch))


def predict(work: Workload) -> Unit:
    """All rows at once: model.predict, or onnxruntime through fastdl.Runner."""
    (x, _), net = work.data, model(work)
    if variant != "runner":
        return Unit(lambda: net.predict(x))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        try:
            net.export(path)
            runner = fastdl.Runner(path)
        except Exception as error:
            raise Skip(f"export: {type(error).__name__}") from error
    return Unit(lambda: runner.predict(x))


def matmul(a: Any, b: Any, transpose_a: bool, transpose_b: bool) -> Unit:
    """op(a) @ op(b) into an array that is there."""
    out = np.empty((a.shape[int(transpose_a)], b.shape[1 - int(transpose_b)]), np.float32)
    return Unit(lambda: kernels.matmul(a, b, transpose_a, transpose_b, out=out))


class Learner:
    """Trains piece by piece and tells its accuracy."""

    def __init__(self, work: Workload, seed: int) -> None:
        fastdl.utils.set_random_seed(seed)
        self.batch, self.net = work.batch, model(work)

    def learn(self, x: Any, y: Any) -> None:
        """One pass over the rows."""
        self.net.fit(x, y, epochs=1, batch_size=self.batch, verbose=0)

    def accuracy(self, x: Any, y: Any) -> float:
        """Share of rows that it gets right."""
        return float((self.net.predict(x).argmax(1) == y).mean())
