"""Files from other people's exporters: PyTorch's two, Keras's, skl2onnx. All become dense layers and activations."""

import importlib.util
import io
import os
import subprocess
import sys
import textwrap

import numpy as np
import onnx
import pytest

from fastdl.fusion import fuse, verify
from fastdl.runner import Runner

from .graphs import operators

pytestmark = pytest.mark.peer

FORMS = ("before", "after", "first")  # where batch norm stands: before the activation, after it, first of all
THREE_LAYERS = ["Gemm", "Relu", "Gemm", "Relu", "Gemm"]


def draw(rows=500, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(rows, 8)) * np.geomspace(0.5, 5, 8) + 1).astype(np.float32)


def assert_reduced(model, expected, x, want, **more):
    """It folds to `expected`, proven on the samples, and gives what its own library gave."""
    fused, report = fuse(model, samples=x, measure=False, **more)
    assert operators(fused) == expected
    assert report.verified
    assert report.samples == 74 + len(x)
    result = Runner(fused).predict(x)
    got = result if isinstance(result, np.ndarray) else next(a for a in result.values() if a.dtype.kind == "f")
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-5 * np.abs(want).max())
    if not more:
        verify(model, fused, samples=x)
    return fused


def torch_net(form, activation="ReLU", head=None):
    """8-16-16-3 with dropout, whose batch norms have seen data."""
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)
    layers = [nn.BatchNorm1d(8)] if form == "first" else []
    for inputs in (8, 16):
        layers.append(nn.Linear(inputs, 16, bias=form != "before"))
        layers += [nn.BatchNorm1d(16)] if form == "before" else []
        layers.append(getattr(nn, activation)())
        layers += [nn.BatchNorm1d(16)] if form == "after" else []
        layers.append(nn.Dropout(0.2))
    layers.append(nn.Linear(16, 3))
    layers += [getattr(nn, head)(dim=1)] if head else []
    net = nn.Sequential(*layers)
    with torch.no_grad():
        for seed in range(5):
            net(torch.from_numpy(draw(64, seed)))
    return net.eval()


def torch_export(net, dynamo):
    import torch

    x = torch.from_numpy(draw(2))
    if dynamo:
        pytest.importorskip("onnxscript")
        dynamic = ({0: torch.export.Dim("batch")},)
        return torch.onnx.export(net, (x,), dynamo=True, dynamic_shapes=dynamic, verbose=False).model_proto
    content = io.BytesIO()
    names = {"input_names": ["x"], "output_names": ["y"]}
    torch.onnx.export(net, (x,), content, dynamo=False, dynamic_axes={"x": {0: "N"}, "y": {0: "N"}}, **names)
    return onnx.load_from_string(content.getvalue())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("dynamo", [False, True], ids=["TorchScript", "dynamo"])
