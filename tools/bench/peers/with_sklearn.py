"""scikit-learn's MLPClassifier: no batch normalization; two classes it does with one output."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier

from bench.workloads import Skip, Unit, Workload


def setup(threads: int, which: str) -> None:
    """Called once, before anything else; its BLAS reads the threads from the environment."""


def versions() -> dict[str, Any]:
    """Version."""
    return {"sklearn": sklearn.__version__}


def _fitted(work: Workload) -> tuple[MLPClassifier, Any]:
    if work.norm:
        raise Skip("no batch normalization")
    hidden, classes = work.widths[1:-1], np.arange(work.widths[-1])
    net = MLPClassifier(hidden, activation=work.activation, batch_size=work.batch, alpha=0, random_state=0)
    return net, classes


def train(work: Workload) -> Unit:
    """An epoch: partial_fit takes one pass over the rows, shuffled."""
    (x, y), (net, classes) = work.data, _fitted(work)
    return Unit(lambda: net.partial_fit(x, y, classes=classes), work.steps)


def predict(work: Workload) -> Unit:
    """All rows at once."""
    (x, _), (net, classes) = work.data, _fitted(work)
    rng = np.random.default_rng(0)
    rows = max(len(classes), work.batch)
    net.partial_fit(rng.random((rows, x.shape[1]), np.float32), np.arange(rows) % len(classes), classes=classes)
    return Unit(lambda: net.predict_proba(x))
