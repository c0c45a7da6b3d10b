"""Metrics of one's own in fit and evaluate: Keras's logs, key by key."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from metrics.own import made

import fastdl

pytestmark = [
    pytest.mark.peer,
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras with numpy 2
]
ROWS = 21
X = np.random.default_rng(0).standard_normal((ROWS, 3)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 4, ROWS)
WEIGHT = np.random.default_rng(2).uniform(0.5, 2, ROWS).astype(np.float32)
KERNEL = np.random.default_rng(3).standard_normal((3, 4)).astype(np.float32)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", made(fastdl))
def test_logs_as_keras(name: str, weighted: bool) -> None:
    keras = pytest.importorskip("keras")
    sparse = name == "labels"
    loss, y = ("sparse_categorical_crossentropy", LABELS) if sparse else ("mse", np.eye(4, dtype=np.float32)[LABELS])
    logs: list[Any] = []
    for api in (fastdl, keras):
        model = api.Sequential([api.Input((3,)), api.layers.Dense(4, "softmax")])
        model.set_weights([KERNEL, np.zeros(4)])
        metric = made(api)[name]()
        model.compile(api.optimizers.SGD(0.1), loss, **{"weighted_metrics" if weighted else "metrics": [metric]})
        options = {"sample_weight": WEIGHT} if weighted else {}
        history = model.fit(X, y, 6, epochs=2, shuffle=False, validation_data=(X, y), verbose=0, **options).history
        tested = model.evaluate(X, y, batch_size=5, verbose=0, **options)
        asked = metric.result()
        state = {key: float(value) for key, value in asked.items()} if isinstance(asked, dict) else float(asked)
        logs.append((history, {"tested": tested}, state if isinstance(state, dict) else {"state": state}))
    for ours, theirs in zip(*logs, strict=True):
        assert set(ours) == set(theirs)
        for key, value in theirs.items():
            np.testing.assert_allclose(ours[key], value, rtol=2e-5, err_msg=key)
