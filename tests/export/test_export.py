"""Export: the plain file is faithful, the fused one holds dense layers and activations only, both equal predict."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf.message import EncodeError

import fastdl
from fastdl import layers, ops
from fastdl.compiler.graph import Op
from fastdl.errors import FusionError
from fastdl.fusion import FusionReport
from fastdl.onnx.export import OnnxGraph, to_onnx

Array = np.ndarray[Any, Any]
D, BN, ReLU, Flatten, Softmax = (
    layers.Dense,
    layers.BatchNormalization,
    layers.ReLU,
    layers.Flatten,
    layers.Softmax,
)


def adapted(layer: Any) -> layers.Layer:
    """To what lies about 2, each feature in its own way."""
    layer.adapt(np.random.default_rng(5).standard_normal((100, 5)) * [1, 2, 3, 4, 0.5] + 2)
    return layer  # type: ignore[no-any-return]


# name: (input shape, layers, operators of the fused file)
NETS: dict[str, tuple[tuple[int, ...], Callable[[], list[layers.Layer]], list[str]]] = {
    "dense": ((5,), lambda: [D(3)], ["Gemm"]),
    "no bias": ((5,), lambda: [D(3, use_bias=False)], ["Gemm"]),
    "BN before the activation": (
        (6, 7),
        lambda: [Flatten(), D(9, use_bias=False), BN(), ReLU(), D(8, use_bias=False), BN(), ReLU(), D(3, "softmax")],
        ["Flatten", "Gemm", "Relu", "Gemm", "Relu", "Gemm", "Softmax"],
    ),
    "BN after the activation": (
        (6, 7),
        lambda: [Flatten(), D(9, "relu"), BN(), D(8, "relu"), BN(), D(3, "softmax")],
        ["Flatten", "Gemm", "Relu", "Gemm", "Relu", "Gemm", "Softmax"],
    ),
    "BN first": (
        (6, 7),
        lambda: [Flatten(), BN(), D(9, use_bias=False), BN(), ReLU(), D(3, "softmax")],
        ["Flatten", "Gemm", "Relu", "Gemm", "Softmax"],
    ),
    "BN last": ((5,), lambda: [D(4), BN()], ["Gemm"]),
    "BN, no affine": (
        (5,),
        lambda: [D(4), BN(center=False, scale=False), ReLU(), D(2, "tanh")],
        ["Gemm", "Relu", "Gemm", "Tanh"],
    ),
    "dropout": (
        (5,),
        lambda: [layers.Dropout(0.3), D(4, "sigmoid"), layers.Dropout(0.5), D(2)],
        ["Gemm", "Sigmoid", "Gemm"],
    ),
    "BN, dropout, dense": ((5,), lambda: [D(4, "relu"), BN(), layers.Dropout(0.5), D(2)], ["Gemm", "Relu", "Gemm"]),
    "noise for whole axes": (
        (5,),
        lambda: [layers.Dropout(0.3, (None, 1)), D(4, "relu"), layers.AlphaDropout(0.2, (None, 1)), D(2)],
        ["Gemm", "Relu", "Gemm"],
    ),
    "spectral norm": ((5,), lambda: [layers.SpectralNormalization(D(4, "relu")), D(2)], ["Gemm", "Relu", "Gemm"]),
    "layer norm, scaled": ((5,), lambda: [D(4), layers.LayerNormalization(rms_scaling=True), D(2)], []),
    "softmax layer": ((5,), lambda: [D(4), Softmax()], ["Gemm", "Softmax"]),
    "log_softmax": ((5,), lambda: [D(4, "log_softmax"), D(2)], ["Gemm", "LogSoftmax", "Gemm"]),
    "prelu": ((5,), lambda: [D(4, activation=layers.PReLU()), BN(), D(2)], ["Gemm", "PRelu", "Gemm"]),
    "layer norm": ((5,), lambda: [D(4), BN(), layers.LayerNormalization(), D(2)], []),
    "rrelu": ((5,), lambda: [D(4), BN(), layers.RReLU(), D(2)], ["Gemm", "LeakyRelu", "Gemm"]),
    "noise": (
        (5,),
        lambda: [layers.GaussianNoise(0.1), D(4, "relu"), layers.GaussianDropout(0.2), BN(), D(2)],
        ["Gemm", "Relu", "Gemm"],
    ),
    "noise last": ((5,), lambda: [D(4, "relu"), layers.AlphaDropout(0.2)], ["Gemm", "Relu"]),
    "penalties": (
        (5,),
        lambda: [D(4, "relu", activity_regularizer="l1"), BN(), layers.ActivityRegularization(0.1), D(2)],
        ["Gemm", "Relu", "Gemm"],
    ),
    "identity": ((5,), lambda: [layers.Identity(), D(4), layers.Identity()], ["Gemm"]),
    "linear last": ((5,), lambda: [D(4, "relu"), layers.Activation("linear")], ["Gemm", "Relu"]),
    "normalization": ((5,), lambda: [adapted(layers.Normalization()), D(4, "relu"), D(2)], ["Gemm", "Relu", "Gemm"]),
    "normalization, inverted": ((5,), lambda: [D(5), layers.Normalization(-1, 0.2, 3.0, invert=True)], ["Gemm"]),
    "normalization of channels": (
        (4, 3, 2),
        lambda: [layers.Normalization(2, [1, 2, 3], [4, 5, 6]), layers.MinMaxScaling((-2, 2)), Flatten(), D(4)],
        ["Flatten", "Gemm"],
    ),
    "min-max": ((5,), lambda: [adapted(layers.MinMaxScaling()), D(4, "relu"), D(2)], ["Gemm", "Relu", "Gemm"]),
    "whitening": (
        (5,),
        lambda: [adapted(layers.Whitening(n_components=3)), D(4, "relu"), D(2)],
        ["Gemm", "Relu", "Gemm"],
    ),
    "zca": (
        (5,),
        lambda: [adapted(layers.Whitening("zca", epsilon=0.1)), D(4, "relu"), D(2)],
        ["Gemm", "Relu", "Gemm"],
    ),
    "augmented": (
        (6, 4),
        lambda: [
            *(layers.RandomFlip(), layers.RandomTranslation(0.1, 0.1), layers.RandomRotation(0.1)),
            *(layers.RandomZoom(0.1), Flatten(), layers.MixUp(), D(4)),
        ],
        ["Flatten", "Gemm"],
    ),
    "embedding": (
        (4,),
        lambda: [layers.Embedding(9, 3), Flatten(), D(4)],
        ["Cast", "Gather", "Flatten", "Gemm"],
    ),
    "embedding of categories": (
        (3,),
        lambda: [layers.CategoryEmbedding([9, 20, 11], 4, zero_missing=True), BN(), D(4)],
        ["Cast", "Add", "Gather", "Flatten", "Gemm"],
    ),
    "scale": ((5,), lambda: [layers.Scale(), D(4, "relu"), D(2)], ["Gemm", "Relu", "Gemm"]),
    "parametric activation": (
        (5,),
        lambda: [D(4, layers.ParametricActivation("tanh")), D(2)],
        ["Gemm", "Mul", "Tanh", "Add", "Gemm"],
    ),
    "pbld": ((5,), lambda: [layers.PeriodicEmbedding(), D(40, "relu"), D(2)], []),
    "pbld of many numbers": ((30,), lambda: [layers.PeriodicEmbedding(3, 5, lite=True), D(4, "relu"), D(2)], []),
    "plr": ((5,), lambda: [layers.PeriodicEmbedding(3, 5, 0.5, "plr"), D(4, "relu"), D(2)], []),
    "plr of many numbers": ((26,), lambda: [layers.PeriodicEmbedding(3, 5, 0.5, "plr"), D(4, "relu"), D(2)], []),
    "piecewise linear": (
        (5,),
        lambda: [adapted(layers.PiecewiseLinearEncoding(4)), layers.Scale(), D(4, "relu"), D(2)],
        ["Gather", "Sub", "Mul", "Max", "Min", "Gemm", "Relu", "Gemm"],
    ),
    "reshape": ((6, 2), lambda: [layers.Reshape((3, -1)), Flatten(), D(4)], ["Flatten", "Gemm"]),
    "dense over the last axis": ((3, 4), lambda: [D(6, "relu"), D(5, use_bias=False), Flatten(), D(4)], []),
    "ensemble": (
        (5,),
        lambda: [
            *(layers.RepeatVector(3), layers.EnsembleScale(), D(9, "relu"), layers.EnsembleDense(4, "softmax")),
            *(layers.EnsembleDense(2, use_bias=False), layers.GlobalAveragePooling1D()),
        ],
        [],
    ),
    "flatten of nothing": ((5,), lambda: [Flatten(), D(4)], ["Gemm"]),
}


class Meet(layers.Layer):
    """x, and a dense layer of it, brought together."""

    def __init__(self, merge: layers.Layer) -> None:
        super().__init__()
        self.merge, self.dense = merge, D(5, "relu")

    def call(self, x: Any) -> Any:
        return self.merge([x, self.dense(x)])


def tied() -> list[Any]:
    dense = D(4, "tanh")
    return [dense, layers.DenseTranspose(dense)]


NETS |= {
    "skip": ((5,), lambda: [Meet(layers.Add()), D(2)], ["Gemm", "Relu", "Add", "Gemm"]),
    "mean of branches": ((5,), lambda: [Meet(layers.Average()), BN(), D(2)], ["Gemm", "Relu", "Add", "Gemm"]),
    "weighted mean": (
        (5,),
        lambda: [Meet(layers.Average(shares=[1, 3])), D(2)],
        ["Gemm", "Relu", "Mul", "Add", "Gemm"],
    ),
    "gate": ((5,), lambda: [Meet(layers.Multiply()), D(2)], ["Gemm", "Relu", "Mul", "Gemm"]),
    "side by side": ((5,), lambda: [Meet(layers.Concatenate()), BN(), D(2)], ["Gemm", "Relu", "Concat", "Gemm"]),
    "tied": ((5,), tied, ["Gemm", "Tanh", "Gemm"]),
}
nets = pytest.mark.parametrize("name", NETS)
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def make(name: str, dtype: str = "float32") -> tuple[fastdl.Sequential, Array]:
    """The net after a few steps, so that no parameter is at its initial value, and data."""
    fastdl.utils.set_random_seed(4)
    shape, stack, _ = NETS[name]
    model = fastdl.Sequential([fastdl.Input(shape), *stack()], dtype=dtype)
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((256, *shape)) * 2 + 1).astype(dtype)
    if name.startswith("embedding"):
        x = rng.integers(0, 9, x.shape).astype(dtype)
    output = model.output_shape[1]
    assert output is not None
    if model.trace().outputs[0].op.__class__ is ops.Softmax:
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(x, rng.integers(0, output, 256), epochs=3, verbose=0)
    else:
        model.compile("adam", "mse")
        model.fit(x, rng.standard_normal((256, output)), epochs=3, verbose=0)
    return model, x


# of functions of one's own, which tests/ops/test_functions.py exports one by one, and tests/models/test_own.py
OF_FUNCTIONS = {"Combine", "Constant", "Elementwise", "OverSamples", "ProductOfSamples", "StopGradient", "View"}
OF_FUNCTIONS |= {"WeightValue"}


def test_every_op_is_exported_by_a_net_of_this_table() -> None:
    exported = {type(op).__name__ for name in NETS for op in make(name)[0].trace().ops}
    assert (
        exported - OF_FUNCTIONS == set(Op.registry) - {"Own", "PerSampleLoss"} - OF_FUNCTIONS
    )  # numpy and losses have no form in ONNX


@nets
@dtypes
def test_fused_file_is_dense_layers_and_activations_and_equals_predict(name: str, dtype: str, tmp_path: Path) -> None:
    model, x = make(name, dtype)
    path = tmp_path / "model.onnx"
    report = model.export(path, verify=x)
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert operators == report.operators_after
    wanted = NETS[name][2]
    if (name, dtype) == ("rrelu", "float64"):
        wanted = ["Gemm", "PRelu", "Gemm"]  # LeakyRelu's alpha is float32
    assert operators == wanted or not wanted  # some have several forms
    served, predicted = fastdl.Runner(path).predict(x), model.predict(x)
    scale = max(1.0, float(np.abs(predicted).max()))
    assert served.dtype == predicted.dtype == dtype
    assert np.abs(served - predicted).max() <= (1e-6 if dtype == "float32" else 1e-14) * scale
    assert report.predict_max_abs_error is not None
    assert report.predict_max_abs_error >= np.abs(served - predicted).max()
    assert report.verified == bool(report.folds)
    assert report.label_flips == 0


@nets
@dtypes
def test_plain_file_is_faithful(name: str, dtype: str, tmp_path: Path) -> None:
    model, x = make(name, dtype)
    path = tmp_path / "plain.onnx"
    report = model.export(path, fuse=False)
    assert report.nodes_before == report.nodes_after == len(onnx.load(path).graph.node)
    norms = sum(isinstance(layer, BN) for layer in model.layers)
    assert report.operators_after.count("BatchNormalization") == norms
    served, predicted = fastdl.Runner(path).predict(x), model.predict(x)
    np.testing.assert_allclose(served, predicted, atol=2e-6 * np.abs(predicted).max() if dtype == "float32" else 1e-13)


def test_file_carries_names_batch_and_metadata(tmp_path: Path) -> None:
    model, x = make("BN first")
    path = tmp_path / "model.onnx"
    model.export(path, class_names=["a", "b", "c"])
    proto = onnx.load(path)
    assert proto.producer_name == "fastdl"
    assert proto.producer_version == fastdl.__version__
    (source,), (result,) = proto.graph.input, proto.graph.output
    assert (source.name, result.name) == ("input", "output")
    assert [d.dim_param or d.dim_value for d in source.type.tensor_type.shape.dim] == ["batch", 6, 7]
    assert [d.dim_param or d.dim_value for d in result.type.tensor_type.shape.dim] == ["batch", 3]
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert json.loads(metadata["fastdl.class_names"]) == ["a", "b", "c"]
    assert json.loads(metadata["fastdl.fusion"])["verified"] is True
    assert {node.name for node in proto.graph.node} >= {layer.name for layer in model.layers if isinstance(layer, D)}
    runner = fastdl.Runner(path)
    assert runner.class_names == ["a", "b", "c"]
    for rows in (1, 3, 100):
        np.testing.assert_allclose(runner.predict(x[:rows]), model.predict(x[:rows]), atol=1e-6)


def test_report_prints_as_a_table_and_saves(tmp_path: Path) -> None:
    model, x = make("BN first")
    report = model.export(tmp_path / "m.onnx", verify=x)
    assert isinstance(report, FusionReport)
    printed = " ".join(str(report).split())
    for text in ("nodes", "batch_normalization", "label flips", "Largest difference to predict"):
        assert text in printed
    report.save(tmp_path / "r.json")
    saved = json.loads((tmp_path / "r.json").read_text())
    assert saved["predict_max_abs_error"] == report.predict_max_abs_error
    assert saved["samples"] >= 256


def test_a_wrong_export_is_refused_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = make("dense")
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    original = OnnxGraph.constant
    monkeypatch.setattr(
        OnnxGraph, "constant", lambda self, value, name="": original(self, value.numpy() * 1.001, value.path)
    )
    with pytest.raises(FusionError, match="predict is off the exported graph"):
        model.export(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = make("dense")
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        model.export(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_export_refuses() -> None:
    model, _ = make("dense")
    with pytest.raises(ValueError, match="2 class names for 3 outputs"):
        model.export("m.onnx", class_names=["a", "b"])
    with pytest.raises(FileNotFoundError):
        model.export("no/such/folder/m.onnx")
    with pytest.raises(ValueError, match="no input shape yet"):
        fastdl.Sequential([D(3)]).export("m.onnx")


def test_layers_of_one_name_do_not_collide() -> None:
    x = fastdl.Input((4,))
    model = fastdl.Model(x, D(2, name="output")(D(2, name="same")(D(3, name="same")(x))))
    proto = to_onnx(model.trace(), "m")
    names = [initializer.name for initializer in proto.graph.initializer]
    assert len(set(names)) == len(names) == 6
    assert len({name for node in proto.graph.node for name in node.output}) == 3


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[ONNXRuntimeError] : 1 : FAIL : Exception during loading: std::bad_alloc"),
        EncodeError("Failed to serialize proto"),
        MemoryError(),
    ],
)
@pytest.mark.parametrize("step", ["to_onnx", "compare_with_predict", "fuse"])
def test_out_of_memory_is_a_memory_error_and_the_old_file_stays(error, step, tmp_path, monkeypatch):
    from fastdl import fusion
    from fastdl.models import exporting

    def fail(*args, **options):
        raise error

    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    model = fastdl.Sequential([fastdl.Input((3,)), layers.Dense(2)])
    monkeypatch.setattr(fusion if step == "fuse" else exporting, step, fail)
    with pytest.raises(MemoryError):
        model.export(path)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"old"]


def test_two_class_names_are_for_a_sigmoid(tmp_path):
    def net(end, units=1):
        return fastdl.Sequential([fastdl.Input((3,)), layers.Dense(units, end)])

    x = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    model = net("sigmoid")
    model.export(tmp_path / "m.onnx", class_names=["no", "yes"])
    runner = fastdl.Runner(tmp_path / "m.onnx")
    assert runner.class_names == ["no", "yes"]
    assert np.array_equal(runner.predict_labels(x), np.where(model.predict(x)[:, 0] > 0.5, "yes", "no"))
    assert model.class_names is None
    model.class_names = ["no", "yes"]
    model.save(tmp_path / "m.safetensors")
    again = fastdl.models.load_model(tmp_path / "m.safetensors")
    again.export(tmp_path / "again.onnx")
    assert fastdl.Runner(tmp_path / "again.onnx").class_names == again.class_names == ["no", "yes"]
    for end, units, names, message in (
        (None, 1, ["no", "yes"], "end the model in a sigmoid"),
        ("tanh", 1, ["no", "yes"], "end the model in a sigmoid"),
        ("sigmoid", 1, ["a", "b", "c"], "3 class names for 1 outputs"),
        ("softmax", 3, ["a", "b"], "2 class names for 3 outputs"),
    ):
        with pytest.raises(ValueError, match=message):
            net(end, units).export(tmp_path / "none.onnx", class_names=names)
    assert not (tmp_path / "none.onnx").exists()


@pytest.mark.parametrize(
    ("format", "error", "said"),
    [
        ("tf_saved_model", NotImplementedError, "ONNX alone, not to tf_saved_model"),
        ("onxx", ValueError, "Unrecognized format='onxx'"),
    ],
)
def test_other_formats(format: str, error: type[Exception], said: str) -> None:
    model = fastdl.Sequential([fastdl.Input((4,)), D(2)])
    with pytest.raises(error, match=said):
        model.export("never.onnx", format)
