"""from_onnx: what fastdl wrote comes back, formulas are recognised, the rest is refused by name."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fusion.graphs import Sketch
from onnx import TensorProto, helper, numpy_helper

import fastdl
from fastdl import layers
from fastdl.errors import FusionError, ModelFileError

from .test_activations import LAYERS

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(3)


def quietly(source: Any) -> Any:
    """from_onnx of a net of which nothing is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return fastdl.from_onnx(source)


# -- fastdl's own -----------------------------------------------------------------------------------------

OWN: dict[str, Callable[[], list[Any]]] = {
    **{name: (lambda make=make: [layers.Dense(9), make(), layers.Dense(3)]) for name, make in LAYERS.items()},
    "no bias": lambda: [layers.Dense(9, use_bias=False), layers.Dense(3, use_bias=False)],
    "batch norm": lambda: [layers.Dense(9), layers.BatchNormalization(), layers.ReLU(), layers.Dense(3)],
    "batch norm, no affine": lambda: [layers.Dense(9), layers.BatchNormalization(center=False, scale=False)],
    "batch norm first": lambda: [layers.BatchNormalization(epsilon=1e-5, momentum=0.8), layers.Dense(3, "softmax")],
    "dropout": lambda: [layers.Dropout(0.3), layers.Dense(9, "tanh"), layers.Dropout(0.0), layers.Dense(3)],
    "noise": lambda: [layers.GaussianNoise(0.1), layers.Dense(9), layers.AlphaDropout(0.1)],
    "layer norm, scale only": lambda: [layers.Dense(9), layers.LayerNormalization(center=False), layers.Dense(3)],
    "layer norm, shift only": lambda: [layers.Dense(9), layers.LayerNormalization(scale=False), layers.Dense(3)],
}
PICTURES: dict[str, Callable[[], list[Any]]] = {
    "flatten": lambda: [layers.Rescaling(1 / 255, -0.5), layers.ReLU(), layers.Flatten(), layers.Dense(3)],
    "reshape": lambda: [layers.Reshape((2, 2, 2)), layers.Activation("tanh"), layers.Flatten(), layers.Dense(3)],
}


def trained(shape: tuple[int, ...], made: list[Any], dtype: str) -> tuple[fastdl.Sequential, Array]:
    fastdl.utils.set_random_seed(5)
    model = fastdl.Sequential([fastdl.Input(shape), *made], dtype=dtype)
    x = (RNG.standard_normal((60, *shape)) * 2).astype(dtype)
    model.compile(fastdl.optimizers.Adam(0.01), "mse")
    model.fit(x, RNG.standard_normal((60, *model.output_shape[1:])), epochs=3, verbose=0)  # type: ignore[arg-type]
    return model, x


@pytest.mark.parametrize(("dtype", "fuse"), [("float32", False), ("float64", False), ("float32", True)])
@pytest.mark.parametrize("name", [*OWN, *PICTURES])
def test_what_fastdl_exported_comes_back(name: str, dtype: str, fuse: bool, tmp_path: Path) -> None:
    shape, make = ((4, 2), PICTURES[name]) if name in PICTURES else ((7,), OWN[name])
    model, x = trained(shape, make(), dtype)
    path = tmp_path / "model.onnx"
    try:
        model.export(path, fuse=fuse)
    except FusionError:
        assert (name, dtype) == ("gelu", "float64")
        return
    made = quietly(path)
    assert made.dtype == model.dtype
    assert made.input_shape == model.input_shape
    predicted = model.predict(x)
    bar = (5e-6 if fuse else 1e-6) if dtype == "float32" else 1e-13
    scale = max(1.0, float(np.abs(predicted).max()))
    assert np.abs(made.predict(x) - predicted).max() <= bar * scale
    assert np.abs(made.predict(x) - fastdl.Runner(path).predict(x)).max() <= 1e-6 * scale
    made.export(tmp_path / "again.onnx", fuse=fuse)
    assert np.abs(quietly(tmp_path / "again.onnx").predict(x) - predicted).max() <= bar * scale


