"""Augmentation: Keras's arguments, training against inference, targets mixed with their samples, copies, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import kernels, layers
from fastdl.errors import DataError, ShapeError
from fastdl.kernels.call import KernelCall
from fastdl.models import load_model
from fastdl.utils import to_categorical

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((40, 6, 5, 2)).astype(np.float32)
LABELS = np.arange(40) % 3

LAYERS: dict[str, Callable[[], layers.Layer]] = {
    "RandomFlip": layers.RandomFlip,
    "RandomFlip, options": lambda: layers.RandomFlip("vertical", seed=3),
    "RandomTranslation": lambda: layers.RandomTranslation(
        0.2, (-0.1, 0.3), "wrap", "nearest", 4, data_format="channels_last"
    ),
    "RandomRotation": lambda: layers.RandomRotation((-0.1, 0.2), "constant", fill_value=0.5),
    "RandomZoom": lambda: layers.RandomZoom(0.3),
    "RandomZoom, both": lambda: layers.RandomZoom(0.3, (-0.1, 0.2), "nearest"),
    "MixUp": lambda: layers.MixUp(0.5, seed=7),
}
each = pytest.mark.parametrize("name", LAYERS)

# the layer, and the row of the kernel table that it is, with its scalars and options
MEANINGS: list[tuple[Callable[[], layers.Layer], str, tuple[float, ...], dict[str, Any]]] = [
    (lambda: layers.RandomTranslation((0.2, 0.2), (-0.4, -0.4)), "translation", (0.2, 0.2, -0.4, -0.4), {}),
    (
        lambda: layers.RandomTranslation((0.2, 0.2), (0, 0), "constant", fill_value=3),
        "translation",
        (0.2, 0.2, 0, 0),
        {"fill": "constant", "fill_value": 3.0},
    ),
    (lambda: layers.RandomRotation((0.1, 0.1), "nearest"), "rotation", (0.1, 0.1), {"fill": "nearest"}),
    (lambda: layers.RandomZoom((0.3, 0.3), (0.1, 0.1), "wrap"), "zoom", (0.3, 0.3, 0.1, 0.1), {"fill": "wrap"}),
    (
        lambda: layers.RandomZoom((-0.5, -0.5), interpolation="nearest"),
        "even_zoom",
        (-0.5, -0.5),
        {"nearest": True},
    ),
]


@pytest.mark.parametrize(("make", "kind", "scalars", "options"), MEANINGS)
def test_arguments_mean_what_the_kernels_do(
    make: Callable[[], layers.Layer], kind: str, scalars: tuple[float, ...], options: dict[str, Any]
) -> None:
    expected = kernels.motion(kind, IMAGES, *scalars, **options)
    assert not np.allclose(expected, IMAGES)
    assert np.array_equal(make()(IMAGES, training=True), expected)
    flat = make()(IMAGES[..., 0], training=True)  # images without channels
    assert np.array_equal(flat, expected[..., 0])


@pytest.mark.parametrize("mode", ["horizontal", "vertical", "horizontal_and_vertical"])
def test_flip_modes(mode: str) -> None:
    flipped = IMAGES[:, :, ::-1] if "horizontal" in mode else IMAGES
    flipped = flipped[:, ::-1] if "vertical" in mode else flipped
    found = layers.RandomFlip(mode)(IMAGES, training=True)
    ways = [(np.array_equal(a, b), np.array_equal(a, c)) for a, b, c in zip(found, IMAGES, flipped, strict=True)]
    assert set(ways) == {(True, False), (False, True)}


def test_one_number_is_both_ways() -> None:
    """Ramps tell how far each image was moved."""
    ramps = np.broadcast_to(np.arange(64.0)[:, None], (500, 64, 1)).astype(np.float32)
    shifts = -(layers.RandomTranslation(0.1, 0.1)(ramps, training=True)[:, 32, 0] - 32) / 64
    assert -0.1 <= shifts.min() < -0.09
    assert 0.09 < shifts.max() <= 0.1
    zooms = np.diff(layers.RandomZoom(0.2)(ramps, training=True)[:, 31:33, 0])[:, 0]
    assert 0.8 <= zooms.min() < 0.82
    assert 1.18 < zooms.max() <= 1.2001


@each
def test_inference_is_the_input_itself(name: str) -> None:
    model = fastdl.Sequential([fastdl.Input(IMAGES.shape[1:]), LAYERS[name]()])
    assert np.array_equal(model.predict(IMAGES), IMAGES)
    assert np.array_equal(LAYERS[name]()(IMAGES, training=False), IMAGES)
    assert not np.array_equal(model(IMAGES, training=True), IMAGES)


def net(*stack: layers.Layer, loss: str = "categorical_crossentropy") -> fastdl.Sequential:
    model = fastdl.Sequential(
        [fastdl.Input(IMAGES.shape[1:]), *stack, layers.Flatten(), layers.Dense(20, "relu"), layers.Dense(3, "softmax")]
    )
    model.compile("adam", loss, metrics=["accuracy"])
    return model


def trained(name: str, threads: int, rows: int) -> list[Array]:
    before = fastdl.get_num_threads()
    fastdl.set_num_threads(threads)
    try:
        fastdl.utils.set_random_seed(3)
        model = net(LAYERS[name](), LAYERS[name]() if name != "MixUp" else layers.Identity())
        x = np.random.default_rng(0).standard_normal((rows, *IMAGES.shape[1:]))
        model.fit(x, to_categorical(np.arange(rows) % 3), rows // 2, epochs=2, verbose=0)
        return model.get_weights()
    finally:
        fastdl.set_num_threads(before)


@each
@pytest.mark.parametrize("rows", [70, 3000])
def test_bits_do_not_depend_on_threads(name: str, rows: int) -> None:
    one = trained(name, 1, rows)
    for threads in (2, 3):
        assert all(np.array_equal(a, b) for a, b in zip(one, trained(name, threads, rows), strict=True))


@each
def test_saved_loaded_and_trained_on(name: str, tmp_path: Path) -> None:
    layer = LAYERS[name]()
    config = json.loads(json.dumps(layer.get_config()))
    assert json.loads(json.dumps(type(layer).from_config(config).get_config())) == config
    model, y = net(layer), to_categorical(LABELS)
    model.fit(IMAGES, y, 16, verbose=0)
    model.save(tmp_path / "model.fastdl")
    loaded = load_model(tmp_path / "model.fastdl")
    assert loaded.get_config() == json.loads(json.dumps(model.get_config()))
    histories = [each.fit(IMAGES, y, 16, epochs=2, verbose=0).history for each in (model, loaded)]
    assert histories[0] == histories[1]
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True))


def test_layers_draw_their_own_unless_they_share_a_seed() -> None:
    source = fastdl.Input((6, 5, 2))
    model = fastdl.Model(source, [layers.RandomTranslation(0.5, 0.5, seed=seed)(source) for seed in (None, None, 5, 5)])
    outputs = model(IMAGES, training=True)
    assert not np.array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[0], outputs[2])
    assert np.array_equal(outputs[2], outputs[3])


# --------------------------------------------------------------------------------------------------- mixup


def test_targets_are_mixed_as_their_samples() -> None:
    """A net that gives its input, trained on its input, is right however both are mixed."""
    x = RNG.standard_normal((100, 7))
    model = fastdl.Sequential([fastdl.Input((7,)), layers.MixUp(1.0), layers.Identity()], dtype="float64")
    model.compile(fastdl.optimizers.SGD(0.0), "mse", metrics=["mae"])
    for batch in (1, 33, 100):
        loss, error = model.train_on_batch(x[:batch], x[:batch])
        assert loss < 1e-28
        assert error < 1e-14
    assert model.train_on_batch(x, np.roll(x, 1, 0))[0] > 0.1
    mixed = model(x, training=True)
    assert np.abs(mixed - x).max() > 0.1


def test_loss_is_the_mixture_of_both_targets_losses() -> None:
    fastdl.utils.set_random_seed(1)
    model = net(layers.MixUp(1.0, seed=3))
    model.compile(fastdl.optimizers.SGD(0.0), "categorical_crossentropy")
    y = to_categorical(LABELS)
    assert model.session.seed is None
    loss = model.train_on_batch(IMAGES, y)
    weights, own = mixing(len(y), 1.0, model.session.seed, (1 << 48) + (3 << 32) + 3)
    x = np.tensordot(weights, IMAGES.astype(np.float64), 1).astype(np.float32)
    logs = np.log(model.predict(x).astype(np.float64))
    losses = -logs[:, LABELS]  # of each sample with each one's label
    assert own.min() < 0.2
    assert loss == pytest.approx((weights * losses).sum() / len(y), rel=1e-5)


def mixing(batch: int, alpha: float, seed: Any, stream: int) -> tuple[Array, Array]:
    """The matrix (batch, batch) that mixes a batch, and its diagonal: what becomes of the unit vectors."""
    call = KernelCall(batch, np.dtype(np.float64))
    w, out = call.panel(1), call.panel(batch)
    call.run("mix_weights", 1, weight=w, stream=stream, alpha=alpha, seed=seed)
    x = call.rows(np.eye(batch))
    call.run("mix", batch, x=x, y=out, weight=w, features=batch, stream=stream, back=0, seed=seed)
    return call.back(out), call.back(w)[:, 0]


def test_validation_and_evaluation_are_not_mixed() -> None:
    model, y = net(layers.MixUp(2.0)), to_categorical(LABELS)
    history = model.fit(IMAGES, y, validation_data=(IMAGES, y), verbose=0).history
    plain = net()
    plain.set_weights(model.get_weights())
    assert (
        model.evaluate(IMAGES, y) == plain.evaluate(IMAGES, y) == [history["val_loss"][-1], history["val_accuracy"][-1]]
    )


def test_integer_labels_cannot_be_mixed() -> None:
    model = net(layers.MixUp(), loss="sparse_categorical_crossentropy")
    before = model.get_weights()
    with pytest.raises(DataError, match=r"utils\.to_categorical"):
        model.fit(IMAGES, LABELS, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    model.evaluate(IMAGES, LABELS)  # where nothing is mixed


REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: layers.RandomFlip("diagonal"), ValueError, "mode must be"),
    (lambda: layers.RandomFlip(data_format="channels_first"), ValueError, "channels_last"),
    (lambda: layers.RandomFlip(seed=-1), ValueError, "seed"),
    (lambda: layers.RandomRotation(1.5), ValueError, r"in \[-1, 1\]"),
    (lambda: layers.RandomRotation((0.1, 0.2, 0.3)), ValueError, "factor must be"),
    (lambda: layers.RandomRotation(float("nan")), ValueError, "factor must be"),
    (lambda: layers.RandomTranslation(0.1, (-2, 0)), ValueError, "width_factor must be"),
    (lambda: layers.RandomTranslation(0.1, 0.1, "mirror"), ValueError, "fill_mode must be one of constant"),
    (lambda: layers.RandomTranslation(0.1, 0.1, interpolation="cubic"), ValueError, "'nearest' or 'bilinear'"),
    (lambda: layers.RandomZoom((-1, 0)), ValueError, r"in \(-1, 1\]"),
    (lambda: layers.MixUp(0), ValueError, "alpha"),
    (lambda: layers.MixUp(3), ValueError, "alpha"),
    (lambda: fastdl.Sequential([fastdl.Input((6,)), layers.RandomFlip()]), ShapeError, "takes images"),
    (lambda: fastdl.Sequential([fastdl.Input((2**17, 1)), layers.RandomFlip()]), ShapeError, "too large"),
    (lambda: net(layers.MixUp(), layers.MixUp()).fit(IMAGES, to_categorical(LABELS)), DataError, "mixed already"),
    (lambda: to_categorical([0, 3], 3), DataError, "label 3"),
    (lambda: to_categorical([0.5]), DataError, r"label 0\.5"),
    (lambda: to_categorical([-1]), DataError, "label -1"),
    (lambda: to_categorical(["a"]), DataError, "must hold labels"),
    (lambda: to_categorical([]), DataError, "must hold labels"),
]


@pytest.mark.parametrize(("make", "error", "words"), REFUSED)
def test_refuses(make: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


def test_to_categorical_is_one_row_of_the_identity_a_label() -> None:
    assert np.array_equal(to_categorical([2, 0]), np.eye(3, dtype=np.float32)[[2, 0]])
    assert to_categorical(np.zeros((4, 5, 1), np.int64), 3).shape == (4, 5, 3)
    assert to_categorical([[1], [0]]).tolist() == [[0, 1], [1, 0]]
