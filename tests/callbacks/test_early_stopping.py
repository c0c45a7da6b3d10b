"""EarlyStopping and what it shares with others that watch a number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import callbacks
from fastdl.callbacks import EarlyStopping, ReduceLROnPlateau
from fastdl.callbacks.monitor import higher_is_better

from .small import Epochs, data, run, small

NAN = float("nan")

# what: (settings, watched values, the epoch that is the last, the best epoch)
RUNS: dict[str, tuple[dict[str, Any], list[float], int, int]] = {
    "falls": ({"patience": 2}, [5, 4, 3, 2, 1], 4, 4),
    "no patience": ({}, [5, 4, 4, 3], 2, 1),
    "patience": ({"patience": 2}, [5, 4, 6, 5, 3], 3, 1),
    "patience begins anew": ({"patience": 2}, [5, 4, 6, 3, 4, 2], 5, 5),
    "accuracy rises": ({"patience": 1, "monitor": "val_accuracy"}, [0.1, 0.2, 0.3, 0.3, 0.9], 3, 2),
    "mode max": ({"patience": 1, "mode": "max"}, [1, 2, 1, 5], 2, 1),
    "mode min": ({"patience": 1, "mode": "min", "monitor": "accuracy"}, [3, 2, 4, 1], 2, 1),
    "delta": ({"patience": 1, "min_delta": 0.5}, [5, 4, 3.7, 3.2], 2, 1),
    "delta, exactly": ({"patience": 1, "min_delta": 0.5}, [5, 4, 3.5, 3], 2, 1),
    "delta, negative": ({"patience": 1, "min_delta": -0.5}, [5, 4, 3.7, 3.2], 2, 1),
    "delta, up": ({"patience": 1, "min_delta": 0.5, "mode": "max"}, [1, 2, 2.4, 9], 2, 1),
    "no patience for a baseline": ({"baseline": 1.0}, [5, 4, 6, 6], 2, 1),
    "never in the first epoch": ({}, [NAN, NAN, 3], 1, 0),
    "baseline not met": ({"patience": 2, "baseline": 3.0}, [5, 4, 4.5, 4.6, 1], 2, 1),
    "baseline met": ({"patience": 2, "baseline": 3.0}, [5, 2, 4, 4, 4], 3, 1),
    "from an epoch on": ({"start_from_epoch": 3}, [1, 5, 6, 7, 6, 8, 8], 5, 4),
    "nan is no improvement": ({"patience": 2}, [5, NAN, NAN, 1], 2, 0),
    "nan at first": ({"patience": 3}, [NAN, NAN, 4, 3], 3, 3),
    "nan only": ({"patience": 2}, [NAN] * 9, 1, 0),
}


@pytest.mark.parametrize("restore", [False, True])
@pytest.mark.parametrize("name", RUNS)
def test_when_it_stops_and_what_it_restores(name: str, restore: bool) -> None:
    settings, values, last, best = RUNS[name]
    stopping = EarlyStopping(restore_best_weights=restore, **settings)
    for _ in range(2):  # the second fit as the first
        stub, kept = run(stopping, values, stopping.monitor)
        assert len(kept) - 1 == last
        assert stub.stop_training is (last < len(values) - 1)
        assert stopping.best_epoch == best
        assert stub.weights == [best if restore else last]


def test_it_restores_the_weights_of_a_model() -> None:
    x, y = data(60)
    model, looks = small(0.3), Epochs()
    kept: list[Any] = []

    class Keep(callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            kept.append(self.model.get_weights())

    stopping = EarlyStopping(patience=3, restore_best_weights=True)
    history = model.fit(x, y, 8, 200, 0, [stopping, looks, Keep()], validation_split=0.3).history["val_loss"]
    best = int(np.argmin(history))
    assert 0 < best < len(history) - 1 < 199, "it neither stops at once nor never"
    assert len(history) - 1 == best + 3 == stopping.stopped_epoch
    for a, b in zip(model.get_weights(), kept[best], strict=True):
        assert np.array_equal(a, b)
    assert model.evaluate(x[42:], y[42:])[0] == history[best]


def test_what_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    run(EarlyStopping(verbose=1, restore_best_weights=True), [3, 2, 4])
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 3: early stopping",
        "Restoring model weights from the end of the best epoch: 2.",
    ]


@pytest.mark.parametrize("kind", [callbacks.EarlyStopping, callbacks.ReduceLROnPlateau])
def test_a_monitor_that_is_not_there_is_named(kind: Any) -> None:
    with pytest.warns(UserWarning, match=f"{kind.__name__} waits for 'val_loss', but there is only loss"):
        run(kind(), [3.0], "loss")


@pytest.mark.parametrize(
    ("names", "higher"),
    [
        (["loss", "val_loss", "head_loss", "mse", "val_mean_absolute_error", "rmse", "binary_crossentropy"], False),
        (["accuracy", "val_acc", "sparse_top_k_categorical_accuracy", "AUC", "precision", "val_f1_score"], True),
        (["r2_score", "recall_1", "cosine_similarity"], True),
        (["log_cosh", "kl_divergence", "hinge", "poisson", "huber"], False),
    ],
)
def test_which_way_is_better(names: list[str], higher: bool) -> None:
    for name in names:
        assert higher_is_better(name) is higher, name
        assert higher_is_better(name, "max") is True
        assert higher_is_better(name, "min") is False


def test_a_name_that_does_not_tell_needs_a_mode() -> None:
    with pytest.raises(ValueError, match="'val_profit' is good cannot be told from its name: pass mode='max'"):
        EarlyStopping("val_profit")
    with pytest.raises(ValueError, match="mode must be auto, min or max, not 'up'"):
        EarlyStopping(mode="up")


@pytest.mark.parametrize("kind", [EarlyStopping, ReduceLROnPlateau])
@pytest.mark.parametrize("average", [None, "macro"])
def test_a_metric_of_each_output_is_no_number_to_watch(kind: Any, average: str | None) -> None:
    """Keras fails there too, without saying why."""
    x, y = np.random.default_rng(0).random((20, 4)), np.eye(3)[np.arange(20) % 3]
    model = fastdl.Sequential([fastdl.Input((4,)), fastdl.layers.Dense(3, "sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=[fastdl.metrics.F1Score(average, threshold=0.5)])

    def fit() -> Any:
        return model.fit(x, y, validation_split=0.5, callbacks=kind("val_f1_score", mode="max"), verbose=0)

    if average:
        assert len(fit().history["val_f1_score"]) == 1
    else:
        with pytest.raises(ValueError, match="watches one number, but val_f1_score is one for each of 3 outputs"):
            fit()