TABLES: dict[str, Callable[[], list[Any]]] = {
    "embedding": lambda: [layers.Embedding(9, 5), layers.Flatten(), layers.Dense(3)],
    "embedding of categories": lambda: [layers.CategoryEmbedding([9, 10, 20], 5), layers.Dense(3, "tanh")],
}


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("name", TABLES)
def test_tables_come_back(name: str, fuse: bool, tmp_path: Path) -> None:
    model = fastdl.Sequential([fastdl.Input((3,)), *TABLES[name]()])
    codes = RNG.integers(0, 9, (60, 3))
    model.export(tmp_path / "model.onnx", fuse=fuse)
    made = quietly(tmp_path / "model.onnx")
    np.testing.assert_allclose(made.predict(codes), model.predict(codes), atol=1e-6)
    table = made.layers[0]
    assert type(table) is type(model.layers[0])
    assert np.array_equal(table.get_weights()[0], model.get_weights()[0])
    made.compile("sgd", "mse")
    made.fit(codes, np.ones((60, 3)), verbose=0)
    assert not np.array_equal(table.get_weights()[0], model.get_weights()[0])


def test_a_plain_file_gives_back_names_weights_and_settings(tmp_path: Path) -> None:
    hidden = [
        *(layers.Dense(9, name="first"), layers.BatchNormalization(momentum=0.8, epsilon=2e-3, name="norm")),
        *(layers.LeakyReLU(0.15, name="leaky"), layers.Dropout(0.3, name="drop"), layers.ELU(0.7)),
        *(layers.LayerNormalization(epsilon=1e-4), layers.ReLU(max_value=6.5), layers.Dense(3, name="last")),
    ]
    model, _ = trained((7,), hidden, "float32")
    model.export(tmp_path / "m.onnx", fuse=False)
    made = quietly(tmp_path / "m.onnx")
    assert [type(layer) for layer in made.layers] == [type(layer) for layer in model.layers]
    for layer, original in zip(made.layers, model.layers, strict=True):
        ours, theirs = layer.get_config(), original.get_config()
        for setting in ("momentum", "epsilon", "rate", "negative_slope", "alpha", "max_value", "units"):
            assert ours.get(setting) == theirs.get(setting)
        assert all(np.array_equal(a, b) for a, b in zip(layer.get_weights(), original.get_weights(), strict=True))
    assert [layer.name for layer in made.layers][:4] == ["first", "norm", "leaky_relu", "drop"]


def test_training_goes_on_as_it_would_have(tmp_path: Path) -> None:
    """Plain SGD keeps nothing but the weights, so the imported net goes the very same way."""
    made = [layers.Dense(9), layers.BatchNormalization(), layers.ReLU(), layers.Dense(3)]
    model, x = trained((7,), made, "float32")
    y = RNG.standard_normal((60, 3))
    model.export(tmp_path / "m.onnx", fuse=False)
    other = quietly(tmp_path / "m.onnx")
    for net in (model, other):
        net.compile("sgd", "mse")
        net.session.seed = 1
        net.fit(x, y, epochs=5, verbose=0)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_it_is_a_model_like_any_other(tmp_path: Path) -> None:
    model, x = trained((7,), [layers.Dense(9, "gelu"), layers.Dense(3, lambda v: v)], "float32")
    model.export(tmp_path / "m.onnx")
    made = quietly((tmp_path / "m.onnx").read_bytes())
    made.save(tmp_path / "m.fastdl")
    assert np.array_equal(fastdl.load_model(tmp_path / "m.fastdl").predict(x), made.predict(x))
    before = np.random.default_rng(1)
    fastdl.utils.set_random_seed(1)
    quietly(tmp_path / "m.onnx")
    drawn = fastdl.initializers.RandomUniform(0, 1)((3,), np.dtype(np.float32))
    fastdl.utils.set_random_seed(1)
    assert np.array_equal(drawn, fastdl.initializers.RandomUniform(0, 1)((3,), np.dtype(np.float32))), before


# -- graphs by hand ---------------------------------------------------------------------------------------

Build = Callable[[Sketch], str]


def served(g: Sketch, output: str, shape: tuple[int, ...] = (4,), batch: Any = "N") -> tuple[Any, Array, Array]:
    """The model, some input, and what onnxruntime makes of it."""
    model = g.model({"x": [batch, *shape]}, {output: None})
    x = (2 * RNG.standard_normal((1 if batch == 1 else 33, *shape))).astype(g.dtype)
    return model, x, fastdl.Runner(model).predict(x)


def number(g: Sketch, value: float) -> str:
    return g.const(f"c{len(g.constants)}", value)


