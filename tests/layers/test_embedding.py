"""Embeddings: rows of tables by codes, what is refused, and that training moves the rows that are met and no others."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import constraints, kernels, layers, regularizers
from fastdl.errors import DataError, ShapeError
from fastdl.models import load_model

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
SIZES = [3, 50, 7, 1]
CODES = np.stack([RNG.integers(0, size, 130) for size in SIZES], 1)
Y = RNG.integers(0, 3, 130)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])

LAYERS: dict[str, Callable[[], list[layers.Layer]]] = {
    "Embedding": lambda: [layers.Embedding(50, 5), layers.Flatten()],
    "Embedding held": lambda: [
        layers.Embedding(50, 33, "normal", regularizers.L2(0.01), constraints.MaxNorm(0.1, axis=1)),
        layers.Flatten(),
    ],
    "Embedding held by columns": lambda: [
        layers.Embedding(50, 20, "ones", "l1", constraints.UnitNorm(axis=0)),
        layers.Flatten(),
    ],
    "Embedding held as a whole": lambda: [
        layers.Embedding(50, 3, embeddings_constraint=constraints.MinMaxNorm(0.1, 0.9, 0.5, [0, 1])),
        layers.Flatten(),
    ],
    "CategoryEmbedding": lambda: [layers.CategoryEmbedding(SIZES, 8, "normal")],
    "CategoryEmbedding, missing": lambda: [layers.CategoryEmbedding(SIZES, 3, "ones", "l2", "non_neg", True)],
}
each = pytest.mark.parametrize("name", LAYERS)


def net(name: str, optimizer: Any = "adam", dtype: Any = "float32") -> fastdl.Sequential:
    fastdl.utils.set_random_seed(3)
    stack = [*LAYERS[name](), layers.Dense(20, "tanh"), layers.Dense(3, "softmax")]
    model = fastdl.Sequential([fastdl.Input((4,)), *stack], dtype=dtype)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


def looked_up(codes: Array, table: Array, sizes: list[int] | None, zero_missing: bool) -> tuple[Array, Array]:
    """The rows, zeros where there is none, and whether there is one."""
    ends = np.array(sizes or [len(table)] * codes.shape[1])
    first = np.cumsum([0, *sizes[:-1]]) if sizes else 0
    known = (codes >= int(zero_missing)) & (codes < ends)
    return np.where(known[..., None], table[np.where(known, np.trunc(codes), 0).astype(int) + first], 0), known


@dtypes
@pytest.mark.parametrize("sizes", [None, SIZES], ids=["one table", "a table each"])
@pytest.mark.parametrize("zero_missing", [False, True])
@pytest.mark.parametrize("width", [1, 3, 8, 16, 40])
@pytest.mark.parametrize("batch", [1, 31, 130])
def test_kernels(dtype: Any, sizes: list[int] | None, zero_missing: bool, width: int, batch: int) -> None:
    codes, table = CODES[:batch].astype(dtype), RNG.standard_normal((sum(SIZES), width)).astype(dtype)
    codes[0] = -1, 1e30, np.nan, -np.inf  # no code leads out of a table
    rows, known = looked_up(codes, table, sizes, zero_missing)
    y = kernels.embedding(codes, table, sizes, zero_missing)
    assert np.array_equal(y, rows.reshape(batch, -1))
    dy = RNG.standard_normal((batch, 4, width)).astype(dtype)
    expected, first = np.zeros(table.shape), np.cumsum([0, *SIZES[:-1]]) if sizes else np.zeros(4, int)
    for c in range(4):
        met = known[:, c]
        np.add.at(expected, codes[met, c].astype(int) + first[c], dy[met, c].astype(np.float64))
    got = kernels.embedding_backward(codes, dy.reshape(batch, -1), len(table), sizes, zero_missing)
    np.testing.assert_allclose(got, expected, rtol=0, atol=8 * batch * np.finfo(dtype).eps)


@each
def test_gives_rows_of_the_table(name: str) -> None:
    model = net(name)
    table, layer = model.get_weights()[0], model.layers[0]
    sizes = None if name.startswith("Embedding") else SIZES
    rows, _ = looked_up(CODES, table, sizes, "missing" in name)
    y = fastdl.Sequential([fastdl.Input((4,)), layer]).predict(CODES)
    assert np.array_equal(y.reshape(130, -1), rows.reshape(130, -1))
    assert y.shape == ((130, 4, table.shape[1]) if sizes is None else (130, 4 * table.shape[1]))
    assert np.array_equal(layer(CODES), y)


def test_codes_may_come_in_any_shape() -> None:
    layer = layers.Embedding(50, 5)
    y = fastdl.Sequential([fastdl.Input((2, 2)), layer]).predict(CODES.reshape(-1, 2, 2))
    assert np.array_equal(y, layer.get_weights()[0][CODES.reshape(-1, 2, 2)])


@each
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_moves_rows_that_are_met_alone(name: str, optimizer: str) -> None:
    model = net(name, optimizer)
    before = model.get_weights()[0]
    codes = CODES.copy()
    codes[:, 1] %= 20
    model.fit(codes, Y, epochs=2, verbose=0)
    after, moved = model.get_weights()[0], np.zeros(len(before), bool)
    first = [0] * 4 if name.startswith("Embedding") else np.cumsum([0, *SIZES[:-1]])
    for c in range(4):
        moved[codes[:, c] + first[c]] = True
    if "missing" in name:
        moved[first] = False
        assert not after[first].any()
    assert (after != before)[moved].any(1).all()
    if "held" not in name and "missing" not in name:  # a penalty, or a norm of all, moves every row
        assert np.array_equal(after[~moved], before[~moved])


@each
@dtypes
def test_any_number_of_threads_gives_the_same_bits(name: str, dtype: Any) -> None:
    before, weights = fastdl.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            fastdl.set_num_threads(threads)
            model = net(name, fastdl.optimizers.Adam(0.01, global_clipnorm=0.5), dtype)
            codes = np.concatenate([CODES] * 16)
            model.fit(codes, np.concatenate([Y] * 16), 70, epochs=1, verbose=0)
            model.fit(codes, np.concatenate([Y] * 16), 1040, epochs=2, verbose=0)
            weights.append(model.get_weights())
    finally:
        fastdl.set_num_threads(before)
    for other in weights[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(weights[0], other, strict=True))


NORMS = {
    "Embedding held": lambda w: np.linalg.norm(w, axis=1).max() <= 0.1001,
    "Embedding held by columns": lambda w: np.allclose(np.linalg.norm(w, axis=0), 1, rtol=1e-5),
    "Embedding held as a whole": lambda w: np.linalg.norm(w) < 0.95,
    "CategoryEmbedding, missing": lambda w: (w >= 0).all(),
}


@pytest.mark.parametrize("name", NORMS)
def test_constraints_hold_tables_too(name: str) -> None:
    model = net(name)
    model.fit(CODES, Y, epochs=3, verbose=0)
    assert NORMS[name](model.get_weights()[0])


@each
@dtypes
def test_comes_back_from_files_and_copies(name: str, dtype: Any, tmp_path: Path) -> None:
    model = net(name, fastdl.optimizers.Adam(use_ema=True), dtype)
    model.fit(CODES, Y, epochs=2, verbose=0)
    model.save(tmp_path / "model.fastdl")
    loaded, copied = load_model(tmp_path / "model.fastdl"), copy.deepcopy(model)
    assert loaded.get_config() == model.get_config()
    for each in (model, loaded, copied):
        fastdl.utils.set_random_seed(5)
        each.fit(CODES, Y, epochs=2, verbose=0)
    for other in (loaded, copied):
        assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))


@each
@pytest.mark.parametrize("wrong", [-1, 50, 1.5, 1e30])
def test_other_codes_are_refused_before_any_weight_is_touched(name: str, wrong: float) -> None:
    model, codes = net(name), CODES.astype(np.float64)
    codes[7, 1] = wrong
    before = model.get_weights()
    for use in (lambda: model.fit(codes, Y, verbose=0), lambda: model.predict(codes), lambda: model.evaluate(codes, Y)):
        with pytest.raises(DataError, match=r"in row 7, column 1: .* takes whole numbers from 0 to 49"):
            use()
    with pytest.raises(DataError, match="takes whole numbers"):
        model.fit(((part, Y[:65]) for part in np.split(codes, 2)), verbose=0)
    with pytest.raises(DataError, match="takes whole numbers"):
        model.layers[0](codes)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: layers.Embedding(0, 3), ValueError, "input_dim"),
    (lambda: layers.Embedding(3, 0), ValueError, "output_dim"),
    (lambda: layers.Embedding(3, 3, mask_zero=True), ValueError, "mask_zero"),
    (lambda: fastdl.Sequential([fastdl.Input((2,)), layers.Embedding(2**24 + 1, 1)]), ValueError, "float64"),
    (lambda: layers.CategoryEmbedding([], 3), ValueError, "cardinalities"),
    (lambda: layers.CategoryEmbedding(7, 3), ValueError, "cardinalities"),  # type: ignore[arg-type]
    (lambda: layers.CategoryEmbedding([3, 0], 3), ValueError, "cardinalities"),
    (lambda: fastdl.Sequential([fastdl.Input((3,)), layers.CategoryEmbedding([2, 2], 1)]), ShapeError, "2 card"),
]


@pytest.mark.parametrize(("make", "error", "match"), REFUSED)
def test_refuses(make: Callable[[], Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make()


def test_codes_cannot_come_from_what_is_trained() -> None:
    model = fastdl.Sequential([fastdl.Input((4,)), layers.Dense(4), layers.Embedding(5, 2), layers.Flatten()])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="no gradient goes through"):
        model.fit(np.ones((8, 4)), np.ones((8, 8)), verbose=0)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras with numpy 2
@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "RMSprop"])
def test_trains_as_keras(optimizer: str) -> None:
    keras = pytest.importorskip("keras")
    models = []
    for api in (fastdl, keras):
        stack = [api.layers.Embedding(50, 6), api.layers.Flatten(), api.layers.Dense(3, "softmax")]
        model = api.Sequential([api.Input((4,)), *stack])
        model.compile(getattr(api.optimizers, optimizer)(0.01), "sparse_categorical_crossentropy")
        models.append(model)
    ours, theirs = models
    ours.set_weights(theirs.get_weights())
    for model in models:
        model.fit(CODES, Y, batch_size=32, epochs=4, shuffle=False, verbose=0)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
