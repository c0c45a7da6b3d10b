"""Nets exported by PyTorch (both exporters), Keras and scikit-learn: read back as layers that predict the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl.base.arrays import Array
from fastdl.errors import ModelFileError

pytestmark = [
    pytest.mark.peer,
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore"),  # the exporters'
]

RNG = np.random.default_rng(1)


def agrees(path: Path, x: Array, expected: Array) -> fastdl.Sequential:
    """The imported model, which predicts what is expected, can be exported and read again, and can be trained."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is left out of these nets
        model = fastdl.from_onnx(path)
    predicted = model.predict(x)
    assert predicted.dtype == x.dtype
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-6 * scale)
    np.testing.assert_allclose(predicted, fastdl.Runner(path).predict(x), rtol=0, atol=1e-6 * scale)
    again = path.with_name("again.onnx")
    for fuse, bar in ((False, 1e-6), (True, 1e-5)):  # folding rounds anew
        model.export(again, fuse=fuse)
        np.testing.assert_allclose(fastdl.from_onnx(again).predict(x), predicted, rtol=0, atol=bar * scale)
    model.compile("sgd", "mse")
    before = model.get_weights()
    target = expected + np.arange(expected.shape[-1])  # a softmax has no slope towards the same number everywhere
    assert np.isfinite(model.train_on_batch(x, target))
    assert any(not np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))
    return model


# -- PyTorch ----------------------------------------------------------------------------------------------

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    **{
        name: (lambda nn, name=name: getattr(nn, name)())
        for name in (
            *("ReLU", "Sigmoid", "Tanh", "GELU", "SiLU", "Mish", "Hardswish", "Hardsigmoid", "ReLU6", "Softplus"),
            *("Softsign", "CELU", "SELU", "PReLU", "Identity"),
        )
    },
    "GELU, tanh": lambda nn: nn.GELU("tanh"),
    "ELU": lambda nn: nn.ELU(0.7),
    "LeakyReLU": lambda nn: nn.LeakyReLU(0.1),
    "PReLU, each": lambda nn: nn.PReLU(8),
    "LayerNorm": lambda nn: nn.LayerNorm(8),
    "LayerNorm, plain": lambda nn: nn.LayerNorm(8, elementwise_affine=False),
    "Softmax": lambda nn: nn.Softmax(1),
    "LogSoftmax": lambda nn: nn.LogSoftmax(-1),
    "BatchNorm1d": lambda nn: trained_norm(nn.BatchNorm1d(8)),
    "Dropout": lambda nn: nn.Dropout(0.3),
    "Tanhshrink": lambda nn: nn.Tanhshrink(),
}


def trained_norm(norm: Any) -> Any:
    """A batch norm whose statistics and parameters are not those that it began with."""
    torch = pytest.importorskip("torch")
    for array in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        array.data = torch.from_numpy(RNG.uniform(0.5, 1.5, 8).astype(np.float32))
    return norm


def export(net: Any, path: Path, shape: tuple[int, ...], dynamo: bool, opset: int | None, double: bool = False) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    dynamic: dict[str, Any] = {"dynamic_shapes": ({0: "batch"},)} if dynamo else {"dynamic_axes": {"x": {0: "batch"}}}
    given = torch.zeros(2, *shape, dtype=torch.float64 if double else torch.float32)
    net = net.double() if double else net
    torch.onnx.export(
        *(net.eval(), (given,), path), dynamo=dynamo, input_names=["x"], opset_version=opset, verbose=False, **dynamic
    )


@pytest.mark.parametrize(("dynamo", "opset"), [(False, 13), (False, 17), (True, 18), (True, None)])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_pytorchs_layers(name: str, dynamo: bool, opset: int | None, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    if name == "CELU" and opset == 11:
        pytest.skip("PyTorch writes no CELU for this opset")
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), ACTIVATIONS[name](torch.nn), torch.nn.Linear(8, 3, bias=False))
    export(net, tmp_path / "net.onnx", (6,), dynamo, opset)
    x = (3 * RNG.standard_normal((50, 6))).astype(np.float32)
    agrees(tmp_path / "net.onnx", x, net(torch.from_numpy(x)).detach().numpy())


@pytest.mark.parametrize("dynamo", [False, True])
def test_pytorch_over_a_sequence(dynamo: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 6), torch.nn.Softmax(-1))
    export(net, tmp_path / "net.onnx", (5, 4), dynamo, None)
    x = RNG.standard_normal((50, 5, 4)).astype(np.float32)
    agrees(tmp_path / "net.onnx", x, net(torch.from_numpy(x)).detach().numpy())