def chain(*nodes: tuple[Any, ...]) -> Build:
    """Nodes (operator, operands …), the last of which is the result; "x" is the input, an int the node there."""

    def build(g: Sketch) -> str:
        made: list[str] = []
        for operator, *operands in nodes:
            attributes = operands.pop() if isinstance(operands[-1], dict) else {}
            inputs = [made[v] if isinstance(v, int) else v if isinstance(v, str) else number(g, v) for v in operands]
            made.append(g.node(operator, inputs, f"v{len(made)}", **attributes))
        return made[-1]

    return build


HALF, CUBE, TWO_PI = math.sqrt(2), 0.044715, math.sqrt(2 / math.pi)
MEAN = {"axes": [-1]}
FORMULAS: dict[str, tuple[Build, list[str]]] = {
    "gelu, Div Erf, then half": (
        chain(("Div", "x", HALF), ("Erf", 0), ("Add", 1, 1.0), ("Mul", "x", 2), ("Mul", 3, 0.5)),
        ["Activation gelu"],
    ),
    "gelu, half first": (
        chain(("Mul", 0.5, "x"), ("Mul", "x", 1 / HALF), ("Erf", 1), ("Add", 1.0, 2), ("Mul", 0, 3)),
        ["Activation gelu"],
    ),
    "gelu, half inside": (
        chain(("Div", "x", HALF), ("Erf", 0), ("Add", 1, 1.0), ("Mul", 2, 0.5), ("Mul", 3, "x")),
        ["Activation gelu"],
    ),
    "gelu by tanh, Pow": (
        chain(("Pow", "x", 3.0), ("Mul", CUBE, 0), ("Add", "x", 1), ("Mul", TWO_PI, 2), ("Tanh", 3), ("Add", 1.0, 4),
              ("Mul", 0.5, "x"), ("Mul", 6, 5)),
        ["Activation gelu_tanh"],
    ),
    "gelu by tanh, products": (
        chain(("Mul", "x", CUBE), ("Mul", "x", "x"), ("Mul", 1, 0), ("Add", 2, "x"), ("Mul", 3, TWO_PI), ("Tanh", 4),
              ("Add", 5, 1.0), ("Mul", 6, 0.5), ("Mul", "x", 7)),
        ["Activation gelu_tanh"],
    ),
    "silu": (chain(("Sigmoid", "x"), ("Mul", 0, "x")), ["Activation silu"]),
    "silu, Div": (chain(("Neg", "x"), ("Exp", 0), ("Add", 1.0, 1), ("Div", "x", 2)), ["Activation silu"]),
    "sigmoid": (chain(("Neg", "x"), ("Exp", 0), ("Add", 1, 1.0), ("Div", 1.0, 2)), ["Activation sigmoid"]),
    "mish": (chain(("Softplus", "x"), ("Tanh", 0), ("Mul", "x", 1)), ["Activation mish"]),
    "softplus by logarithms": (
        chain(("Abs", "x"), ("Neg", 0), ("Exp", 1), ("Add", 2, 1.0), ("Log", 3), ("Relu", "x"), ("Add", 5, 4)),
        ["Activation softplus"],
    ),
    "softsign": (chain(("Abs", "x"), ("Add", 1.0, 0), ("Div", "x", 1)), ["Activation softsign"]),
    "hard sigmoid, Clip": (
        chain(("Add", "x", 3.0), ("Clip", 0, 0.0, 6.0), ("Div", 1, 6.0)),
        ["Activation hard_sigmoid"],
    ),
    "hard silu, Clip": (
        chain(("Add", "x", 3.0), ("Clip", 0, 0.0, 6.0), ("Mul", "x", 1), ("Mul", 2, 1 / 6)),
        ["Activation hard_silu"],
    ),
    "elu by Exp": (
        chain(("Min", "x", 0.0), ("Exp", 0), ("Sub", 1, 1.0), ("Mul", 2, 0.7), ("Relu", "x"), ("Add", 4, 3)),
        ["ELU 0.7"],
    ),
    "relu by Max": (chain(("Max", "x", 0.0)), ["ReLU None"]),
    "relu by Where": (chain(("Greater", "x", 0.0), ("Where", 0, "x", 0.0)), ["ReLU None"]),
    "leaky by Max": (chain(("Mul", 0.1, "x"), ("Max", 0, "x")), ["LeakyReLU 0.1"]),
    "leaky by Where": (chain(("Greater", "x", 0.0), ("Mul", "x", 0.3), ("Where", 0, "x", 1)), ["LeakyReLU 0.3"]),
    "relu of Keras, all": (
        chain(("Neg", "x"), ("Add", 0, 0.2), ("Relu", 1), ("Greater", "x", 0.2), ("Where", 3, "x", 0.0),
              ("Clip", 4, 0.0, 1.5), ("Mul", 2, 0.1), ("Sub", 5, 6)),
        ["ReLU 1.5"],
    ),
    "log of softmax": (chain(("Softmax", "x"), ("Log", 0)), ["Activation log_softmax"]),
    "layer norm, Pow": (
        chain(("ReduceMean", "x", MEAN), ("Sub", "x", 0), ("Pow", 1, 2.0), ("ReduceMean", 2, MEAN), ("Add", 3, 1e-4),
              ("Sqrt", 4), ("Div", 1, 5)),
        ["LayerNormalization 0.0001"],
    ),
    "layer norm, affine": (
        chain(("ReduceMean", "x", MEAN), ("Sub", "x", 0), ("Mul", 1, 1), ("ReduceMean", 2, MEAN), ("Add", 3, 1e-4),
              ("Sqrt", 4), ("Reciprocal", 5), ("Mul", 1, 6), ("Mul", 7, [1.0, 2, 3, 4]), ("Add", 8, [[4.0, 3, 2, 1]])),
        ["LayerNormalization 0.0001"],
    ),
    "rescaling": (chain(("Div", "x", 255.0), ("Sub", 0, 0.5)), ["Rescaling 0.00392156862745098"]),
    "one minus": (chain(("Sub", 1.0, "x")), ["Rescaling -1.0"]),
    "centred, scaled": (
        chain(("Sub", "x", [1.0, 2, 3, 4]), ("Div", 0, [2.0, 3, 4, 5]), ("Mul", 1, 3.0), ("Add", 2, [0.0, 0, 0, 1])),
        ["BatchNormalization 1e-30"],
    ),
    "nothing": (chain(("Mul", "x", 1.0), ("Add", 0, 0.0), ("Relu", 1)), ["Activation relu"]),
    "casts": (
        chain(("Cast", "x", {"to": TensorProto.FLOAT}), ("Sigmoid", 0), ("Identity", 1),
              ("Cast", 2, {"to": TensorProto.FLOAT}), ("Mul", 0, 3)),
        ["Activation silu"],
    ),
    "Clip from below": (chain(("Clip", "x", 0.0)), ["ReLU None"]),
    "ThresholdedRelu": (chain(("ThresholdedRelu", "x", {"alpha": 0.3})), ["ReLU None"]),
    "flatten, reshape": (chain(("Flatten", "x"), ("Relu", 0)), ["Activation relu"]),
}  # fmt: skip

