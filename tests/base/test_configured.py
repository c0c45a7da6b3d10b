"""`deserialize` finds classes and functions of one's own where it is handed them, and only then."""

from __future__ import annotations

import importlib
import json
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import activations, constraints, initializers, losses, metrics, optimizers, regularizers, schedules

OWN: dict[str, Any] = {
    "losses": losses.MeanSquaredError,
    "metrics": metrics.MeanSquaredError,
    "optimizers": optimizers.SGD,
    "regularizers": regularizers.L1,
    "initializers": initializers.Ones,
    "constraints": constraints.NonNeg,
    "schedules": schedules.ExponentialDecay,
}


@pytest.mark.parametrize("module", OWN)
def test_classes_of_ones_own(module: str) -> None:
    api, base = importlib.import_module(f"fastdl.{module}"), OWN[module]
    own = type(f"Own{base.__name__}", (base,), {})
    made = own(0.1, 10, 0.5) if module == "schedules" else own()
    config = json.loads(json.dumps(api.serialize(made)))
    with pytest.raises(ValueError, match=f"unknown class '{own.__name__}'|not known here"):
        api.deserialize(config)
    again = api.deserialize(config, custom_objects={own.__name__: own})
    assert type(again) is own
    assert again.get_config() == made.get_config()
    with pytest.raises(ValueError, match=f"unknown class '{own.__name__}'|not known here"):
        api.deserialize(config)


def test_an_activation_of_ones_own() -> None:
    def twice(x: Any) -> Any:
        return 2 * x

    config = activations.serialize(twice)
    with pytest.raises(ValueError, match="not known here"):
        activations.deserialize(config)
    assert activations.deserialize(config, custom_objects={"twice": twice}) is twice


@pytest.mark.parametrize("module", [*OWN, "activations"])
def test_get_takes_keras_argument(module: str) -> None:
    if module != "schedules":
        api = importlib.import_module(f"fastdl.{module}")
        name = {"activations": "relu", "constraints": "non_neg"}.get(module) or OWN[module].__name__
        assert type(api.get(identifier=name)) is type(api.get(name))


def test_an_initializer_is_cloned() -> None:
    one = initializers.HeNormal(seed=3)
    other = one.clone()
    assert other is not one
    assert np.array_equal(one((4, 5)), other((4, 5)))
    generator = initializers.RandomNormal(seed=fastdl.random.SeedGenerator(4))
    first = generator((4, 5))
    assert np.array_equal(generator.clone()((4, 5)), first)
