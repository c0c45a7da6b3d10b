"""Arguments by position: none of fastdl's stands where Keras has another."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import fastdl

pytestmark = [pytest.mark.peer]

ROOMS = "metrics", "losses", "layers", "optimizers", "callbacks", "initializers", "regularizers", "constraints"
METHODS = (
    *("fit", "evaluate", "predict", "compile", "train_on_batch", "test_on_batch", "predict_on_batch"),
    *("save", "save_weights", "load_weights", "summary", "get_layer", "export"),
)
CALLED_OTHERWISE = {("export", "path", "filepath")}  # by position it is the same


def positional(function: Any) -> list[str]:
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [name for name, each in inspect.signature(function).parameters.items() if each.kind in kinds]


def known(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


def classes(room: str) -> list[str]:
    made = getattr(fastdl, room)
    names = {name for name in dir(made) if isinstance(getattr(made, name), type)} | set(getattr(made, "CLASSES", ()))
    there = {name: getattr(made, name) for name in names if name[0].isupper() and hasattr(made, name)}
    return sorted(name for name, kind in there.items() if kind.__module__.startswith("fastdl."))


CASES = [(room, name) for room in ROOMS for name in classes(room)]


@pytest.mark.parametrize(("room", "name"), CASES)
def test_classes(room: str, name: str) -> None:
    keras = pytest.importorskip("keras")
    theirs = getattr(getattr(keras, room), name, None)
    if theirs is None:
        pytest.skip("fastdl's own")
    ours, expected = positional(getattr(getattr(fastdl, room), name)), positional(theirs)
    for place, (mine, other) in enumerate(zip(ours, expected, strict=False)):
        assert mine == other, f"argument {place}: {mine}, Keras's is {other}"


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_models(name: str) -> None:
    keras = pytest.importorskip("keras")
    ours, expected = (positional(getattr(api.Model, name)) for api in (fastdl, keras))
    for mine, other in zip(ours, expected, strict=False):
        assert mine == other or (name, mine, other) in CALLED_OTHERWISE


@pytest.mark.parametrize("room", ["metrics", "losses"])
def test_each_argument_of_metrics_and_losses_is_known(room: str) -> None:
    keras = pytest.importorskip("keras")
    for name in classes(room):
        if theirs := getattr(getattr(keras, room), name, None):
            missing = known(theirs) - known(getattr(getattr(fastdl, room), name))
            assert missing <= {"kwargs"}, name


def test_the_model_and_its_input() -> None:
    keras = pytest.importorskip("keras")
    ours, theirs = positional(fastdl.Input), positional(keras.Input)
    assert ours == theirs[: len(ours)]
    assert positional(fastdl.Sequential.__init__) == positional(keras.Sequential.__init__)
    with pytest.raises(ValueError, match="trainable must be True or False, not 'name'"):
        fastdl.Sequential([fastdl.layers.Dense(1)], "name")  # type: ignore[arg-type]