SETTING = {
    "ReLU": "max_value",
    "LeakyReLU": "negative_slope",
    "ELU": "alpha",
    "Rescaling": "scale",
    "LayerNormalization": "epsilon",
    "BatchNormalization": "epsilon",
}


def told(layer: layers.Layer) -> str:
    if isinstance(layer, layers.Activation):
        return f"Activation {getattr(layer.activation, '__name__', '?')}"
    kind = type(layer).__name__
    return f"{kind} {getattr(layer, SETTING[kind])}" if kind in SETTING else kind


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_are_recognised(name: str) -> None:
    build, expected = FORMULAS[name]
    g = Sketch(opset=15)
    model, x, y = served(g, build(g))
    made = quietly(model)
    assert [told(layer) for layer in made.layers] == expected
    np.testing.assert_allclose(made.predict(x), y, rtol=1e-6, atol=1e-6)


FORMS = ["gemm", "gemm transB", "gemm alpha beta", "gemm no bias", "matmul add", "add matmul", "matmul"]


def dense(form: str) -> Build:
    def build(g: Sketch) -> str:
        w = g.weights("w", *((3, 4) if "transB" in form else (4, 3)))
        if form.startswith("gemm"):
            attributes: dict[str, Any] = {"transB": 1} if "transB" in form else {}
            attributes |= {"alpha": 0.5, "beta": 2.0} if "alpha" in form else {}
            bias = [] if "no bias" in form else [g.const("b", [[1.0, 2, 3]] if "alpha" in form else 0.5)]
            return g.node("Gemm", ["x", w, *bias], "y", **attributes)
        y = g.node("MatMul", ["x", w], "m")
        b = g.vector("b", 3)
        if form == "matmul":
            return y
        return g.node("Add", [y, b] if form == "matmul add" else [b, y], "y")

    return build


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_a_dense_layer_are_one_layer(form: str) -> None:
    g = Sketch()
    model, x, y = served(g, dense(form)(g))
    made = quietly(model)
    (layer,) = made.layers
    assert isinstance(layer, layers.Dense)
    assert layer.use_bias == (form not in ("gemm no bias", "matmul"))
    np.testing.assert_allclose(made.predict(x), y, rtol=1e-6, atol=1e-6)


