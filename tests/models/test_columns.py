"""Models of columns: strings and whole numbers go in, from whatever holds them, and are encoded before programs run."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pytest

import fastdl
from fastdl import Input, layers
from fastdl.errors import DataError, ShapeError

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
COLORS = ["red", "green", "blue"]
COLOR, COUNT, SIZE = RNG.choice(COLORS, 120), RNG.integers(0, 6, 120), RNG.standard_normal(120).astype(np.float32)
Y = (COLOR == "red") * 2.0 + (COUNT == 2) - SIZE
TABLE = {"color": COLOR, "count": COUNT, "size": SIZE}


def by_hand() -> Array:
    """The features of the mixed model, by numpy."""
    colors = np.stack([~np.isin(COLOR, COLORS[:2]), COLOR == "red", COLOR == "green"], 1)
    counts = np.eye(6)[COUNT]
    bins = np.eye(3)[np.digitize(SIZE, [-0.5, 0.5])]
    return np.concatenate([colors, counts, bins, SIZE[:, None], COUNT[:, None]], 1)


def mixed(dtype: str = "float32") -> fastdl.Model:
    """A string, an integer that is read twice, and a number that is read twice."""
    color, count, size = (
        Input((1,), dtype="string", name="color"),
        Input((1,), dtype="int64", name="count"),
        Input((1,), dtype=dtype, name="size"),
    )
    features = [
        layers.StringLookup(vocabulary=COLORS[:2], output_mode="one_hot")(color),
        layers.CategoryEncoding(6, "one_hot")(count),
        layers.Discretization([-0.5, 0.5], output_mode="one_hot")(size),
        size,
        count,
    ]
    hidden = layers.Dense(8, "relu")(layers.Concatenate()(features))
    return fastdl.Model([color, count, size], layers.Dense(1)(hidden))


def one_column() -> fastdl.Sequential:
    encoder = layers.StringLookup(vocabulary=COLORS, output_mode="one_hot")
    return fastdl.Sequential([Input((1,), dtype="string"), encoder, layers.Dense(4, "tanh"), layers.Dense(1)])


def compiled(model: Any) -> Any:
    model.compile("adam", "mse")
    return model


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predicts_what_the_encoded_features_give(dtype: str) -> None:
    model = mixed(dtype)
    assert model.dtype == dtype
    first, second = (layer for layer in model.layers if isinstance(layer, layers.Dense))
    (w, b), (v, c) = (layer.get_weights() for layer in sorted((first, second), key=lambda layer: -layer.units))
    expected = np.maximum(by_hand() @ w + b, 0) @ v + c
    np.testing.assert_allclose(model.predict(TABLE), expected, rtol=1e-4, atol=1e-5)


def test_learns_as_from_encoded_features() -> None:
    """Encoded by hand and by layers: the same weights after training, to the bit."""
    model = compiled(mixed())
    plain = fastdl.Sequential([Input((14,)), layers.Dense(8, "relu"), layers.Dense(1)])
    dense = [layer for layer in model.layers if isinstance(layer, layers.Dense)]
    plain.set_weights([weight for layer in sorted(dense, key=lambda d: -d.units) for weight in layer.get_weights()])
    compiled(plain)
    for each, x in ((model, TABLE), (plain, by_hand())):
        each.session.seed = 3
        each.fit(x, Y, epochs=4, batch_size=16, verbose=0)
    np.testing.assert_array_equal(model.predict(TABLE), plain.predict(by_hand()))
    assert model.evaluate(TABLE, Y) == plain.evaluate(by_hand(), Y)


def shuffled_frame() -> Any:
    return pandas.DataFrame(TABLE)[["size", "count", "color"]]


TABLES: dict[str, Callable[[], Any]] = {
    "mapping": lambda: TABLE,
    "mapping of columns (rows, 1)": lambda: {name: column[:, None] for name, column in TABLE.items()},
    "list": lambda: [COLOR, COUNT, SIZE],
    "lists": lambda: {name: column.tolist() for name, column in TABLE.items()},
    "pandas": shuffled_frame,
    "pandas, categories": lambda: shuffled_frame().astype({"color": "category"}),
    "polars": lambda: polars.DataFrame(TABLE),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_read_alike(name: str) -> None:
    model = mixed()
    np.testing.assert_array_equal(model.predict(TABLES[name]()), model.predict([COLOR, COUNT, SIZE]))


def test_frames_train_by_name() -> None:
    model = compiled(mixed())
    history = model.fit(shuffled_frame(), Y, validation_split=0.2, epochs=2, verbose=0)
    assert "val_loss" in history.history


def batches() -> Iterator[tuple[Any, Array]]:
    yield from ((COLOR[i : i + 30], Y[i : i + 30]) for i in range(0, 120, 30))


def test_batches_of_strings() -> None:
    one, other = compiled(one_column()), compiled(one_column())
    other.set_weights(one.get_weights())
    one.fit(iter(batches()), verbose=0)
    other.fit(COLOR, Y, batch_size=30, shuffle=False, verbose=0)
    np.testing.assert_array_equal(one.predict(COLOR), other.predict(COLOR))
    np.testing.assert_array_equal(one.predict(iter(batches())), one.predict(COLOR))
    assert one.train_on_batch(COLOR, Y) == other.train_on_batch(COLOR, Y)


def test_unknown_and_missing_texts_are_ordinary_input() -> None:
    model = one_column()
    rows = model.predict(["pink", "", None, float("nan"), "red"])
    assert (rows[:4] == rows[0]).all()
    assert rows[4] != rows[0]


class Own(fastdl.Model):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = layers.StringLookup(vocabulary=COLORS, output_mode="one_hot")
        self.head = layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.head(self.encoder(x))


WITHOUT_INPUT: dict[str, tuple[Callable[[], Any], Any]] = {
    "a subclass": (Own, COLOR),
    "strings first": (
        lambda: fastdl.Sequential([layers.StringLookup(vocabulary=COLORS, output_mode="one_hot"), layers.Dense(1)]),
        COLOR,
    ),
    "numbers first": (
        lambda: fastdl.Sequential([layers.CategoryEncoding(6, "one_hot"), layers.Dense(1)]),
        COUNT,
    ),
    "hashed": (lambda: fastdl.Sequential([layers.Hashing(5, output_mode="one_hot"), layers.Dense(1)]), COLOR),
    "several strings a row": (
        lambda: fastdl.Sequential([layers.StringLookup(vocabulary=COLORS, output_mode="count"), layers.Dense(1)]),
        COLOR.reshape(-1, 4),
    ),
}


@pytest.mark.parametrize("name", WITHOUT_INPUT)
def test_the_first_data_say_what_the_columns_are(name: str) -> None:
    make, x = WITHOUT_INPUT[name]
    model = compiled(make())
    model.fit(x, np.zeros(len(x)), verbose=0)
    assert model.predict(x).shape == (len(x), 1)
    assert model.inputs[0].shape == (None, *(x.shape[1:] or (1,)))


def nested() -> fastdl.Model:
    color = Input((1,), dtype="string", name="color")
    return fastdl.Model(color, layers.Dense(1)(one_column()(color)))


MODELS: dict[str, tuple[Callable[[], Any], Any]] = {
    "mixed": (mixed, TABLE),
    "one column": (one_column, COLOR),
    "nested": (nested, COLOR),
    "nested in a stack": (lambda: fastdl.Sequential([one_column(), layers.Dense(2)]), COLOR),
    "whole numbers as they are": (lambda: fastdl.Sequential([Input((1,), dtype="int32"), layers.Dense(2)]), COUNT),
    "indices": (
        lambda: fastdl.Sequential([Input((1,), dtype="string"), layers.StringLookup(vocabulary=COLORS)]),
        COLOR,
    ),
    "weights": (
        lambda: fastdl.Sequential(
            [
                Input((4,), dtype="string"),
                layers.StringLookup(vocabulary=COLORS, output_mode="tf_idf", idf_weights=[0.1, 0.3, 0.4]),
                layers.Dense(1),
            ]
        ),
        COLOR.reshape(-1, 4),
    ),
    "several numbers of several kinds a row": (
        lambda: fastdl.Sequential(
            [
                Input((2, 2), dtype="int64"),
                layers.CategoryEncoding(6, "count"),
                layers.Dense(2),
                layers.Flatten(),
            ]
        ),
        COUNT.reshape(-1, 2, 2),
    ),
    "hashed": (
        lambda: fastdl.Sequential(
            [Input((1,), dtype="string"), layers.Hashing(9, output_mode="one_hot"), layers.Dense(1)]
        ),
        COLOR,
    ),
}
each_model = pytest.mark.parametrize("name", MODELS)


@each_model
def test_models_live_through_files_and_copies(name: str, tmp_path: Path) -> None:
    make, x = MODELS[name]
    model = make()
    if model.weights:
        compiled(model).fit(x, np.ones_like(model.predict(x)), verbose=0)
    expected = model.predict(x)
    model.save(tmp_path / "model.fastdl")
    copies = [fastdl.load_model(tmp_path / "model.fastdl"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
    again = [fastdl.models.model_from_json(model.to_json()), fastdl.models.clone_model(model)]
    for other in again:
        other.set_weights(model.get_weights())
    for other in [*copies, *again]:
        np.testing.assert_array_equal(other.predict(x), expected)
        assert other.to_json() == model.to_json()


@each_model
def test_models_tell_of_themselves(name: str) -> None:
    make, _ = MODELS[name]
    lines: list[str] = []
    model = make()
    model.summary(print_fn=lines.append)
    assert model.layers[0].name in "".join(lines)
    assert model.name in repr(model)


def test_what_looks_at_training_takes_columns() -> None:
    model = compiled(one_column())
    search = fastdl.find_learning_rate(model, COLOR, Y)
    assert search.suggestion is None or search.suggestion > 0
    assert fastdl.layer_statistics(model, COLOR, Y)
    noisy = compiled(fastdl.Sequential([one_column(), layers.Dropout(0.5), layers.Dense(1)]))
    assert fastdl.mc_predict(noisy, COLOR, 3).mean.shape == (120, 1)


def text_input() -> Any:
    return Input((1,), dtype="string", name="color")


BUILT_WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: layers.Discretization([0.0])(layers.Dense(3)(Input((2,)))), "encodes columns before anything is computed"),
    (lambda: layers.CategoryEncoding(3)(layers.Flatten()(Input((2,)))), "encodes columns before anything is computed"),
    (lambda: layers.Dense(3)(text_input()), "'color' holds strings: encode them"),
    (lambda: layers.Concatenate()([text_input(), text_input()]), "'color' holds strings: encode them"),
    (lambda: fastdl.Model(x := text_input(), layers.StringLookup(invert=True)(layers.StringLookup()(x))), "strings"),
    (lambda: fastdl.Sequential([Input((2,)), layers.StringLookup()]), "reads string, and 'input' is of float32"),
    (
        lambda: fastdl.Model(text_input(), layers.Dense(1)(layers.Hashing(3)(text_input()))),
        "'color' of shape (None, 1) is needed, but is not among the inputs",
    ),
]


@pytest.mark.parametrize(("build", "said"), BUILT_WRONG)
def test_models_that_cannot_be_are_refused(build: Any, said: str) -> None:
    with pytest.raises(ValueError) as error:
        build()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def table(**columns: Any) -> dict[str, Any]:
    return {**TABLE, **columns}


WRONG_DATA: list[tuple[Any, type[Exception], str]] = [
    (table(color=COUNT), DataError, "x['color'] must hold strings, not int64"),
    (table(count=SIZE), DataError, "it must hold whole numbers of int64"),
    (table(count=COLOR), DataError, "x['count'] must hold real numbers"),
    (table(count=COUNT + 1), DataError, "num_tokens=6 is for 0 to 5"),
    (table(color=COLOR.reshape(-1, 2)), ShapeError, "x['color'] has shape (60, 2), the model takes (rows, 1)"),
    (table(color=COLOR[:5]), DataError, "rows"),
    (table(more=COLOR), DataError, "'more' is wrong"),
    ({"color": COLOR}, DataError, "must have the entries color, count, size"),
    (COLOR, DataError, "a list of 3 arrays"),
    (shuffled_frame().drop(columns="size"), DataError, "'size' is wrong"),
]


@pytest.mark.parametrize(("x", "kind", "said"), WRONG_DATA)
@pytest.mark.parametrize("call", ["fit", "predict"])
def test_wrong_data_are_named(x: Any, kind: type[Exception], said: str, call: str) -> None:
    model = compiled(mixed())
    before = model.get_weights()
    with pytest.raises(kind) as error:
        model.fit(x, Y, verbose=0) if call == "fit" else model.predict(x)
    assert said in str(error.value)
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
