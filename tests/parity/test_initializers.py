"""Initializers beside Keras's: the same names, arguments and distributions, and the same matrix from the same draw."""

import inspect
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import initializers

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras with numpy 2
]

OWN = {"RandomSign", "Values"}  # which Keras does not have
each_class = pytest.mark.parametrize("name", [name for name in initializers.CLASSES if name not in OWN])


def signature(kind: Any) -> dict[str, Any]:
    """Arguments and their defaults."""
    parameters = inspect.signature(kind).parameters
    return {name: argument.default for name, argument in parameters.items()}


@each_class
def test_arguments_and_defaults(name: str) -> None:
    keras = pytest.importorskip("keras")
    assert signature(getattr(initializers, name)) == signature(getattr(keras.initializers, name))


@pytest.mark.parametrize("name", [n for n, kind in initializers.NAMES.items() if kind.__name__ not in OWN])
def test_names(name: str) -> None:
    keras = pytest.importorskip("keras")
    if name.lower() == "constant":
        pytest.skip("Keras has it, but raises KeyError: it wants the value")
    assert type(keras.initializers.get(name)).__name__ == type(initializers.get(name)).__name__


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (3, 3, 80, 90)])
@each_class
def test_distributions(name: str, shape: tuple[int, ...]) -> None:
    """Mean, standard deviation and quantiles of 60,000 draws."""
    keras = pytest.importorskip("keras")
    if name == "Identity" and len(shape) != 2:
        pytest.skip("makes matrices only")
    options = {"seed": 5} if name not in ("Zeros", "Ones", "Constant", "Identity") else {}
    theirs = np.array(getattr(keras.initializers, name)(**options)(shape, dtype="float32"), np.float64)
    ours = getattr(initializers, name)(**options)(shape, "float32").astype(np.float64)
    assert ours.shape == theirs.shape
    deviation = theirs.std()
    if not options:
        assert np.array_equal(ours, theirs)
        return
    assert abs(ours.mean() - theirs.mean()) < 0.03 * deviation
    assert ours.std() == pytest.approx(deviation, rel=0.015)
    at = np.linspace(0.02, 0.98, 25)
    assert np.abs(np.quantile(ours, at) - np.quantile(theirs, at)).max() < 0.05 * deviation


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9), (2, 3, 5)])
def test_orthogonal_from_the_same_draw(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    keras = pytest.importorskip("keras")
    random = pytest.importorskip("keras.src.initializers.random_initializers").random

    class Fixed:
        def standard_normal(self, size: tuple[int, ...]) -> Any:
            return np.random.default_rng(1).standard_normal(size)

    monkeypatch.setattr(
        random, "normal", lambda shape, **_: keras.ops.convert_to_tensor(Fixed().standard_normal(shape), "float64")
    )
    monkeypatch.setattr(initializers.Orthogonal, "generator", lambda self: Fixed())
    theirs = np.array(keras.initializers.Orthogonal(1.5)(shape, "float64"))
    np.testing.assert_allclose(fastdl.initializers.Orthogonal(1.5)(shape, "float64"), theirs, atol=1e-12)
