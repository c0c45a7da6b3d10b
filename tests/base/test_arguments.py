"""Whatever is given for an argument: it is taken where it means something, or one line names the argument."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl as keras
from fastdl import (
    callbacks,
    constraints,
    initializers,
    kernels,
    layers,
    losses,
    metrics,
    optimizers,
    regularizers,
    schedules,
)
from fastdl.diagnosis.finder import find_learning_rate

NONE, NAN, INF, HUGE, VAST, OBJECT = None, float("nan"), float("inf"), 2**40, 2**70, object()
ODD: list[Any] = [NONE, -1, 0, 0.5, NAN, INF, HUGE, VAST, "x", [], {}, OBJECT]
X = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
Y = (X[:, 0] > 0) * 1


def net() -> keras.Sequential:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, "sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    return model


def fit(**options: Any) -> Any:
    return net().fit(X, Y, **{"verbose": 0, "epochs": 1, **options})


def optimizer(**options: Any) -> None:
    model = net()
    model.compile(optimizers.SGD(**options), "mse")
    model.fit(X, Y, verbose=0)


# the argument, a call with it, and which odd values are taken
CALLS: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
    "fit batch_size": (lambda v: fit(batch_size=v), [NONE]),
    "fit epochs": (lambda v: fit(epochs=v), []),
    "fit initial_epoch": (lambda v: fit(initial_epoch=v), [0]),
    "fit steps_per_epoch": (lambda v: fit(steps_per_epoch=v), [NONE]),
    "fit validation_steps": (lambda v: fit(validation_steps=v), [NONE]),
    "fit validation_split": (lambda v: fit(validation_split=v), [NONE, 0, 0.5]),
    "fit shuffle": (lambda v: fit(shuffle=v), [NONE, 0]),
    "fit check_input": (lambda v: fit(check_input=v), [NONE, 0]),
    "fit class_weight": (lambda v: fit(class_weight=v), [NONE, {}]),
    "fit sample_weight": (lambda v: fit(sample_weight=v), [NONE, {}]),
    "fit verbose": (lambda v: fit(verbose=v), [0]),
    "fit callbacks": (lambda v: fit(callbacks=v), [NONE, [], {}]),
    "evaluate batch_size": (lambda v: net().evaluate(X, Y, batch_size=v), [NONE]),
    "evaluate steps": (lambda v: net().evaluate(X, Y, steps=v), [NONE]),
    "evaluate verbose": (lambda v: net().evaluate(X, Y, verbose=v), [0]),
    "evaluate return_dict": (lambda v: net().evaluate(X, Y, return_dict=v), [NONE, 0]),
    "predict batch_size": (lambda v: net().predict(X, batch_size=v), [NONE]),
    "predict steps": (lambda v: net().predict(X, steps=v), [NONE]),
    "predict training": (lambda v: net().predict(X, training=v), [NONE, 0]),
    "predict x": (lambda v: net().predict(v), []),
    "fit y": (lambda v: net().fit(X, v, verbose=0), []),
    "compile loss_weights": (
        lambda v: net().compile("sgd", "mse", loss_weights=v),
        [NONE, -1, 0, 0.5, HUGE, VAST, [], {}],
    ),
    "save filepath": (lambda v: net().save(v), ["x.fastdl"]),
    "save_weights filepath": (lambda v: net().save_weights(v), ["x.fastdl"]),
    "load_weights filepath": (lambda v: net().load_weights(v) if v != "x" else None, ["x"]),
    "load_model filepath": (lambda v: keras.models.load_model(v) if v != "x" else None, ["x"]),
    "export path": (lambda v: net().export(v), ["x"]),
    "export class_names": (lambda v: net().export("y.onnx", class_names=v), [NONE]),
    "build input_shape": (lambda v: keras.Sequential([layers.Dense(1)]).build(v), []),
    "get_layer index": (lambda v: net().get_layer(index=v), [-1, 0]),
    "set_weights weights": (lambda v: net().set_weights(v), []),
    "Input shape": (lambda v: keras.Input(v), [[]]),
    "Input shape of one": (lambda v: keras.Input((v,)), [NONE]),
    "Dense units": (lambda v: layers.Dense(v)(X), []),
    "Dense use_bias": (lambda v: layers.Dense(2, use_bias=v), [NONE, 0]),
    "Dense name": (lambda v: layers.Dense(2, name=v), [NONE, "x"]),
    "Dropout rate": (lambda v: layers.Dropout(v), [0, 0.5]),
    "BatchNormalization momentum": (lambda v: layers.BatchNormalization(momentum=v), [0, 0.5]),
    "Reshape target_shape": (lambda v: layers.Reshape(v), [[], {}]),
    "learning_rate": (lambda v: optimizer(learning_rate=v), [0, 0.5, HUGE, VAST]),
    "momentum": (lambda v: optimizer(momentum=v), [0, 0.5]),
    "nesterov": (lambda v: optimizer(nesterov=v), [NONE, 0]),
    "clipnorm": (lambda v: optimizer(clipnorm=v), [NONE, 0, 0.5, HUGE, VAST]),
    "weight_decay": (lambda v: optimizer(weight_decay=v), [NONE, 0, 0.5, HUGE, VAST]),
    "use_ema": (lambda v: optimizer(use_ema=v), [NONE, 0]),
    "ema_momentum": (lambda v: optimizer(use_ema=True, ema_momentum=v), [0, 0.5]),
    "ema_overwrite_frequency": (lambda v: optimizer(ema_overwrite_frequency=v), [NONE, HUGE]),
    "epsilon": (lambda v: optimizers.Adam(epsilon=v), [0, 0.5, HUGE, VAST]),
    "min": (lambda v: find_learning_rate(net(), X, Y, min=v), [0.5]),
    "max": (lambda v: find_learning_rate(net(), X, Y, max=v), [0.5, HUGE, VAST]),
    "steps": (lambda v: find_learning_rate(net(), X, Y, steps=v), []),
    "find_learning_rate batch_size": (lambda v: find_learning_rate(net(), X, Y, batch_size=v), []),
    "matmul out": (lambda v: kernels.matmul(X, X.T, out=v), [NONE]),
    "matmul transpose_a": (lambda v: kernels.matmul(X, X.T, transpose_a=v), [NONE, 0]),
    "EarlyStopping monitor": (lambda v: callbacks.EarlyStopping(v), []),
    "EarlyStopping patience": (lambda v: callbacks.EarlyStopping(patience=v), [-1, 0, HUGE]),
    "ReduceLROnPlateau factor": (lambda v: callbacks.ReduceLROnPlateau(factor=v), [0, 0.5]),
    "ModelCheckpoint filepath": (lambda v: callbacks.ModelCheckpoint(v), ["x.fastdl"]),
    "CSVLogger filename": (lambda v: callbacks.CSVLogger(v), ["x"]),
    "BackupAndRestore backup_dir": (lambda v: callbacks.BackupAndRestore(v), ["x"]),
}


def odd_values(taken: list[Any]) -> Iterator[Any]:
    return (
        value
        for value in ODD
        if not any(value is each or (type(value) is type(each) and value == each) for each in taken)
    )


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("call", CALLS)
def test_an_odd_value_is_refused_by_name(call: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    run, taken = CALLS[call]
    name = call.split()[1] if " " in call else call
    for value in odd_values(taken):
        with pytest.raises((ValueError, TypeError, keras.errors.ModelFileError)) as caught:
            run(value)
        assert "\n" not in str(caught.value), value
        assert name.split("_")[-1].rstrip("s") in str(caught.value), (value, str(caught.value))
    for value in taken:
        run(value)


CONSTRUCTORS = [
    kind
    for module in (optimizers.CLASSES, losses.CLASSES, metrics.CLASSES, schedules.CLASSES, layers.layer.CLASSES)
    for kind in module.values()
] + [
    kind
    for kind in {*regularizers.NAMES.values(), *constraints.NAMES.values(), *initializers.NAMES.values()}
    if isinstance(kind, type)
]


@pytest.mark.parametrize(
    "kind", sorted(set(CONSTRUCTORS), key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__
)
def test_no_constructor_fails_in_another_way(kind: type) -> None:
    """Each of its arguments with each odd value; others as they are by default."""
    needed = {
        "units": 2,
        "rate": 0.1,
        "scale": 1.0,
        "stddev": 0.1,
        "target_shape": (3,),
        "activation": "relu",
        "fn": len,
    }
    needed |= {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5, "first_decay_steps": 10}
    parameters = inspect.signature(kind).parameters.values()
    base = {p.name: needed[p.name] for p in parameters if p.default is p.empty and p.name in needed}
    for parameter in parameters:
        for value in ODD:
            with contextlib.suppress(ValueError, TypeError):
                kind(**{**base, parameter.name: value})


def test_what_is_taken_is_what_was_taken() -> None:
    """A check of arguments leaves signatures and configs as they are."""
    assert list(inspect.signature(layers.Dense).parameters)[:3] == ["units", "activation", "use_bias"]
    assert optimizers.Adam.from_config(optimizers.Adam(0.1).get_config()).learning_rate == 0.1
    assert layers.Dense(np.int64(3), use_bias=np.bool_(True)).units == 3
    assert callbacks.EarlyStopping(patience=5.0).patience == 5

    class Own(layers.Dense):
        def __init__(self, units: int, note: float = 0.0) -> None:
            super().__init__(units)
            self.note = note

    assert Own(3, note="anything").note == "anything"  # type: ignore[arg-type]