class TestPyTorch:
    def check(self, net, dynamo, expected):
        """`expected` in any order: the exporters order branches as they like."""
        import torch

        x = draw()
        with torch.no_grad():
            want = net(torch.from_numpy(x)).numpy()
        model = torch_export(net, dynamo)
        fused, _ = fuse(model, measure=False)
        assert sorted(operators(fused)) == sorted(expected)
        assert_reduced(model, operators(fused), x, want)

    @pytest.mark.parametrize("form", FORMS)
    def test_forms(self, form, dynamo):
        self.check(torch_net(form), dynamo, THREE_LAYERS)

    @pytest.mark.parametrize("activation", ["Tanh", "Sigmoid", "ELU", "LeakyReLU"])
    def test_activations(self, activation, dynamo):
        op = {"ELU": "Elu", "LeakyReLU": "LeakyRelu"}.get(activation, activation)
        self.check(torch_net("after", activation), dynamo, ["Gemm", op, "Gemm", op, "Gemm"])

    def test_a_softmax_head(self, dynamo):
        self.check(torch_net("before", head="Softmax"), dynamo, [*THREE_LAYERS, "Softmax"])

    def test_standardisation_inside_the_module(self, dynamo):
        torch = pytest.importorskip("torch")

        inner = torch_net("before")

        class Standardised(torch.nn.Module):
            def __init__(self):
                super().__init__()
                x = torch.from_numpy(draw())
                self.register_buffer("mean", x.mean(0))
                self.register_buffer("spread", x.std(0))
                self.net = inner

            def forward(self, x):
                return self.net((x - self.mean) / self.spread) * 2.5 + 1.0

        self.check(Standardised().eval(), dynamo, THREE_LAYERS)

    def test_branches(self, dynamo):
        torch = pytest.importorskip("torch")

        class Branched(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.norm, self.left, self.right = torch.nn.BatchNorm1d(8), torch_net("before"), torch_net("after")

            def forward(self, x):
                x = self.norm(x)
                return torch.cat([self.left(x), self.right(x)], dim=1)

        self.check(Branched().eval(), dynamo, [*THREE_LAYERS, *THREE_LAYERS, "Concat"])


KERAS = """
    import os, sys
    os.environ["KERAS_BACKEND"] = "torch"
    import keras, numpy as np

    x = np.load("x.npy")
    y = (x[:, 0] > 1).astype(int) + (x[:, 1] > 1)
    for form in sys.argv[1:]:
        keras.utils.set_random_seed(0)
        net = [keras.Input((8,))] + [keras.layers.BatchNormalization()] * (form == "first")
        for _ in range(2):
            net.append(keras.layers.Dense(16))
            net += [keras.layers.BatchNormalization()] if form == "before" else []
            net.append(keras.layers.ReLU())
            net += [keras.layers.BatchNormalization()] if form == "after" else []
            net.append(keras.layers.Dropout(0.2))
        model = keras.Sequential([*net, keras.layers.Dense(3, activation="softmax")])
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(x, y, epochs=3, verbose=0)
        model.export(f"{form}.onnx", format="onnx", verbose=False)
        np.save(f"{form}.npy", model.predict(x, verbose=0))
"""


@pytest.fixture(scope="module")
def keras_files(tmp_path_factory):
    """What `model.export(format="onnx")` writes on Keras's PyTorch backend, from a process of its own."""
    for needed in ("keras", "torch", "onnxscript"):  # not imported here, where Keras would choose another backend
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    folder = tmp_path_factory.mktemp("keras")
    np.save(folder / "x.npy", draw())
    command = [sys.executable, "-c", textwrap.dedent(KERAS), *FORMS]
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.parametrize("form", FORMS)
def test_keras(keras_files, form):
    model = onnx.load(keras_files / f"{form}.onnx")
    assert len(model.graph.node) > 15, "Keras writes batch norm as primitives, and a Cast around everything"
    assert_reduced(model, [*THREE_LAYERS, "Softmax"], draw(), np.load(keras_files / f"{form}.npy"))


def sklearn_pipeline(scalers, estimator, target):
    pytest.importorskip("skl2onnx")
    from sklearn import decomposition, neural_network, pipeline, preprocessing

    made = {
        "standard": preprocessing.StandardScaler(),
        "minmax": preprocessing.MinMaxScaler(),
        "robust": preprocessing.RobustScaler(),
        "maxabs": preprocessing.MaxAbsScaler(),
        "pca": decomposition.PCA(7),
        "whitening": decomposition.PCA(7, whiten=True),
    }
    x = draw()
    kinds = {
        "three": (x[:, 0] > 1).astype(int) + (x[:, 1] > 1),
        "names": np.array(["ant", "bee", "cat"])[(x[:, 0] > 1).astype(int) + (x[:, 1] > 1)],
        "two": (x[:, 0] > 1).astype(int),
        "number": x[:, 0] * 2 + x[:, 3],
    }
    net = getattr(neural_network, estimator)(hidden_layer_sizes=(16, 16), max_iter=40, random_state=0)
    return pipeline.make_pipeline(*(made[name] for name in scalers), net).fit(x, kinds[target])


def skl_export(pipe, zip_map=True):
    from skl2onnx import to_onnx

    options = {} if zip_map else {"options": {id(pipe.steps[-1][1]): {"zipmap": False}}}
    return to_onnx(pipe, draw(1), **options)


SCALERS = [["standard"], ["minmax"], ["pca"], ["standard", "pca"], ["minmax", "whitening"], ["robust"], ["maxabs"]]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scalers", SCALERS, ids="+".join)
class TestScikitLearn:
    def test_regressor(self, scalers):
        pipe = sklearn_pipeline(scalers, "MLPRegressor", "number")
        x = draw()
        assert_reduced(skl_export(pipe), THREE_LAYERS, x, pipe.predict(x)[:, None])

    @pytest.mark.parametrize("zip_map", [True, False])
    @pytest.mark.parametrize("target", ["three", "names"])
    def test_classifiers_probabilities(self, scalers, target, zip_map):
        pipe = sklearn_pipeline(scalers, "MLPClassifier", target)
        x = draw()
        model, expected = skl_export(pipe, zip_map), [*THREE_LAYERS, "Softmax"]
        fused = assert_reduced(model, expected, x, pipe.predict_proba(x), output="probabilities")
        labels = Runner(fused).predict_labels(x)
        assert (labels.astype(str) == pipe.predict(x).astype(str)).all() or not zip_map

    def test_two_classes(self, scalers):
        """A sigmoid and what it lacks to 1 are the softmax of a layer of two columns, of which one is zero."""
        pipe = sklearn_pipeline(scalers, "MLPClassifier", "two")
        x = draw()
        expected = [*THREE_LAYERS, "Softmax"]
        assert_reduced(skl_export(pipe), expected, x, pipe.predict_proba(x), output="probabilities")

    def test_as_it_is_it_keeps_its_label_and_its_maps(self, scalers):
        pipe = sklearn_pipeline(scalers, "MLPClassifier", "names")
        x = draw()
        model = skl_export(pipe)
        fused, report = fuse(model, samples=x, measure=False)
        assert operators(fused)[:6] == [*THREE_LAYERS, "Softmax"]
        assert report.verified
        assert [o.name for o in fused.graph.output] == [o.name for o in model.graph.output]
        runner = Runner(fused)
        assert (runner.predict_labels(x) == pipe.predict(x)).all()
        np.testing.assert_allclose(runner.predict_probabilities(x), pipe.predict_proba(x), atol=1e-5)
        assert runner.class_names == ["ant", "bee", "cat"]
