"""Losses in structures: which are of which outputs, what they are called in logs, and what they add up to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers, losses, ops, saving
from fastdl.errors import UnknownOutputError

RNG = np.random.default_rng(4)
X, A, B = (RNG.standard_normal((30, n)).astype(np.float32) for n in (4, 2, 2))


@saving.register_keras_serializable("terms")
def both(y_true: Any, y_pred: Any) -> Any:
    """Of the two outputs together: the square of the sum of their errors."""
    (ta, tb), (pa, pb) = (each.values() if isinstance(each, dict) else each for each in (y_true, y_pred))
    return ops.mean(ops.square((pa - ta) + (pb - tb)), axis=-1)


def net(structure: Callable[[Any, Any], Any]) -> Any:
    fastdl.utils.set_random_seed(3)
    x = fastdl.Input((4,))
    return fastdl.Model(x, structure(layers.Dense(2, name="a")(x), layers.Dense(2, name="b")(x)))


def mse(pa: Any, pb: Any) -> tuple[float, float]:
    return float(np.mean((pa - A) ** 2)), float(np.mean((pb - B) ** 2))


def joint(pa: Any, pb: Any) -> float:
    return float(np.mean((pa - A + pb - B) ** 2))


def as_list(a: Any, b: Any) -> Any:
    return [a, b]


def as_tuple(a: Any, b: Any) -> Any:
    return a, b


def as_mapping(a: Any, b: Any) -> Any:
    return {"p": a, "q": b}


# structure of the outputs, loss, weights, and by numpy: the total and what stands in logs beside it
CASES: dict[str, tuple[Any, Any, Any, Callable[[Any, Any], float], set[str]]] = {
    "one for all": (as_list, "mse", None, lambda a, b: sum(mse(a, b)), {"a_loss", "b_loss"}),
    "of one alone": (as_list, ["mse", None], None, lambda a, b: mse(a, b)[0], set()),
    "two of one": (
        as_list,
        ["mse", ["mse", "mae"]],
        None,
        lambda a, b: sum(mse(a, b)) + float(np.mean(np.abs(b - B))),
        {"a_loss", "b_loss"},
    ),
    "together and each": (
        as_tuple,
        [both, ("mse", "mse")],
        [0.5, (2.0, 3.0)],
        lambda a, b: 0.5 * joint(a, b) + 2 * mse(a, b)[0] + 3 * mse(a, b)[1],
        {"a_b_loss", "a_loss", "b_loss"},
    ),
    "together and each, of a list": (
        as_list,
        (both, ("mse", "mse")),
        None,
        lambda a, b: joint(a, b) + sum(mse(a, b)),
        {"a_b_loss", "a_loss", "b_loss"},
    ),
    "together, by keys": (
        as_mapping,
        [both, {"p": "mse"}],
        None,
        lambda a, b: joint(a, b) + mse(a, b)[0],
        {"p_q_loss", "p_loss"},
    ),
    "deep within": (
        lambda a, b: {"in": (a, b), "out": b},
        {"in": [both, (None, "mse")], "out": "mse"},
        None,
        lambda a, b: joint(a, b) + 2 * mse(a, b)[1],
        {"in_loss", "in/b_loss", "out_loss"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_they_add_up_to(name: str, tmp_path: Path) -> None:
    structure, loss, weights, total, names = CASES[name]
    model = net(structure)
    targets = structure(A, B)
    model.compile(fastdl.optimizers.SGD(0.05), loss, loss_weights=weights)
    pa, pb = (X @ layer.kernel.numpy() for layer in (model.get_layer("a"), model.get_layer("b")))
    logs = model.evaluate(X, targets, return_dict=True)
    assert logs["loss"] == pytest.approx(total(pa, pb), rel=1e-4)
    assert set(logs) == {"loss", *names}
    history = model.fit(X, targets, epochs=8, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    model.save(tmp_path / "m.fastdl")
    again = fastdl.load_model(tmp_path / "m.fastdl")
    assert again.evaluate(X, targets, return_dict=True) == model.evaluate(X, targets, return_dict=True)


def test_a_loss_of_both_has_the_gradient_of_its_parts() -> None:
    def parts(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_pred[0] - y_true[0]), -1) + ops.mean(ops.square(y_pred[1] - y_true[1]), -1)

    found = []
    for structure, loss in ((as_tuple, [parts]), (as_tuple, ("mse", "mse"))):
        model = net(structure)
        model.compile(fastdl.optimizers.SGD(0.1), loss)
        model.fit(X, (A, B), epochs=3, batch_size=8, shuffle=False, sample_weight=np.linspace(0, 2, 30), verbose=0)
        found.append(model.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


WRONG: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "a key": (
        as_mapping,
        {"p": "mse", "r": "mse"},
        KeyError,
        r"loss\['r'\] has no output: they are \{'p': p, 'q': q\}",
    ),
    "a name": (as_list, {"a": "mse", "c": "mse"}, ValueError, "Expected keys: a, b"),
    "too few": (as_list, ["mse"], ValueError, "loss has 1 entries, the model 2 outputs"),
    "labels and rows": (
        as_list,
        [["mse", "sparse_categorical_crossentropy"], "mse"],
        ValueError,
        "of one output take other targets",
    ),
    "a kernel of both": (as_tuple, [losses.MeanSquaredError()], ValueError, "is of one output"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_the_outputs(name: str) -> None:
    structure, loss, error, said = WRONG[name]
    model = net(structure)
    model.compile("sgd", loss)
    with pytest.raises(error, match=said):
        model.fit(X, structure(A, B), verbose=0)
    assert issubclass(UnknownOutputError, ValueError)


def test_weights_that_do_not_fit() -> None:
    model = net(as_list)
    model.compile("sgd", ["mse", "mse"], loss_weights=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="there are 3 entries, and 2 losses"):
        model.fit(X, [A, B], verbose=0)