def test_weights_that_the_graph_computes() -> None:
    """Transposed, reshaped, cast weights, a variance under a root: constants all, though no initializers."""
    g = Sketch()
    flat = g.node("Reshape", [g.vector("w", 12), g.const("rows", [3, 4], np.int64)], "wr")
    w = g.node("Transpose", [flat], "wt", perm=[1, 0])
    b = g.node("Reshape", [g.vector("b", 3), g.const("three", [3], np.int64)], "br")
    scale = g.node(
        "Reciprocal", [g.node("Sqrt", [g.node("Add", [g.const("v", [1.0, 2, 3]), number(g, 0.1)], "s")], "r")], "q"
    )
    y = g.node("Mul", [g.node("Add", [g.node("MatMul", ["x", w], "m"), b], "a"), scale], "y")
    model, x, served_y = served(g, y)
    made = quietly(model)
    assert [type(layer).__name__ for layer in made.layers] == ["Dense", "BatchNormalization"]
    assert made.layers[1].trainable is False
    np.testing.assert_allclose(made.predict(x), served_y, rtol=1e-6, atol=1e-6)


def test_numbers_far_from_zero_stay_centred() -> None:
    """(x - 273.15) / 10 loses digits as x / 10 - 27.315."""
    g = Sketch()
    far = g.node("Sub", ["x", g.const("mean", [273.15, 1e5, 0, 1])], "c")
    model, _, _ = served(g, g.node("Div", [far, g.const("std", [10.0, 3, 1, 1])], "y"))
    x = (np.array([273.15, 1e5, 0, 1]) + RNG.standard_normal((50, 4))).astype(np.float32)
    np.testing.assert_allclose(quietly(model).predict(x), fastdl.Runner(model).predict(x), rtol=1e-6, atol=1e-6)


