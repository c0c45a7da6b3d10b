"""Long chains and large weights: what fuse takes grows with the file, not with its square."""

import time
import tracemalloc

import numpy as np
import pytest
from onnx import helper, numpy_helper

from fastdl.fusion import fuse
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.weights import Lean
from fastdl.fusion.pipeline import fold_all
from fastdl.fusion.runtime.session import Session

from .graphs import Sketch

R = np.random.default_rng(0)


def chain(*kinds, length):
    """Nodes of these kinds in turn, on rows of 4."""
    nodes, stored = [], []
    for k in range(length):
        kind, value = kinds[k % len(kinds)], f"v{k}" if k else "x"
        parameters = {
            "Add": [np.full(4, 0.01)],
            "Gemm": [np.linalg.qr(R.normal(size=(4, 4)))[0], R.normal(size=4) * 0.1],
            "BatchNormalization": [np.ones(4), np.zeros(4), np.zeros(4), np.ones(4)],
        }.get(kind, [])
        names = [f"p{k}_{slot}" for slot in range(len(parameters))]
        stored += [numpy_helper.from_array(p.astype(np.float32), n) for p, n in zip(parameters, names, strict=True)]
        nodes.append(helper.make_node(kind, [value, *names], [f"v{k + 1}" if k + 1 < length else "y"]))
    infos = [helper.make_tensor_value_info(name, 1, ["N", 4]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


CHAINS = {
    "no-ops": ("Identity",),
    "constants": ("Add",),
    "dense": ("Gemm",),
    "dense and batch norm": ("Gemm", "BatchNormalization"),
    "dense, activation, batch norm": ("Gemm", "Relu", "BatchNormalization"),
    "activations": ("Relu", "Tanh"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_eight_times_as_long_takes_no_more_than_some_ten_times_as_long(name):
    def seconds(length):
        model = chain(*CHAINS[name], length=length)
        start = time.process_time()
        fold_all(model)
        return time.process_time() - start

    seconds(30)
    assert min(seconds(1600) for _ in range(4)) < 16 * min(seconds(200) for _ in range(3)) + 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAINS)
def test_the_longest_chain_is_folded_and_proven_in_seconds(name):
    """Beside what onnxruntime takes to open four sessions, which for so many nodes is more than half of all."""
    model = chain(*CHAINS[name], length=9990)
    start = time.process_time()
    for optimise in (True, False):
        Session(model.SerializeToString(), optimise=optimise)
    opening = time.process_time() - start
    start = time.process_time()
    _, report = fuse(model, measure=False)
    assert report.verified or not report.folds
    assert time.process_time() - start - 2 * opening < 20


def test_the_graph_is_inferred_once_and_weights_are_not_copied_for_it(monkeypatch):
    from fastdl.fusion.graph import index

    counted = []
    real = index.infer
    monkeypatch.setattr(index, "infer", lambda model: counted.append(model) or real(model))
    fuse(chain("Gemm", "BatchNormalization", length=6), measure=False)
    assert len(counted) <= 3  # the plain graph, the fused one for the proof, the fused one for the report
    weight = np.zeros((1000, 1000), np.float32)
    model = chain("Gemm", length=2)
    model.graph.initializer.append(numpy_helper.from_array(weight, "large"))
    tracemalloc.start()
    try:
        indexed = GraphIndex(model)
        assert indexed.shape("large") == (1000, 1000)
        assert tracemalloc.get_traced_memory()[1] < weight.nbytes / 4
    finally:
        tracemalloc.stop()


def test_folding_leaves_the_source_as_it_was():
    model = chain("Gemm", "BatchNormalization", length=6)
    before = model.SerializeToString(deterministic=True)
    fused, folds, _ = fold_all(model)
    assert len(folds) == 5
    assert len(fused.graph.node) == 1
    assert model.SerializeToString(deterministic=True) == before


def test_large_weights_are_given_to_onnxruntime_beside_the_model_with_the_same_result(monkeypatch):
    g, value = Sketch(), "x"
    for k in range(3):
        g.dense(value, f"d{k}", 24, 24)
        g.batch_norm(f"d{k}", f"n{k}", 24)
        value = g.node("Relu", [f"n{k}"], f"r{k}")
    model = g.model({"x": ["N", 24]}, {value: ["N", 24]})
    whole, told = fuse(model, measure=False)
    monkeypatch.setattr("fastdl.fusion.graph.weights.APART", 1)
    monkeypatch.setattr("fastdl.fusion.graph.weights.LARGE", 24 * 24)
    assert len(Lean.apart(model).weights) == 3
    apart, report = fuse(model, measure=False)
    assert report.verified
    assert report.to_dict() == told.to_dict()
    assert apart.SerializeToString() == whole.SerializeToString()
