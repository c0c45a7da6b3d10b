"""Lookups and hashing: Keras's indices, vocabularies and weights, as its documentation and its formulas have them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import fastdl
from fastdl import Input, layers
from fastdl.errors import DataError, ShapeError

Array = np.ndarray[Any, Any]
WORDS = ["one", "one", "one", "two", "two", "three"]
NUMBERS = [1, 1, 1, 2, 2, 3]
KINDS = {
    "texts": (layers.StringLookup, WORDS, ["one", "two", "four"], "", "[OOV]"),
    "numbers": (layers.IntegerLookup, NUMBERS, [1, 2, 4], 0, -1),
}
kind = pytest.mark.parametrize("name", KINDS)


@kind
@pytest.mark.parametrize("how", ["adapt", "argument", "argument with special tokens", "set", "set with special tokens"])
def test_vocabulary(name: str, how: str) -> None:
    """As Keras's own tests have it: mask, out of vocabulary, then tokens by how frequent they are."""
    lookup, data, queries, mask, oov = KINDS[name]
    tokens = list(dict.fromkeys(data))
    given = [mask, oov, *tokens] if "special" in how else tokens
    layer: Any = lookup(
        max_tokens=7, mask_token=mask, oov_token=oov, vocabulary=given if how.startswith("argument") else None
    )
    if how == "adapt":
        layer.adapt(data)
    elif how.startswith("set"):
        layer.set_vocabulary(given)
    assert layer.get_vocabulary() == [mask, oov, *tokens]
    assert layer.get_vocabulary(include_special_tokens=False) == tokens
    assert layer.vocabulary_size() == 5
    assert layer(queries).tolist() == [2, 3, 1]
    assert layer(np.array(queries)[:, None]).tolist() == [[2], [3], [1]]
    assert layer([mask, queries[0]]).tolist() == [0, 2]
    assert layer(queries).dtype == np.int64


@pytest.mark.parametrize(
    ("data", "arguments", "expected"),
    [
        (["b", "a", "c", "a", "c", "d"], {}, ["[UNK]", "c", "a", "d", "b"]),  # ties: what sorts last comes first
        (["b", "a", "c", "a", "c", "d"], {"max_tokens": 3}, ["[UNK]", "c", "a"]),
        (["b", "a", "[UNK]", "[UNK]"], {}, ["[UNK]", "b", "a"]),  # special tokens are not counted
        (["b", "", "", "a"], {"mask_token": ""}, ["", "[UNK]", "b", "a"]),
        (["b", "a"], {"mask_token": "", "output_mode": "one_hot"}, ["[UNK]", "b", "a"]),  # no place for the mask
        (["b", "a"], {"num_oov_indices": 3}, ["[UNK]", "[UNK]", "[UNK]", "b", "a"]),
        (["b", "a"], {"num_oov_indices": 0}, ["b", "a"]),
        (["é", "z", "日", "Z"], {}, ["[UNK]", "日", "é", "z", "Z"]),  # by code point, as bytes of UTF-8 sort
    ],
)
def test_what_is_learned(data: list[str], arguments: dict[str, Any], expected: list[str]) -> None:
    layer = layers.StringLookup(**arguments)
    layer.adapt(data)
    assert layer.get_vocabulary() == expected


def batches() -> Iterator[Array]:
    yield from (np.array(WORDS[:4])[:, None], np.array(WORDS[4:])[:, None])


SOURCES: dict[str, Any] = {
    "list": lambda: WORDS,
    "column": lambda: np.array(WORDS)[:, None],
    "series": lambda: pandas.Series(WORDS),
    "batches": batches,
    "batches (x, y)": lambda: ((x, np.zeros(len(x))) for x in batches()),
    "list of batches": lambda: list(batches()),
}


@pytest.mark.parametrize("source", SOURCES)
def test_learns_the_same_from_any_source(source: str) -> None:
    layer = layers.StringLookup()
    layer.adapt(["forgotten"])
    layer.adapt(SOURCES[source]())
    assert layer.get_vocabulary() == ["[UNK]", "one", "two", "three"]


