"""Augmenting layers beside Keras's, with nothing left to chance; what is drawn is tested in tests/kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastdl import layers
from fastdl.utils import to_categorical

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras with numpy 2
]
IMAGES = np.random.default_rng(0).standard_normal((5, 7, 9, 3)).astype(np.float32)

# Keras on PyTorch knows neither "wrap" nor its own "reflect": tests/kernels/test_motion.py has scipy for them
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("RandomTranslation", {"height_factor": (0.3, 0.3), "width_factor": (-0.2, -0.2), "fill_mode": "nearest"}),
    ("RandomTranslation", {"height_factor": (-0.4, -0.4), "width_factor": (0.5, 0.5), "fill_mode": "constant"}),
    ("RandomRotation", {"factor": (0.1, 0.1), "fill_mode": "constant", "fill_value": 0.7}),
    ("RandomRotation", {"factor": (-0.3, -0.3), "fill_mode": "nearest"}),
    ("RandomZoom", {"height_factor": (0.4, 0.4), "fill_mode": "constant"}),
    ("RandomZoom", {"height_factor": (0.4, 0.4), "width_factor": (-0.3, -0.3), "fill_mode": "nearest"}),
    ("RandomZoom", {"height_factor": (-0.6, -0.6), "fill_mode": "nearest", "interpolation": "nearest"}),
]


@pytest.mark.parametrize(("name", "arguments"), ROWS)
def test_moves_images_as_keras(name: str, arguments: dict[str, Any]) -> None:
    keras = pytest.importorskip("keras")
    theirs = np.array(getattr(keras.layers, name)(**arguments)(IMAGES, training=True))
    ours = getattr(layers, name)(**arguments)(IMAGES, training=True)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize("mode", ["horizontal", "vertical", "horizontal_and_vertical"])
def test_flips_images_as_keras(mode: str) -> None:
    """Both leave an image or flip it, in the same way."""
    keras = pytest.importorskip("keras")
    many = np.repeat(IMAGES[:1], 100, 0)
    found = [
        {image.tobytes() for image in np.array(layer(many, training=True))}
        for layer in (layers.RandomFlip(mode), keras.layers.RandomFlip(mode))
    ]
    assert len(found[0]) == 2
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("RandomRotation", {"factor": 1.5}),
        ("RandomRotation", {"factor": (0.1, 0.2, 0.3)}),
        ("RandomTranslation", {"height_factor": 0.1, "width_factor": -1.5}),
        ("RandomZoom", {"height_factor": (-1.0, 0.0)}),
        ("RandomZoom", {"height_factor": 0.1, "width_factor": 1.5}),
    ],
)
def test_refuses_what_keras_refuses(name: str, arguments: dict[str, Any]) -> None:
    keras = pytest.importorskip("keras")
    for library in (keras.layers, layers):
        with pytest.raises(ValueError):
            getattr(library, name)(**arguments)


@pytest.mark.parametrize(("labels", "classes"), [([2, 0, 1], None), ([[1], [0]], 4), ([[0, 1], [2, 2]], 3)])
def test_to_categorical_as_keras(labels: Any, classes: int | None) -> None:
    keras = pytest.importorskip("keras")
    theirs = keras.utils.to_categorical(labels, classes)
    ours = to_categorical(labels, classes)
    assert np.array_equal(ours, theirs)
