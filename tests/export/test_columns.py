"""Files that take raw columns: strings and whole numbers go in, and what comes out is what predict gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import fastdl
from fastdl import Input, fusion, layers
from fastdl.errors import DataError, FusionError, ModelFileError
from fastdl.fusion.proof.feeds import Feeder

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(1)
V = ["a", "b", "c"]
TEXT = np.array([["a"], ["c"], ["zebra"], [""], ["b"]], object)
TEXTS = np.array([["a", "b", "a"], ["q", "q", ""], ["c", "c", "c"]], object)
NUMBERS = np.array([[1], [5], [7], [-3], [2**40]])
FLOATS = np.array([[-2.0, 0.0, 0.5], [0.25, 3.0, np.inf]], np.float32)


def stack(shape: tuple[int, ...], dtype: str, *above: layers.Layer) -> Callable[[str], fastdl.Sequential]:
    rest = [layers.Flatten(), layers.Dense(3, "tanh"), layers.BatchNormalization(), layers.Dense(2)]
    return lambda floats: fastdl.Sequential([Input(shape, dtype=dtype), *above, *rest], dtype=floats)


L, I, C, D = layers.StringLookup, layers.IntegerLookup, layers.CategoryEncoding, layers.Discretization
# raw rows, model
NETS: dict[str, tuple[Array, Callable[[], Callable[[str], fastdl.Sequential]]]] = {
    "index": (TEXT, lambda: stack((1,), "string", L(vocabulary=V))),
    "one_hot": (TEXT, lambda: stack((1,), "string", L(vocabulary=V, output_mode="one_hot"))),
    "one_hot of several": (TEXTS, lambda: stack((3,), "string", L(vocabulary=V, output_mode="one_hot"))),
    "multi_hot": (TEXTS, lambda: stack((3,), "string", L(vocabulary=V, output_mode="multi_hot"))),
    "count, masked": (TEXTS, lambda: stack((3,), "string", L(vocabulary=V, output_mode="count", mask_token="q"))),
    "mask": (TEXT, lambda: stack((1,), "string", L(vocabulary=V, mask_token=""))),
    "padded": (TEXT, lambda: stack((1,), "string", L(9, vocabulary=V, output_mode="one_hot", pad_to_max_tokens=True))),
    "tf_idf": (
        TEXTS,
        lambda: stack((3,), "string", L(vocabulary=V, output_mode="tf_idf", idf_weights=[0.1, 0.5, 0.9])),
    ),
    "back and forth": (
        TEXT,
        lambda: stack((1,), "string", L(vocabulary=V), L(vocabulary=V, invert=True), L(vocabulary=V)),
    ),
    "indices, encoded": (TEXT, lambda: stack((1,), "string", L(vocabulary=V), C(4, "one_hot"))),
    "known texts alone": (
        TEXT[[0, 1, 4]],
        lambda: stack((1,), "string", L(vocabulary=V, num_oov_indices=0, output_mode="one_hot", mask_token="m")),
    ),
    "numbers": (NUMBERS, lambda: stack((1,), "int64", I(vocabulary=[5, 7, 2**40], output_mode="one_hot"))),
    "numbers, masked": (NUMBERS, lambda: stack((1,), "int64", I(vocabulary=[5, 7], mask_token=1))),
    "numbers as they are": (NUMBERS[:4], lambda: stack((1,), "int32")),
    "categories": (np.array([[1, 0, 1]]), lambda: stack((3,), "int64", C(5, "count"))),
    "categories of several axes": (
        np.arange(24).reshape(4, 2, 3) % 5,
        lambda: stack((2, 3), "int64", C(5, "multi_hot")),
    ),
    "bins of several axes": (
        np.arange(24, dtype=np.float32).reshape(4, 6, 1) / 8 - 1,
        lambda: stack((6, 1), "float", D([-1.0, 0.0, 0.5], output_mode="count")),
    ),
    "bins": (FLOATS, lambda: stack((3,), "float", D([-1.0, 0.0, 0.5, 2.0]))),
    "bins, one_hot": (FLOATS[:, :1], lambda: stack((1,), "float", D([-1.0, 0.0, 0.5, 2.0], output_mode="one_hot"))),
    "bins, count": (FLOATS, lambda: stack((3,), "float", D([-1.0, 0.0, 0.5, 2.0], output_mode="count"))),
}


@pytest.mark.parametrize("floats", ["float32", "float64"])
@pytest.mark.parametrize("name", NETS)
def test_the_file_takes_raw_columns(name: str, floats: str, tmp_path: Path) -> None:
    rows, make = NETS[name]
    model = make()(floats)
    finite = rows[:1] if rows is FLOATS else rows
    report = model.export(tmp_path / "model.onnx", verify=finite)
    assert report.predict_max_abs_error is not None
    assert report.proof is not None  # the batch norm is folded, and the whole file proven
    assert "BatchNormalization" not in [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    runner = fastdl.Runner(tmp_path / "model.onnx")
    np.testing.assert_allclose(runner.predict(rows), model.predict(rows), rtol=1e-5, atol=1e-6)
    model.export(tmp_path / "plain.onnx", fuse=False)
    np.testing.assert_allclose(fastdl.Runner(tmp_path / "plain.onnx").predict(rows), model.predict(rows), atol=1e-6)


def table_model() -> fastdl.Model:
    inputs = [
        Input((1,), dtype="string", name="color"),
        Input((1,), dtype="int64", name="count"),
        Input((1,), dtype=None, name="size"),
    ]
    weights = Input((2,), dtype=None, name="weights")
    pair = Input((2,), dtype="int64", name="pair")
    features = [
        L(vocabulary=V, output_mode="one_hot")(inputs[0]),
        I(vocabulary=[1, 2])(inputs[1]),
        D([0.0], output_mode="one_hot")(inputs[2]),
        inputs[2],
        C(3, "count")(pair, count_weights=weights),
    ]
    return fastdl.Model([*inputs, pair, weights], layers.Dense(2, "softmax")(layers.Concatenate()(features)))


def test_several_columns_enter_under_their_names(tmp_path: Path) -> None:
    model = table_model()
    model.export(tmp_path / "model.onnx")
    columns = {
        "color": TEXT[:3],
        "count": np.array([[1], [2], [9]]),
        "size": np.array([[-0.1], [0.0], [1e9]], np.float32),
        "pair": np.array([[0, 1], [1, 1], [0, 0]]),
        "weights": np.array([[0.5, 2], [1, -1], [3, 0]], np.float32),
    }
    file = onnx.load(tmp_path / "model.onnx")
    kinds = {info.name: info.type.tensor_type.elem_type for info in file.graph.input}
    types = onnx.TensorProto
    assert kinds == {"color": types.STRING, "count": types.INT64, "size": types.FLOAT, "pair": types.INT64,
                     "weights": types.FLOAT}  # fmt: skip
    assert {each.domain: each.version for each in file.opset_import} == {"": 17, "ai.onnx.ml": 4}
    runner = fastdl.Runner(tmp_path / "model.onnx")
    np.testing.assert_allclose(runner.predict(columns), model.predict(columns), atol=1e-6)


def test_the_file_fails_where_predict_does(tmp_path: Path) -> None:
    model = stack((1,), "string", L(vocabulary=V, num_oov_indices=0, output_mode="one_hot"))("float32")
    model.export(tmp_path / "model.onnx")
    with pytest.raises(DataError, match="'zebra' in row 0, which is not in the vocabulary"):
        model.predict(["zebra"])
    with pytest.raises(DataError, match="cannot run on this input"):
        fastdl.Runner(tmp_path / "model.onnx").predict(np.array([["zebra"]]))


HASHED: dict[str, Callable[[], fastdl.Sequential]] = {
    "Hashing": lambda: stack((1,), "string", layers.Hashing(3, output_mode="one_hot"))("float32"),
    "places out of the vocabulary": lambda: stack((1,), "string", L(vocabulary=V, num_oov_indices=2))("float32"),
}


@pytest.mark.parametrize("name", HASHED)
def test_hashes_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(FusionError, match="ONNX has no operator for"):
        HASHED[name]().export(tmp_path / "model.onnx")
    assert not any(tmp_path.iterdir())


def test_a_lookup_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FusionError, match="no vocabulary: adapt it before the export"):
        stack((1,), "string", L())("float32").export(tmp_path / "model.onnx")


def test_it_is_not_read_back(tmp_path: Path) -> None:
    stack((1,), "string", L(vocabulary=V))("float32").export(tmp_path / "model.onnx")
    with pytest.raises(ModelFileError):
        fastdl.from_onnx(tmp_path / "model.onnx")


def encoder(**attributes: Any) -> onnx.ModelProto:
    """A file of anyone's that begins with a LabelEncoder."""
    kind = onnx.TensorProto.STRING if "keys_strings" in attributes else onnx.TensorProto.INT64
    node = onnx.helper.make_node("LabelEncoder", ["x"], ["y"], domain="ai.onnx.ml", **attributes)
    x = onnx.helper.make_tensor_value_info("x", kind, ["n", 1])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.INT64, ["n", 1])
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("ai.onnx.ml", 4)]
    return onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y]), opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (
            {"keys_strings": ["a", "unknown"], "values_int64s": [1, 2], "default_int64": 0},
            {"a", "unknown", "", "unknown_1"},
        ),
        ({"keys_strings": ["a", "b"], "values_int64s": [1, 2]}, {"a", "b"}),  # what it does not know has no index
        ({"keys_int64s": [4, 9], "values_int64s": [1, 2], "default_int64": 0}, {4, 9, 8, -7}),
    ],
)
def test_the_proof_draws_what_an_encoder_knows(attributes: dict[str, Any], expected: set[Any]) -> None:
    feeds = list(Feeder(encoder(**attributes)).random())
    assert {each for feed in feeds for each in feed["x"].ravel().tolist()} == expected


def test_strings_that_nothing_encodes_need_samples() -> None:
    model = encoder(keys_strings=["a"], values_int64s=[1])
    model.graph.node[0].op_type = "StringNormalizer"
    with pytest.raises(FusionError, match="takes strings: give samples"):
        list(Feeder(model).random())


def test_two_files_of_strings_are_compared(tmp_path: Path) -> None:
    model = stack((1,), "string", L(vocabulary=V, output_mode="one_hot"))("float32")
    model.export(tmp_path / "one.onnx", fuse=False)
    model.export(tmp_path / "two.onnx")
    assert fusion.verify(tmp_path / "one.onnx", tmp_path / "two.onnx").max_rel_error < 1e-5