def test_steps_are_how_many_batches_are_read() -> None:
    layer = layers.StringLookup()
    layer.adapt(batches(), steps=1)
    assert layer.get_vocabulary() == ["[UNK]", "one", "two"]


ABC = ["a", "b", "c"]
# output mode and other arguments, input, expected: the cases of Keras's documentation
MODES: list[tuple[dict[str, Any], Any, Any]] = [
    ({}, [["a", "c", "d"], ["d", "b", "a"]], [[1, 3, 0], [0, 2, 1]]),
    ({"output_mode": "one_hot"}, ["b", "z"], [[0, 0, 1, 0], [1, 0, 0, 0]]),
    ({"output_mode": "one_hot"}, [["b"], ["z"]], [[0, 0, 1, 0], [1, 0, 0, 0]]),
    ({"output_mode": "one_hot"}, [["b", "a"]], [[[0, 0, 1, 0], [0, 1, 0, 0]]]),
    ({"output_mode": "one_hot", "mask_token": "m"}, ["m", "c"], [[0, 0, 0, 0], [0, 0, 0, 1]]),
    ({"output_mode": "multi_hot"}, [["a", "c", "d", "d"]], [[1, 1, 0, 1]]),
    ({"output_mode": "binary"}, [["a", "c", "d", "d"]], [[1, 1, 0, 1]]),
    ({"output_mode": "multi_hot"}, ["a", "c"], [0, 1, 0, 1]),
    ({"output_mode": "count"}, [["a", "c", "d", "d"], ["b", "b", "b", "z"]], [[2, 1, 0, 1], [1, 0, 3, 0]]),
    ({"output_mode": "count", "max_tokens": 6, "pad_to_max_tokens": True}, [["a", "z"]], [[1, 1, 0, 0, 0, 0]]),
    (
        {"output_mode": "tf_idf", "idf_weights": [0.25, 0.75, 0.6]},
        [["a", "c", "d", "d"], ["d", "z", "b", "z"]],
        # what is out of the vocabulary weighs the mean of the weights
        [[2 * 1.6 / 3, 0.25, 0, 0.6], [3 * 1.6 / 3, 0, 0.75, 0]],
    ),
    (
        {"output_mode": "tf_idf", "vocabulary": ["[UNK]", *ABC], "idf_weights": [0.9, 0.25, 0.75, 0.6]},
        [["a", "c", "d", "d"]],
        [[1.8, 0.25, 0, 0.6]],
    ),
    ({"num_oov_indices": 0}, ["c", "a"], [2, 0]),
    ({"num_oov_indices": 2, "mask_token": ""}, ["", "a"], [0, 3]),
]


@pytest.mark.parametrize(("arguments", "x", "expected"), MODES)
def test_output_modes(arguments: dict[str, Any], x: Any, expected: Any) -> None:
    layer = layers.StringLookup(**{"vocabulary": ABC, **arguments})
    found = layer(x)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == (np.int64 if layer.output_mode == "int" else np.float32)


@pytest.mark.parametrize("shape", [(1,), (4,)])
@pytest.mark.parametrize("mode", ["int", "one_hot", "multi_hot", "count"])
def test_the_symbolic_shape_is_the_arrays(mode: str, shape: tuple[int, ...]) -> None:
    layer = layers.StringLookup(vocabulary=ABC, output_mode=mode)
    tensor = layer(Input(shape, dtype="string"))
    assert tensor.shape == (None, *layer(np.full((5, *shape), "a")).shape[1:])
    assert layer.compute_output_shape((None, *shape)) == tensor.shape


def test_weights_that_are_learned() -> None:
    """log(1 + rows / (1 + rows that hold the token)); Keras's own test has these numbers."""
    layer = layers.StringLookup(7, mask_token="", oov_token="[OOV]", output_mode="tf_idf")
    layer.adapt([["one", "one"], ["one", "two"], ["two", "three"]])
    assert layer.idf_weights is not None
    np.testing.assert_allclose(layer.idf_weights, np.log(1 + 3 / (1 + np.array([2, 2, 1]))))
    found = layer([["one", "two"], ["two", "four"]])
    np.testing.assert_allclose(found, [[0, 0.6931472, 0.6931472, 0], [0.76752836, 0, 0.6931472, 0]], rtol=1e-6)
    layer.adapt(WORDS)
    np.testing.assert_allclose(layer(["one", "two", "four"]), [1.1337324, 0.91629076, 1.0986123, 0], rtol=1e-6)