SHAPES: dict[str, tuple[tuple[int, ...], Any, list[int]]] = {
    "all but the batch": ((2, 3), "N", [-1, 6]),
    "zero copies": ((2, 3), "N", [0, 6]),
    "zero copies, rest": ((2, 3), "N", [0, -1]),
    "of one sample": ((2, 3), 1, [1, 6]),
    "of one sample, rest": ((2, 3), 1, [1, -1]),
    "as it is": ((6,), "N", [-1, 6]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_reshapes_that_flatten(name: str) -> None:
    shape, batch, target = SHAPES[name]
    g = Sketch()
    flat = g.node("Reshape", ["x", g.const("shape", target, np.int64)], "f")
    model, x, y = served(g, g.node("Gemm", [flat, g.weights("w", 6, 2)], "y"), shape, batch)
    made = quietly(model)
    assert len(made.layers) == len(shape)
    np.testing.assert_allclose(made.predict(x), y, rtol=1e-6, atol=1e-6)
    made.predict(np.repeat(x, 5, 0))  # any batch


def test_an_input_of_unknown_size_has_that_of_the_first_weights() -> None:
    g = Sketch()
    y = g.node("Gemm", [g.node("Relu", ["x"], "r"), g.weights("w", 4, 2)], "y")
    for shape in (["N", "features"], ["N", None]):
        assert quietly(g.model({"x": shape}, {y: None})).input_shape == (None, 4)


def test_a_squeezed_output_keeps_its_axis_and_says_so() -> None:
    g = Sketch()
    flat = g.node("Squeeze", [g.node("Gemm", ["x", g.weights("w", 4, 1)], "d"), g.const("axes", [1], np.int64)], "y")
    model, x, y = served(g, flat)
    with pytest.warns(UserWarning, match=r"the model's output has shape \(batch, 1\), not \(batch,\)") as told:
        made = fastdl.from_onnx(model)
    assert told[0].filename == __file__  # the caller's line
    np.testing.assert_allclose(made.predict(x)[:, 0], y, rtol=1e-6, atol=1e-6)


# -- branches ---------------------------------------------------------------------------------------------


def residual() -> Any:
    x = fastdl.Input((7,))
    h = layers.Dense(8, "relu")(x)
    h = layers.Add()([h, layers.BatchNormalization()(layers.Dense(8, "tanh")(h))])
    return fastdl.Model(x, layers.Dense(3)(h))


def wide_and_deep() -> Any:
    wide, deep = fastdl.Input((3,), name="wide"), fastdl.Input((7,), name="deep")
    h = layers.Dense(6, "relu")(layers.LayerNormalization()(deep))
    return fastdl.Model([wide, deep], layers.Dense(1)(layers.Concatenate()([wide, h])))


def two_heads() -> Any:
    x = fastdl.Input((7,))
    h = layers.Dense(6, "silu")(x)
    gated = layers.Multiply()([h, layers.Dense(6, "sigmoid")(x)])
    return fastdl.Model(x, [layers.Dense(3, "softmax")(h), layers.Subtract()([gated, h])])


BRANCHES = {"residual": residual, "wide and deep": wide_and_deep, "two heads": two_heads}


@pytest.mark.parametrize("fuse", [False, True], ids=["plain", "folded"])
@pytest.mark.parametrize("name", BRANCHES)
def test_branches_become_a_functional_model(name: str, fuse: bool, tmp_path: Path) -> None:
    fastdl.utils.set_random_seed(2)
    model = BRANCHES[name]()
    inputs = [RNG.standard_normal((20, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs]
    x = inputs if len(inputs) > 1 else inputs[0]
    model.export(tmp_path / "m.onnx", fuse=fuse)
    made = quietly(tmp_path / "m.onnx")
    assert isinstance(made, fastdl.Model)
    assert len(made.inputs) == len(model.inputs)
    ours, theirs = made.predict(x), model.predict(x)
    for one, other in zip(*([[ours], [theirs]] if len(model.outputs) == 1 else [ours, theirs]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-6)
    made.export(tmp_path / "again.onnx", fuse=fuse)
    assert len(quietly(tmp_path / "again.onnx").weights) == len(made.weights)


def test_a_value_that_two_read_is_computed_once() -> None:
    g = Sketch()
    h = g.node("Gemm", ["x", g.weights("w", 4, 4)], "h")
    model, x, y = served(g, g.node("Sub", [h, g.node("Tanh", [h], "t")], "y"))
    made = quietly(model)
    assert [type(layer).__name__ for layer in made.layers] == ["InputLayer", "Dense", "Activation", "Subtract"]
    np.testing.assert_allclose(made.predict(x), y, rtol=1e-5, atol=1e-6)


# -- refused ----------------------------------------------------------------------------------------------


def broadcast(g: Sketch) -> str:
    narrow = g.node("Gemm", ["x", g.weights("w", 4, 1)], "n")
    return g.node("Add", [g.node("Relu", ["x"], "a"), narrow], "y", name="join")


def after_squeeze(g: Sketch) -> str:
    d = g.node("Gemm", ["x", g.weights("w", 4, 1)], "d")
    return g.node("Relu", [g.node("Squeeze", [d, g.const("axes", [1], np.int64)], "s", name="flat")], "y")


def class_names(g: Sketch) -> str:
    names = g.node("Identity", [g.const("names", ["ant", "bee", "cat", "doe"], object)], "n")
    return g.node("Gather", [names, g.node("ArgMax", ["x"], "i", axis=1, keepdims=0)], "y", name="name")


NO_NETS: dict[str, tuple[Build, str]] = {
    "unknown operator": (chain(("Tan", "x", {"name": "wave"})), r"node 'wave' \(Tan\).*no such operator"),
    "branches of two shapes": (broadcast, r"node 'join' \(Add\).*one shape|shapes"),
    "a quotient of branches": (chain(("Relu", "x"), ("Exp", "x"), ("Div", 0, 1)), r"\(Div\).*does not merge"),
    "samples put together": (chain(("Relu", "x"), ("Concat", 0, "x", {"axis": 0})), r"\(Concat\).*side by side"),
    "row by row": (
        lambda g: g.node("Add", ["x", g.const("c", np.ones((5, 4)))], "y"),
        r"\(Add\).*shape \(5, 4\) is not one row",
    ),
    "weights on the left": (lambda g: g.node("MatMul", [g.weights("w", 3, 3), "x"], "y"), r"\(MatMul\).*left"),
    "weights that are computed": (lambda g: g.node("MatMul", ["x", "x"], "y"), "computed values"),
    "transA": (lambda g: g.node("Gemm", ["x", g.weights("w", 4, 3)], "y", transA=1), "transA"),
    "weights that do not fit": (lambda g: g.node("Gemm", ["x", g.weights("w", 5, 3)], "y"), r"\(Gemm\).*do not fit"),
    "batch norm in training": (lambda g: g.batch_norm("x", "y", 4, training_mode=1), "training mode"),
    **{
        f"batch norm of {name} {value}": (
            lambda g, name=name, value=value: g.batch_norm("x", "y", 4, **{name: value}), f"its {name} is"
        )
        for name, value in (("momentum", -2.8e14), ("momentum", 1.5), ("momentum", np.nan), ("epsilon", -1.0))
    },
    **{
        f"{operator} of {value}": (chain((operator, "x", {"alpha": value})), rf"\({operator}\).*its (slope|alpha) is")
        for operator in ("LeakyRelu", "Elu", "ThresholdedRelu")
        for value in (-1.0, np.nan, np.inf)
    },
    "reciprocal": (chain(("Div", 1.0, "x")), r"\(Div\).*divides by a computed"),
    "by zero": (chain(("Div", "x", 0.0)), "divides by zero"),
    "clip": (chain(("Clip", "x", -1.0, 1.0)), r"clips to \[-1.0, 1.0\]"),
    "hard sigmoid of old Keras": (chain(("HardSigmoid", "x", {"alpha": 0.2})), r"alpha is 0.2, fastdl's hard_sigmoid"),
    "celu": (chain(("Celu", "x", {"alpha": 2.0})), r"alpha is 2"),
    "softmax over samples": (chain(("Softmax", "x", {"axis": 0})), r"\(Softmax\).*over axis 0 of .*not over the last"),
    "flatten of samples": (chain(("Flatten", "x", {"axis": 0})), "samples' axis"),
    "reshape of samples": (
        lambda g: g.node("Reshape", ["x", g.const("s", [-1, 2], np.int64)], "y"),
        r"\(Reshape\).*reshapes \(None, 4\) to \[-1, 2\]",
    ),
    "after the axis is gone": (after_squeeze, r"node 'flat' \(Squeeze\).*takes away the features' axis"),
    "a mask": (lambda g: g.node("Dropout", ["x"], ["d", "y"]) and "y", r"\(Dropout\).*'y' is read, which is not its"),
    "constant output": (lambda g: g.node("Identity", [g.vector("c", 4)], "y"), "does not depend on its input"),
    "only the input": (lambda g: g.node("Identity", ["x"], "y"), "holds no layer"),
    "not finite": (lambda g: g.node("Gemm", ["x", g.const("w", np.full((4, 2), np.nan))], "y"), "not finite"),
    "names of classes": (class_names, r"node 'name' \(Gather\)"),
    "constants of two sizes": (chain(("Mul", "x", [1.0, 2, 3, 4]), ("Add", 0, [1.0, 2, 3])), "one size|do not fit"),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_NETS)
def test_what_is_no_dense_net_is_refused_by_name(name: str) -> None:
    build, why = NO_NETS[name]
    g = Sketch(opset=15)
    model = g.model({"x": ["N", 4]}, {build(g): None})
    with pytest.raises(ModelFileError, match=why) as refusal:
        fastdl.from_onnx(model)
    assert "\n" not in str(refusal.value)


def two_inputs() -> Any:
    g = Sketch()
    return g.model({"x": ["N", 4], "z": ["N", 4]}, {g.node("Relu", ["x"], "y"): None})


def no_output() -> Any:
    g = Sketch()
    g.node("Relu", ["x"], "y")
    return g.model({"x": ["N", 4]}, {})


def unknown_size() -> Any:
    g = Sketch()
    return g.model({"x": ["N", None]}, {g.node("Relu", ["x"], "y"): None})


def huge(rank: int = 2) -> Any:
    """No weights, but an input of more numbers than there are bytes; and one slope for all of them."""
    g = Sketch()
    y = g.node("PRelu", ["x", g.const("slope", [0.1])], "y")
    return g.model({"x": ["N", *[2**30] * (rank - 1)]}, {y: None})


def half() -> Any:
    g = Sketch(np.float16)
    return g.model({"x": ["N", 4]}, {g.node("Gemm", ["x", g.weights("w", 4, 2)], "y"): None})


def partly_double() -> Any:
    g = Sketch()
    wide = g.node("Cast", [g.node("Gemm", ["x", g.weights("w", 4, 2)], "d")], "c", to=TensorProto.DOUBLE)
    return g.model({"x": ["N", 4]}, {g.node("Relu", [wide], "y"): None})


def overridable() -> Any:
    g = Sketch()
    y = g.node("Gemm", ["x", g.weights("w", 4, 2)], "y")
    model = g.model({"x": ["N", 4]}, {y: None})
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 2]))
    return model


def future() -> Any:
    model = unknown_size()
    model.opset_import[0].version = 1000
    return model


def grows(count: int = 200) -> Any:
    """Constants that add up: each Add makes as many numbers again; outer sums would square them."""
    g = Sketch()
    value = g.const("row", np.ones((1, 4000)))
    outer = g.node("Add", [value, g.const("column", np.ones((4000, 1)))], "outer")
    for i in range(count):
        value = g.node("Add", [value, value], f"v{i}")
    return g.model({"x": ["N", 4000]}, {g.node("Gemm", ["x", g.node("Add", [outer, value], "w")], "y"): None})


def long_way(count: int = 5_000) -> Any:
    g = Sketch()
    value = "x"
    for i in range(count):
        value = g.node("Identity", [value], f"i{i}")
    return g.model({"x": ["N", 4]}, {g.node("Tan", [value], "y"): None})


BAD: dict[str, tuple[Any, str]] = {
    "an input for nothing": (two_inputs, r"nothing reads its input 'z'"),
    "no output": (no_output, "no output"),
    "unknown size": (unknown_size, "input 'x' has shape"),
    "huge input": (lambda: huge(3), "input 'x' has shape"),
    "huge slope": (huge, r"\(PRelu\).*do not fit"),
    "half": (half, "float16|float type"),
    "partly double": (partly_double, r"\(Cast\)"),
    "overridable": (overridable, r"\(Gemm\).*not an input by weights"),
    "opset of the future": (future, "opset is 1000"),
    "constants that grow": (grows, r"\(Gemm\)"),
    "not ONNX": (lambda: b"nonsense", "truncated, or not an ONNX file"),
    "no file": (lambda: "/nowhere/model.onnx", "no such file"),
    "long way": (long_way, r"\(Tan\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_line(name: str) -> None:
    make, why = BAD[name]
    with pytest.raises(ModelFileError, match=why) as refusal:
        fastdl.from_onnx(make())
    assert "\n" not in str(refusal.value)


def test_a_net_deeper_than_pythons_stack() -> None:
    g = Sketch()
    value = "x"
    for i in range(1500):
        value = g.node("Relu", [value], f"r{i}")
    assert len(quietly(g.model({"x": ["N", 2]}, {value: None})).layers) == 1500


def test_external_data_is_drawn_in(tmp_path: Path) -> None:
    model, x = trained((7,), [layers.Dense(9), layers.Dense(3)], "float32")
    model.export(tmp_path / "inside.onnx")
    proto = onnx.load(tmp_path / "inside.onnx")
    onnx.save(proto, tmp_path / "outside.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    assert np.array_equal(quietly(tmp_path / "outside.onnx").predict(x), quietly(tmp_path / "inside.onnx").predict(x))


def test_constants_of_other_kinds() -> None:
    """Constant nodes with plain numbers instead of a tensor, and old files that list parameters as inputs."""
    g = Sketch()
    half_ = g.node("Constant", [], "half", value_float=0.5)
    row = g.node("Constant", [], "row", value_floats=[1.0, 2.0, 3.0, 4.0])
    model, x, y = served(g, g.node("Add", [g.node("Mul", ["x", half_], "m"), row], "y"))
    np.testing.assert_allclose(quietly(model).predict(x), y, rtol=1e-6)
    g = Sketch(opset=8, ir=3)
    w = numpy_helper.from_array(RNG.standard_normal((4, 2)).astype(np.float32), "w")
    old = g.model({"x": ["N", 4]}, {g.node("MatMul", ["x", "w"], "y"): ["N", 2]})
    old.graph.initializer.append(w)
    old.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 2]))
    np.testing.assert_allclose(quietly(old).predict(x), fastdl.Runner(old).predict(x), rtol=1e-6, atol=1e-6)
