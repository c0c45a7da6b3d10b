"""LayerStatistics beside PyTorch: activations caught by hooks, gradients by autograd, the update by torch.optim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers
from fastdl.diagnosis.layer_statistics import layer_statistics

pytestmark = [pytest.mark.peer, pytest.mark.usefixtures("one_torch_thread")]

ACTIVATIONS = {"relu": "ReLU", "tanh": "Tanh", "sigmoid": "Sigmoid", "elu": "ELU", "selu": "SELU", "silu": "SiLU"}
RNG = np.random.default_rng(5)
X, Y = RNG.standard_normal((70, 12)), RNG.integers(0, 4, 70)


def pair(activation: str, norm: bool, depth: int) -> tuple[fastdl.Sequential, Any]:
    """The same net twice, float64, with the same weights."""
    torch = pytest.importorskip("torch")
    fastdl.utils.set_random_seed(2)
    ours: list[Any] = [fastdl.Input((12,))]
    theirs: list[Any] = []
    size = 12
    for _ in range(depth):
        ours.append(layers.Dense(9, bias_initializer="random_normal"))
        theirs.append(torch.nn.Linear(size, 9))
        size = 9
        if norm:
            ours.append(layers.BatchNormalization(epsilon=1e-3))
            theirs.append(torch.nn.BatchNorm1d(9, eps=1e-3))
        ours.append(layers.Activation(activation))
        theirs.append(getattr(torch.nn, ACTIVATIONS[activation])())
    ours.append(layers.Dense(4))
    theirs.append(torch.nn.Linear(size, 4))
    model = fastdl.Sequential(ours, dtype="float64")
    other = torch.nn.Sequential(*theirs).double()
    for mine, its in zip(model.layers, other, strict=True):
        if isinstance(mine, layers.Dense):
            kernel, bias = mine.get_weights()
            its.weight.data, its.bias.data = torch.from_numpy(kernel.T.copy()), torch.from_numpy(bias)
    return model, other


# Keras adds epsilon before the correction of the bias, PyTorch after it
@pytest.mark.parametrize("optimizer", [("SGD", {}), ("Adam", {"eps": 1e-7 / 0.001**0.5})], ids=["sgd", "adam"])
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "batch norm"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_number_is_pytorchs(activation: str, norm: bool, optimizer: tuple[str, dict[str, float]]) -> None:
    torch = pytest.importorskip("torch")
    model, other = pair(activation, norm, depth=4)
    name, options = optimizer
    chosen = {"SGD": fastdl.optimizers.SGD, "Adam": fastdl.optimizers.Adam}[name](0.01)
    model.compile(chosen, fastdl.losses.SparseCategoricalCrossentropy(from_logits=True))
    records = layer_statistics(model, X, Y).layers
    outputs: list[Any] = []
    for layer in other:
        layer.register_forward_hook(lambda _, __, output: outputs.append(output.detach().numpy()))
    loss = torch.nn.functional.cross_entropy(other(torch.from_numpy(X)), torch.from_numpy(Y))
    loss.backward()
    before = [[p.detach().clone() for p in layer.parameters()] for layer in other]
    getattr(torch.optim, name)(other.parameters(), lr=0.01, **options).step()
    assert len(records) == len(outputs)
    for record, layer, old, output in zip(records, other, before, outputs, strict=True):
        assert record.mean == pytest.approx(output.mean(), rel=1e-10, abs=1e-14)
        assert record.std == pytest.approx(output.std(), rel=1e-10)
        if not old:
            assert record.gradient_norm is record.update_ratio is None
            continue
        gradient = np.concatenate([p.grad.numpy().ravel() for p in layer.parameters()])
        moved = np.concatenate([(p.detach() - o).numpy().ravel() for p, o in zip(layer.parameters(), old, strict=True)])
        size = np.linalg.norm(np.concatenate([o.numpy().ravel() for o in old]))
        assert record.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-9)
        # a bias before batch norm has gradient zero but for rounding, which Adam takes for a direction
        loose = name == "Adam" and norm and isinstance(layer, torch.nn.Linear)
        assert record.update_ratio == pytest.approx(np.linalg.norm(moved) / size, rel=0.2 if loose else 1e-7)


def test_twenty_sigmoid_layers_vanish_as_in_pytorch() -> None:
    torch = pytest.importorskip("torch")
    model, other = pair("sigmoid", norm=False, depth=20)
    model.compile("sgd", fastdl.losses.SparseCategoricalCrossentropy(from_logits=True))
    found = layer_statistics(model, X, Y)
    torch.nn.functional.cross_entropy(other(torch.from_numpy(X)), torch.from_numpy(Y)).backward()
    norms = [r.gradient_norm for r in found.layers if r.gradient_norm is not None]
    theirs = [
        np.linalg.norm(np.concatenate([p.grad.numpy().ravel() for p in layer.parameters()]))
        for layer in other
        if isinstance(layer, torch.nn.Linear)
    ]
    np.testing.assert_allclose(norms, theirs, rtol=1e-7)
    assert norms[0] < 1e-10 * norms[-1]
    assert "vanishing" in found.findings