def test_texts_of_indices() -> None:
    layer = layers.StringLookup(vocabulary=["one", "two"], mask_token="", oov_token="[OOV]", invert=True)
    assert layer([[2, 3, 1, 0, 9, -4]]).tolist() == [["one", "two", "[OOV]", "", "[OOV]", "[OOV]"]]
    numbers = layers.IntegerLookup(vocabulary=[7, 5], invert=True)
    assert numbers([1, 2, 0]).tolist() == [7, 5, -1]


@pytest.mark.parametrize(
    ("arguments", "x", "expected"),
    [
        ({}, [12, 15, 16, -1], [4, 3, 0, 3]),  # floormod: the sign of the divisor
        ({"oov_method": "farmhash"}, [0, 1, 2, 3, 4], None),
        ({"oov_method": "farmhash", "salt": 133}, [0, 1, 2, 3, 4], None),
    ],
)
def test_places_of_numbers_out_of_the_vocabulary(arguments: dict[str, Any], x: list[int], expected: Any) -> None:
    layer = layers.IntegerLookup(vocabulary=[12], num_oov_indices=4, **arguments)
    expected = layers.Hashing(4, salt=arguments.get("salt"))(x).tolist() if expected is None else expected
    assert layer(x).tolist() == expected


def test_places_of_texts_out_of_the_vocabulary() -> None:
    layer = layers.StringLookup(vocabulary=["v"], num_oov_indices=3, mask_token="")
    assert layer(["A", "B", "C", "D", "E", "v", ""]).tolist() == [2, 1, 2, 2, 3, 4, 0]


def test_a_vocabulary_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tokens.txt"
    path.write_text("α\nb\n", encoding="utf-8")
    assert layers.StringLookup(vocabulary=str(path)).get_vocabulary() == ["[UNK]", "α", "b"]
    (tmp_path / "numbers.txt").write_text("7\n5\n")
    assert layers.IntegerLookup(vocabulary=tmp_path / "numbers.txt").get_vocabulary() == [-1, 7, 5]


def test_the_config_has_the_vocabulary_as_it_was_given(tmp_path: Path) -> None:
    """Without special tokens unless they were given; of a file none, but `serialize` has what was read (Keras)."""
    options: dict[str, Any] = {"mask_token": "m", "oov_token": "o"}
    assert layers.StringLookup(vocabulary=ABC, **options).get_config()["vocabulary"] == ABC
    with_special = ["m", "o", *ABC]
    assert layers.StringLookup(vocabulary=with_special, **options).get_config()["vocabulary"] == with_special
    learning = layers.StringLookup(**options)
    assert learning.get_config()["vocabulary"] is None
    learning.adapt(["b", "a", "b", "m"])
    assert learning.get_config()["vocabulary"] == ["b", "a"]
    (tmp_path / "tokens.txt").write_text("\n".join(ABC))
    layer = layers.StringLookup(vocabulary=str(tmp_path / "tokens.txt"), **options)
    assert layer.get_config()["vocabulary"] is None
    (tmp_path / "tokens.txt").unlink()
    model = fastdl.Sequential([Input((1,), dtype="string"), layer])
    model.save(tmp_path / "model.fastdl")
    assert fastdl.load_model(tmp_path / "model.fastdl").layers[0].get_vocabulary() == with_special


@pytest.mark.parametrize("how", ["config", "pickle", "deepcopy"])
@pytest.mark.parametrize(
    "made",
    [
        lambda: layers.StringLookup(vocabulary=ABC, mask_token="m", output_mode="count"),
        lambda: layers.StringLookup(vocabulary=ABC, output_mode="tf_idf", idf_weights=[0.1, 0.2, 0.5]),
        lambda: layers.StringLookup(vocabulary=ABC, num_oov_indices=2, salt=3, oov_token=None),
        lambda: layers.StringLookup(4, output_mode="one_hot", pad_to_max_tokens=True),
        lambda: layers.Hashing(5, "a", [1, 2], "one_hot"),
    ],
)
def test_copies_are_the_same(made: Any, how: str) -> None:
    layer = made()
    other = (
        type(layer).from_config(layer.get_config())
        if how == "config"
        else pickle.loads(pickle.dumps(layer))
        if how == "pickle"
        else copy.deepcopy(layer)
    )
    assert other.get_config() == layer.get_config()
    np.testing.assert_array_equal(other(["a", "m", "zz", "c"]), layer(["a", "m", "zz", "c"]))


