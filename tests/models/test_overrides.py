"""Methods of Keras's that a compiled program never calls are refused where a class defines them."""

from __future__ import annotations

from typing import Any

import pytest

import fastdl
from fastdl import optimizers


@pytest.mark.parametrize("base", [fastdl.Model, fastdl.Sequential])
@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("train_step", "a loss of your own"),
        ("test_step", "metrics of your own"),
        ("predict_step", "layers of your own"),
        ("compute_loss", "a loss of your own"),
        ("compute_metrics", "metrics of your own"),
        ("make_train_function", "callbacks"),
    ],
)
def test_models(base: type, name: str, instead: str) -> None:
    with pytest.raises(TypeError, match=f"Mine.{name} would never be called.*{instead}"):
        type("Mine", (base,), {name: lambda self, data: data})


@pytest.mark.parametrize("base", [optimizers.SGD, optimizers.Adam, optimizers.Optimizer])
def test_optimizers(base: type) -> None:
    with pytest.raises(TypeError, match=r"Mine\.update_step would never be called.*another optimizer"):
        type("Mine", (base,), {"update_step": lambda self, gradient, variable, rate: None})


def test_other_methods_are_ones_own() -> None:
    class Mine(fastdl.Model):
        def call(self, x: Any) -> Any:
            return x

        def step(self) -> None: ...

    class Other(optimizers.SGD):
        def scalars(self) -> tuple[float, ...]:
            return super().scalars()

    assert Mine().name == "mine"
    assert Other().momentum == 0
