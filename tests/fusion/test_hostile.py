"""Broken and hostile graphs: a typed error of one line, or passed through; no crash, no hang, no memory."""

import time
import tracemalloc

import numpy as np
import pytest
from onnx import TensorProto, helper

import fastdl.fusion
from fastdl.errors import FusionError, ModelFileError
from fastdl.fusion import fuse
from fastdl.fusion.pipeline import fold_all
from fastdl.fusion.runtime import runs
from fastdl.runner import Runner

from .graphs import operators
from .hostile import COSTLY, REFUSED, STRANGE, good

LIMIT = 10  # seconds, of which these take well below one each
READERS = {"fuse": fuse, "inspect": fastdl.fusion.inspect, "Runner": Runner}


@pytest.fixture(autouse=True)
def _in_time():
    began = time.perf_counter()
    yield
    assert time.perf_counter() - began < LIMIT


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch):
    monkeypatch.setattr(runs, "PATIENCE", 0.3)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_model_is_refused_by_every_reader(name, reader):
    build, reason = REFUSED[name]
    with pytest.raises(ModelFileError, match=reason) as caught:
        READERS[reader](build())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_strange_gives_a_typed_error_or_comes_through(name, monkeypatch):
    monkeypatch.setattr("fastdl.fusion.runtime.bounds.SECONDS", 1.0)
    model = STRANGE[name]()
    content = model.SerializeToString()
    for reader in (*READERS.values(), _page):
        assert "\n" not in _words(reader, model)
        assert model.SerializeToString() == content


@pytest.mark.parametrize("name", COSTLY)
def test_what_would_cost_much_is_not_folded(name):
    """At most 16 MB and a second of the processor for files of a few kilobytes."""
    build, reason = COSTLY[name]
    model = build()
    assert model.ByteSize() < 50_000
    began = time.process_time()
    tracemalloc.start()
    try:
        fused, _, refusals = fold_all(model)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert operators(fused) == operators(model)
    assert any(reason in refusal.reason for refusal in refusals), [str(refusal) for refusal in refusals]
    assert peak < 2**24
    assert time.process_time() - began < 1


def _words(reader, model):
    """What a typed error says; any other error fails the test."""
    try:
        reader(model)
    except (FusionError, ModelFileError) as error:
        return str(error)
    return ""


def _page(model):
    report = fastdl.fusion.inspect(model)
    fused, _ = fuse(model, verify=False, measure=False)
    return fastdl.fusion.page(model, fused, report.fusion)


@pytest.mark.parametrize(
    "name",
    ["unknown operator", "unknown domain", "If without branches", "Gemm of five inputs", "Cast to an unknown type"],
)
def test_a_node_that_is_not_understood_stays_as_it_is_while_others_fold(name):
    model = STRANGE[name]()
    if any("z" in node.output for node in model.graph.node):
        model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    plain = {node.SerializeToString() for node in model.graph.node}
    fused, report = fuse(model, verify=False, measure=False)
    untouched = [node for node in fused.graph.node if node.SerializeToString() in plain]
    if name == "Gemm of five inputs":  # the only dense layer is itself malformed
        assert operators(fused) == ["Gemm", "BatchNormalization"]
        assert report.folds == []
    else:
        assert len(untouched) == 1
        assert "BatchNormalization" not in operators(fused)


def test_a_graph_that_loops_for_ever_is_given_up(monkeypatch):
    monkeypatch.setattr("fastdl.fusion.runtime.bounds.SECONDS", 1.0)
    with pytest.raises(FusionError, match="not run"):
        fuse(STRANGE["a Loop of 2^62 rounds"]())


def test_the_good_model_is_good():
    """Else every refusal above would prove nothing."""
    fused, report = fuse(good(), measure=False)
    assert operators(fused) == ["Gemm"]
    assert report.verified
    assert Runner(good()).predict(np.zeros((1, 4))).shape == (1, 4)