# -- hashing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [None, "int64", "int32"])
def test_bins_are_of_the_dtype(dtype: Any) -> None:
    layer = layers.Hashing(3, dtype=dtype)
    right = np.dtype(dtype or "int64")
    assert layer(["a", "b"]).dtype == right == layer(Input((1,), dtype="string")).dtype
    assert layer.get_config()["dtype"] == dtype
    with pytest.raises(ValueError, match="dtype must be 'int64' or 'int32'"):
        layers.Hashing(3, dtype="float32")


def test_whole_numbers_hash_alike_in_any_dtype() -> None:
    layer = layers.Hashing(7)
    assert layer(np.float32([0, 1, 5])).tolist() == layer([0, 1, 5]).tolist()
    with pytest.raises(DataError, match="must hold whole numbers"):
        layer(np.float32([0.5]))
    with pytest.raises(DataError, match="whole numbers or texts, not float64"):
        layers.HashedCrossing(7)([np.array([1.0]), np.array([2.0])])


@pytest.mark.parametrize(
    ("arguments", "x", "expected"),
    [
        ({"num_bins": 3}, [["A"], ["B"], ["C"], ["D"], ["E"]], [[1], [0], [1], [1], [2]]),
        ({"num_bins": 3, "mask_value": ""}, [["A"], ["B"], [""], ["C"], ["D"]], [[1], [1], [0], [2], [2]]),
        ({"num_bins": 3, "salt": [133, 137]}, [["A"], ["B"], ["C"], ["D"], ["E"]], [[1], [2], [1], [0], [2]]),
        ({"num_bins": 3, "salt": 133}, [["A"], ["B"], ["C"], ["D"], ["E"]], [[0], [0], [2], [1], [0]]),
        ({"num_bins": 3}, [0, 1, 2, 3, 4], [1, 0, 1, 0, 2]),
        ({"num_bins": 1, "mask_value": "A"}, ["A", "B"], [0, 0]),
        ({"num_bins": 3, "mask_value": 2}, [2, 2], [0, 0]),
        ({"num_bins": 3, "output_mode": "one_hot"}, ["A", "B"], [[0, 1, 0], [1, 0, 0]]),
        ({"num_bins": 3, "output_mode": "count"}, [["A", "B", "C"]], [[1, 2, 0]]),
    ],
)
def test_hashing(arguments: dict[str, Any], x: Any, expected: Any) -> None:
    """The cases of Keras's documentation and tests, and the modes."""
    np.testing.assert_array_equal(layers.Hashing(**arguments)(x), expected)


def test_crossing() -> None:
    texts, numbers = np.array(["A", "B", "A", "B", "A"]), np.array([101, 101, 101, 102, 102])
    assert layers.HashedCrossing(5)((texts, numbers)).tolist() == [1, 4, 1, 1, 3]
    rows = layers.HashedCrossing(5, output_mode="one_hot")([texts[:, None], numbers[:, None]])
    assert rows.argmax(1).tolist() == [1, 4, 1, 1, 3]
    assert rows.sum() == 5


# -- what is refused --------------------------------------------------------------------------------------

