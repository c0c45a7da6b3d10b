"""Model.summary: Keras's arguments, and what the table then tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl as keras
from fastdl import layers
from fastdl.utils.summary_utils import print_summary


def told(model: keras.Model, **options: Any) -> str:
    lines: list[str] = []
    print_summary(model, print_fn=lines.append, **options)
    return "\n".join(lines)


def nested() -> keras.Model:
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="deep")], name="inner")
    inputs = keras.Input((4,), name="first")
    h = layers.Dropout(0.1, name="drop")(inner(inputs))
    model = keras.Model(inputs, layers.Dense(2, name="last")(h))
    inner.trainable = False
    return model


def test_what_the_optimizer_keeps_counts() -> None:
    model = keras.Sequential([keras.Input((2,)), layers.Dense(3)])
    assert "Total params: 9\n" in told(model)
    model.compile("adam", "mse")
    assert "Optimizer params" not in told(model)  # before it has any
    model.fit(np.zeros((4, 2)), np.zeros((4, 3)), verbose=0)
    text = told(model)
    for line in ("Total params: 29", "Trainable params: 9", "Non-trainable params: 0", "Optimizer params: 20"):
        assert line in text


def test_models_within_and_what_is_trained() -> None:
    model = nested()
    assert "deep" not in told(model)
    lines = told(model, expand_nested=True, show_trainable=True).splitlines()
    row = {name: next(line for line in lines if name in line) for name in ("inner", "  deep", "drop", "last")}
    trained = {name: line.rstrip("│┃ ").rpartition("│")[2].strip() for name, line in row.items()}
    assert trained == {"inner": "N", "  deep": "N", "drop": "-", "last": "Y"}


def test_some_of_the_layers() -> None:
    text = told(nested(), layer_range=["inner", "dr.*"])
    assert "inner" in text
    assert "drop" in text
    assert "last" not in text
    with pytest.raises(ValueError, match="there are the layers first, inner, drop, last"):
        told(nested(), layer_range=["inner", "none"])
    with pytest.raises(ValueError, match="names of two layers"):
        told(nested(), layer_range=["inner"])


def test_widths() -> None:
    text = told(nested(), line_length=70)
    assert max(map(len, text.splitlines())) <= 70
    wide = told(nested(), line_length=80, positions=[0.4, 0.6, 0.8, 1.0])
    assert wide.splitlines()[1].split("┳")[0] == "┏" + "━" * 31
    with pytest.raises(ValueError, match="positions must be 4 growing numbers"):
        told(nested(), positions=[0.5, 0.2, 0.8, 1.0])


def test_layers_that_are_not_called() -> None:
    class Mine(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.spare = layers.Dense(4), layers.Dense(2), layers.Dense(1)

        def build(self, input_shape: Any) -> None:
            self.first.build(input_shape)
            self.second.build(self.first.compute_output_shape(input_shape))

        def call(self, inputs: Any) -> Any:
            return self.second(self.first(inputs))

    model = Mine()
    model.build((None, 2))
    text = told(model)
    assert "(None, 4)" in text
    assert "?" in text
    assert "Total params: 22" in text
    assert [layer.name for layer in model.layers] == [model.first.name, model.second.name, model.spare.name]