@pytest.mark.parametrize("dynamo", [False, True])
def test_a_pytorch_classifier_of_pictures(dynamo: bool, tmp_path: Path) -> None:
    """Flatten as a layer and as view(), numbers scaled in forward, batch norm, dropout."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Net(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(12, 8), trained_norm(nn.BatchNorm1d(8)), nn.ReLU(), nn.Dropout(0.5))
            self.last = nn.Linear(8, 3)

        def forward(self, x: Any) -> Any:
            x = (x / 255.0 - 0.5) * 2
            return self.last(self.inner(x.view(x.size(0), -1)))

    net = Net()
    export(net, tmp_path / "net.onnx", (3, 4), dynamo, None)
    x = RNG.uniform(0, 255, (30, 3, 4)).astype(np.float32)
    model = agrees(tmp_path / "net.onnx", x, net(torch.from_numpy(x)).detach().numpy())
    assert model.input_shape == (None, 3, 4)
    kinds = [type(layer).__name__ for layer in model.layers]
    norm = [] if dynamo else ["BatchNormalization"]  # dynamo folds it
    assert kinds == ["Rescaling", "Flatten", "Dense", *norm, "Activation", "Dense"]


@pytest.mark.parametrize("dynamo", [False, True])
def test_pytorch_in_float64(dynamo: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    export(net, tmp_path / "net.onnx", (6,), dynamo, None, double=True)
    x = RNG.standard_normal((20, 6))
    model = fastdl.from_onnx(tmp_path / "net.onnx")
    assert model.dtype == np.float64
    np.testing.assert_allclose(model.predict(x), net(torch.from_numpy(x)).detach().numpy(), rtol=0, atol=1e-14)


REFUSED: dict[str, tuple[Callable[[Any], Any], tuple[int, ...], str]] = {
    "convolution": (lambda nn: nn.Conv1d(2, 3, 2), (2, 5), r"\(Conv\).*no such operator"),
    "recurrence": (lambda nn: nn.RNN(4, 3, batch_first=True), (5, 4), "no layer of a dense net|outputs"),
    "attention": (lambda nn: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (5, 4), "no layer of a dense net"),
    "hardtanh": (lambda nn: nn.Hardtanh(), (4,), r"\(Clip\).*clips to \[-1.0, 1.0\]"),
    "RMSNorm": (lambda nn: nn.RMSNorm(4), (4,), r"\(ReduceMean\)|\(Pow\)|\(Reciprocal\)|\(RMSNorm"),
    "softmax over a picture": (lambda nn: nn.Softmax(1), (5, 4), r"\(Softmax\).*not over the last"),
}


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_dense_net_is_refused_by_name(name: str, dynamo: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    make, shape, why = REFUSED[name]
    if name in ("attention", "RMSNorm") and not dynamo:
        pytest.skip("PyTorch's older exporter fails on it itself")
    export(make(torch.nn), tmp_path / "net.onnx", shape, dynamo, None)
    with pytest.raises(ModelFileError, match=why):
        fastdl.from_onnx(tmp_path / "net.onnx")


# -- Keras ------------------------------------------------------------------------------------------------

KERAS: dict[str, Callable[[Any], list[Any]]] = {
    **{
        name: (lambda L, name=name: [L.Dense(8, activation=name), L.Dense(3)])
        for name in (
            *("linear", "relu", "relu6", "leaky_relu", "sigmoid", "hard_sigmoid", "tanh", "exponential", "softplus"),
            *("softsign", "elu", "selu", "silu", "hard_silu", "mish", "gelu", "softmax", "log_softmax"),
        )
    },
    "LeakyReLU": lambda L: [L.Dense(8), L.LeakyReLU(0.1), L.Dense(3)],
    "ELU": lambda L: [L.Dense(8), L.ELU(0.5), L.Dense(3)],
    "PReLU": lambda L: [L.Dense(8), L.PReLU("random_uniform"), L.Dense(3)],
    "ReLU, all": lambda L: [L.Dense(8), L.ReLU(1.5, 0.1, 0.2), L.Dense(3)],
    "ReLU, threshold": lambda L: [L.Dense(8), L.ReLU(threshold=0.3), L.Dense(3)],
    "batch norm": lambda L: [L.Dense(8, use_bias=False), L.BatchNormalization(), L.ReLU(), L.Dense(3)],
    "batch norm first": lambda L: [L.BatchNormalization(center=False), L.Dense(3)],
    "noise": lambda L: [L.GaussianNoise(0.1), L.Dense(8), L.Dropout(0.3), L.AlphaDropout(0.2), L.Dense(3, "softmax")],
    "Rescaling": lambda L: [L.Rescaling(1 / 3, -1.0), L.Dense(3)],
}


@pytest.mark.parametrize("name", KERAS)
def test_kerass_layers(name: str, tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    pytest.importorskip("onnxscript")
    keras.utils.set_random_seed(1)
    net = keras.Sequential([keras.Input((6,)), *KERAS[name](keras.layers)])
    for weight in net.weights:
        if "seed" in weight.path:
            continue
        drawn = RNG.uniform(0.5, 1.5, weight.shape)
        if "kernel" in weight.path:  # of both signs, and so small that a softmax is not sure
            drawn *= np.sign(RNG.uniform(-1, 2, weight.shape)) / len(drawn)
        weight.assign(drawn)
    x = RNG.standard_normal((40, 6)).astype(np.float32) * (0.3 if name == "exponential" else 1)
    expected = np.asarray(net(x).detach())
    net.export(tmp_path / "net.onnx", format="onnx", verbose=False)
    agrees(tmp_path / "net.onnx", x, expected)


def test_a_keras_classifier_of_pictures(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    pytest.importorskip("onnxscript")
    keras.utils.set_random_seed(1)
    L = keras.layers
    hidden = [L.Flatten(), L.Normalization(mean=np.arange(12.0) + 200, variance=(np.arange(12.0) + 20) ** 2)]
    net = keras.Sequential([keras.Input((3, 4)), *hidden, L.Dense(9, "relu"), L.Dense(3, "softmax")])
    x = RNG.uniform(150, 255, (30, 3, 4)).astype(np.float32)
    expected = np.asarray(net(x).detach())
    net.export(tmp_path / "net.onnx", format="onnx", verbose=False)
    agrees(tmp_path / "net.onnx", x, expected)


# -- scikit-learn -----------------------------------------------------------------------------------------

X = RNG.standard_normal((80, 5)).astype(np.float32) * np.float32(3) + np.float32(100)
CLASSES, TWO = RNG.integers(0, 3, 80), RNG.integers(0, 2, 80)
TARGET = X[:, 0] - X[:, 1] ** 2 / 100


def _models() -> dict[str, tuple[Callable[[], Any], Any]]:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline as chain
    from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

    def mlp(kind: Any, activation: str = "relu") -> Any:
        return kind(hidden_layer_sizes=(7, 4), activation=activation, max_iter=20, random_state=0)

    return {
        "classifier": (lambda: chain(StandardScaler(), mlp(MLPClassifier)), CLASSES),
        "names for classes": (
            lambda: chain(StandardScaler(), mlp(MLPClassifier, "logistic")),
            np.array(list("abc"))[CLASSES],
        ),
        "two classes": (lambda: chain(MinMaxScaler(), mlp(MLPClassifier, "tanh")), TWO),
        "several labels": (lambda: chain(MaxAbsScaler(), mlp(MLPClassifier)), np.stack([TWO, 1 - TWO[::-1]], 1)),
        "regressor": (lambda: chain(RobustScaler(), mlp(MLPRegressor)), TARGET),
        "regressor, linear": (lambda: chain(StandardScaler(), mlp(MLPRegressor, "identity")), TARGET),
        "logistic regression": (lambda: chain(StandardScaler(), LogisticRegression()), CLASSES),
        "logistic regression, two": (lambda: chain(StandardScaler(), LogisticRegression()), TWO),
        "linear regression": (lambda: chain(StandardScaler(), LinearRegression()), np.stack([TARGET, TARGET**2], 1)),
        "PCA": (lambda: chain(StandardScaler(), PCA(3), Ridge()), TARGET),
    }


NAMES = [
    *("classifier", "names for classes", "two classes", "several labels", "regressor", "regressor, linear"),
    *("logistic regression", "logistic regression, two", "linear regression", "PCA"),
]


@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_scikit_learns_models(name: str, zipmap: bool, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    converter = pytest.importorskip("skl2onnx")
    make, target = _models()[name]
    estimator = make().fit(X, target)
    classifies = hasattr(estimator, "predict_proba")
    options = {id(estimator): {"zipmap": zipmap}} if classifies else None
    path = tmp_path / "net.onnx"
    path.write_bytes(converter.to_onnx(estimator, X[:1], options=options).SerializeToString())
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        model = fastdl.from_onnx(path)
    expected = estimator.predict_proba(X) if classifies else estimator.predict(X)
    predicted = model.predict(X)
    if name == "two classes":  # one sigmoid, the second class
        expected = expected[:, 1:]
    served = None if (classifies and zipmap) or name == "names for classes" else fastdl.Runner(path).predict(X)
    if served is not None:
        scores = served["probabilities"] if isinstance(served, dict) else served
        np.testing.assert_allclose(
            predicted, scores[:, -predicted.shape[1] :], rtol=0, atol=1e-6 * max(1, np.abs(expected).max())
        )
    np.testing.assert_allclose(predicted, expected.reshape(predicted.shape), rtol=2e-6, atol=2e-6)
    assert bool(notes) == classifies
    assert all("is left out from" in str(note.message) for note in notes)