REFUSED: list[tuple[Any, type[Exception], str]] = [
    (lambda: layers.StringLookup(max_tokens=1), ValueError, "max_tokens must be an integer of 2 or more"),
    (lambda: layers.StringLookup(num_oov_indices=-1), ValueError, "num_oov_indices"),
    (lambda: layers.StringLookup(pad_to_max_tokens=True), ValueError, "pad_to_max_tokens needs max_tokens"),
    (lambda: layers.StringLookup(output_mode="hot"), ValueError, "output_mode must be one of"),
    (lambda: layers.StringLookup(invert=True, output_mode="count"), ValueError, "output_mode must be 'int'"),
    (lambda: layers.StringLookup(sparse=True), ValueError, "sparse must be False"),
    (lambda: layers.StringLookup(mask_token=3), ValueError, "mask_token must be a text"),
    (lambda: layers.IntegerLookup(oov_token="x"), ValueError, "oov_token must be an integer"),  # type: ignore[arg-type]
    (lambda: layers.StringLookup(encoding="latin-1"), ValueError, "encoding must be 'utf-8'"),
    (lambda: layers.StringLookup(vocabulary=["a", "a"]), ValueError, "'a' more than once"),
    (lambda: layers.StringLookup(vocabulary=["a", ""], mask_token=""), ValueError, "mask_token '' at 1"),
    (lambda: layers.StringLookup(vocabulary=["a", "[UNK]"], invert=True), ValueError, "oov_token '[UNK]' at 1"),
    (lambda: layers.StringLookup(vocabulary=[]), ValueError, "at least one token"),
    (lambda: layers.StringLookup(vocabulary="/none/such"), ValueError, "'/none/such' is no text file of tokens"),
    (lambda: layers.StringLookup.from_config({"vocabulary": "/etc/passwd"}), ValueError, "names no file"),
    (lambda: layers.StringLookup(2, vocabulary=["a", "b"]), ValueError, "more than max_tokens=2"),
    (lambda: layers.StringLookup(vocabulary=["a", 1]), DataError, "vocabulary must hold strings"),
    (lambda: layers.StringLookup(vocabulary=["a"], idf_weights=[1.0]), ValueError, "'tf_idf' alone"),
    (lambda: layers.StringLookup(vocabulary=["a"], output_mode="tf_idf"), ValueError, "idf_weights must be given"),
    (lambda: layers.IntegerLookup(salt=3), ValueError, "salt is for oov_method='farmhash'"),
    (lambda: layers.Hashing(3, salt=[1, 2, 3]), ValueError, "salt must be an integer, or two"),
    (lambda: layers.Hashing(0), ValueError, "num_bins must be a positive integer"),
    (lambda: layers.StringLookup(vocabulary=["a"]).adapt(["a"]), ValueError, "nothing to adapt"),
    (lambda: layers.StringLookup().adapt(iter([])), DataError, "no data at all"),
    (lambda: layers.StringLookup().adapt([1.5]), DataError, "must hold strings"),
    (lambda: layers.IntegerLookup().adapt([1.5]), DataError, "whole numbers"),
    (lambda: layers.StringLookup(vocabulary=["a"], num_oov_indices=0)(["a", "q"]), DataError, "'q' in row 1"),
    (lambda: layers.StringLookup(output_mode="one_hot")(Input((1,), dtype="string")), ValueError, "no vocabulary"),
    (lambda: layers.StringLookup()(Input((1,))), ValueError, "reads string"),
    (lambda: layers.IntegerLookup()(Input((1,), dtype="string")), ValueError, "reads int64"),
    (lambda: layers.HashedCrossing(3)([["a"]]), ShapeError, "two columns or more"),
    (lambda: layers.HashedCrossing(3)([["a", "b"], ["a"]]), ShapeError, "columns of one shape"),
    (lambda: layers.HashedCrossing(3, "count"), ValueError, "'int', 'one_hot'"),
    (lambda: layers.HashedCrossing(3)([[1.5], ["a"]]), DataError, "whole numbers"),
]


@pytest.mark.parametrize(("make", "kind", "said"), REFUSED)
def test_what_is_wrong_is_said(make: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind) as error:
        make()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_layer_of_a_model_keeps_its_size() -> None:
    layer = layers.StringLookup(output_mode="one_hot")
    layer.adapt(["a", "b"])
    layer(Input((1,), dtype="string"))
    layer.adapt(["c", "d"])
    with pytest.raises(ValueError, match="built for 3 tokens, not 4"):
        layer.adapt(ABC)
    assert layer.get_vocabulary() == ["[UNK]", "d", "c"]
