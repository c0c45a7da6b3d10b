"""int8 and float16: what is gated, on what, and that nothing worse comes out in silence."""

import json

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from fastdl.errors import DataError, FusionError
from fastdl.fusion import fuse, quantization, quantize
from fastdl.runner import Runner

from .graphs import Sketch, check, operators, run

ROWS = 400


def draw(seed=0, scale=None):
    x = np.random.default_rng(seed).normal(size=(ROWS, 12))
    return (x if scale is None else scale[0] + x * scale[1]).astype(np.float32)


def net(head="Softmax", classes=4, opset=17, start=None, dtype=np.float32):
    """12-48-48-classes with BN in the middle; `start(g)` may put something before, and names its output."""
    g = Sketch(dtype, opset=opset, seed=1)
    value = start(g) if start else "x"
    g.dense(value, "a", 12, 48)
    g.batch_norm("a", "b", 48)
    g.node("Relu", ["b"], "c")
    g.dense("c", "d", 48, 48)
    g.node("Relu", ["d"], "e")
    g.dense("e", "y" if head is None else "f", 48, classes)
    if head:
        g.node(head, ["f"], "y")
    return g.model({"x": ["N", 12]}, {"y": ["N", classes]})


UNEQUAL = np.linspace(-1000, 1000, 12), np.geomspace(0.01, 1000, 12)


def standardise(g):
    g.node("Sub", ["x", g.const("mean", UNEQUAL[0])], "centred", name="subtract the mean")
    return g.node("Div", ["centred", g.const("spread", UNEQUAL[1])], "scaled", name="divide by the spread")


def batch_norm(g):
    g.batch_norm("x", "n", 12, name="norm")
    g.const("n_mean", UNEQUAL[0])
    g.const("n_var", UNEQUAL[1] ** 2)
    return "n"


@pytest.mark.parametrize("opset", [9, 13, 17, 21])
@pytest.mark.parametrize("kind", ["int8", "float16"])
def test_the_narrow_model_is_smaller_and_as_good_on_the_samples(kind, opset):
    model, x = net(opset=opset), draw()
    before = model.SerializeToString()
    narrow, report = quantize(model, samples=x, type=kind, measure=False, tolerance=0.02)
    assert model.SerializeToString() == before
    check(narrow)
    folded, _ = fuse(model, measure=False)
    got, want = run(narrow, {"x": x})[0], run(folded, {"x": x})[0]
    assert got.dtype == np.float32
    flips = int((got.argmax(1) != want.argmax(1)).sum())
    assert report.label_flips == pytest.approx(flips, abs=1)  # with the optimiser on, some roundings differ
    assert report.max_abs_error == pytest.approx(np.abs(got - want).max(), rel=0.5)
    assert 0 < report.rms_error < (0.1 if kind == "int8" else 0.01)
    assert (report.gate, report.rows) == ("labels flipped", ROWS)
    assert report.bytes_after == narrow.ByteSize() < (0.65 if kind == "float16" else 0.6) * report.bytes_before


@pytest.mark.parametrize(("start", "names"), [(standardise, ["subtract the mean", "divide by the spread"]),
                                              (batch_norm, ["norm"])])  # fmt: skip
def test_what_standardises_the_input_is_kept_apart_from_int8(start, names):
    """Folded in, inputs of scales from 0.01 to 1000 would share one int8 scale, and most would be lost."""
    model, x = net(start=start), draw(scale=UNEQUAL)
    narrow, report = quantize(model, samples=x, measure=False, tolerance=0.05)
    assert report.kept == names
    first = operators(narrow)[: operators(narrow).index("Gemm")]
    assert first[-2:] == ["QuantizeLinear", "DequantizeLinear"]
    assert set(first) & {"BatchNormalization", "Sub", "Div", "Mul", "Add"}
    folded, _ = fuse(model, measure=False, tolerance=0.1)  # that far from zero even float32 loses digits
    assert not set(operators(folded)) & {"BatchNormalization", "Sub", "Div", "Mul", "Add"}
    with pytest.raises(FusionError, match="loses too much"):
        quantize(folded, samples=x, measure=False, tolerance=0.05)


@pytest.mark.parametrize(
    ("head", "classes", "labels", "gate"),
    [
        ("Softmax", 4, True, "accuracy"),
        ("Softmax", 4, False, "labels flipped"),
        ("Sigmoid", 1, False, "labels flipped"),
        (None, 4, True, "accuracy"),
        (None, 1, False, "error"),
        (None, 3, False, "error"),
    ],
)
def test_what_is_gated_follows_from_the_model_and_what_is_known(head, classes, labels, gate):
    model, x = net(head, classes), draw()
    right = run(model, {"x": x})[0].argmax(1) if labels else None
    _, report = quantize(model, samples=x, labels=right, measure=False, tolerance=0.2)
    assert report.gate == gate
    assert report.accuracy_before == (1.0 if labels else None)
    assert report.lost == pytest.approx(
        {"accuracy": 1 - (report.accuracy_after or 0), "labels flipped": report.label_flips / ROWS,
         "error": report.rms_error}[gate]
    )  # fmt: skip


def test_labels_by_name():
    g = Sketch(seed=1)
    g.dense("x", "a", 12, 3)
    g.node("ArgMax", ["a"], "i", axis=1, keepdims=0)
    g.node("Gather", [g.const("names", ["p", "q", "r"], object), "i"], "y")
    model = g.model({"x": ["N", 12]}, {"y": ["N"]})
    model.graph.output[0].type.tensor_type.elem_type = 8
    x = draw()
    right = run(model, {"x": x})[0]
    _, report = quantize(model, samples=x, labels=right, measure=False, tolerance=0.1)
    assert (report.gate, report.accuracy_before) == ("accuracy", 1.0)
    with pytest.raises(DataError, match="labels are int64"):
        quantize(model, samples=x, labels=np.zeros(ROWS, np.int64), measure=False)


def test_float16_that_overflows_is_refused():
    model = net(None)
    for tensor in model.graph.initializer:
        if tensor.name == "y_w":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1e6), "y_w"))
    with pytest.raises(FusionError, match=r"loses too much|does not run"):
        quantize(model, samples=draw(), type="float16", measure=False)


def test_other_ranges_are_tried_before_giving_up(monkeypatch, capsys):
    tried = []
    real = quantization.to_int8

    def spy(model, calibration, method, apart):
        tried.append(method)
        return real(model, calibration, method, apart)

    monkeypatch.setattr(quantization, "to_int8", spy)
    with pytest.raises(FusionError, match=r"MinMax\).*Percentile\).*Entropy\)"):
        quantize(net(None), samples=draw(), measure=False, tolerance=1e-6)
    assert tried == ["MinMax", "Percentile", "Entropy"]
    assert capsys.readouterr() == ("", ""), "the tools tell of their histograms, which is nobody's business"


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"type": "int3"}, ValueError, "type must be one of int8, float16"),
        ({"samples": draw()[:10]}, DataError, "10 samples are too few"),
        ({"labels": np.zeros(7, int)}, DataError, "7 labels for 400 samples"),
        ({"labels": np.array(["a"] * ROWS)}, DataError, "labels are <U1, the model's are int64"),
        ({"samples": draw()[:, :5]}, DataError, r"have shape \(400, 5\), the model takes \(N, 12\)"),
    ],
)
def test_wrong_arguments(change, error, match):
    with pytest.raises(error, match=match):
        quantize(net(), **({"samples": draw(), "measure": False} | change))


@pytest.mark.parametrize("batch", [50, 64])
def test_a_fixed_batch(batch):
    """Where the batch does not divide the rows, the last one repeats some: each counts once."""
    model, x = net(), draw()
    right = run(model, {"x": x})[0].argmax(1)
    right[-1] = (right[-1] + 1) % 4  # in the last batch, among those that are new
    for info in (model.graph.input[0], model.graph.output[0]):
        info.type.tensor_type.shape.dim[0].dim_value = batch
    _, report = quantize(model, samples=x, labels=right, measure=False, tolerance=0.1)
    assert report.rows == ROWS
    assert report.accuracy_before == 1 - 1 / ROWS


@pytest.mark.parametrize("to", [np.float32, np.int64])
def test_labels_for_a_model_of_one_value_a_row_are_refused(to):
    """Compared as classes, a regression's values are all 0: any loss would pass."""
    model, x = net(None, 1), draw()
    with pytest.raises(DataError, match="one value a row, no class"):
        quantize(model, samples=x, labels=run(model, {"x": x})[0].astype(to), measure=False)


@pytest.mark.parametrize("kind", ["int8", "float16"])
def test_a_model_in_which_the_tools_change_nothing_is_no_success(kind):
    with pytest.raises(FusionError, match="holds nothing that becomes"):
        quantize(net(dtype=np.float64), samples=draw(), type=kind, measure=False)


def test_metadata_is_kept_and_says_what_was_done():
    model = net()
    helper.set_model_props(model, {"fastdl.class_names": '["a", "b", "c", "d"]', "author": "me"})
    for kind in ("int8", "float16"):
        narrow, report = quantize(model, samples=draw(), type=kind, measure=False, tolerance=0.1)
        properties = {p.key: p.value for p in narrow.metadata_props}
        assert properties["author"] == "me"
        assert json.loads(properties["fastdl.quantization"])["type"] == kind
        assert set(Runner(narrow).predict_labels(draw())) <= set("abcd")
        assert narrow.graph.input == model.graph.input
        assert narrow.graph.output == model.graph.output
        assert json.loads(report.to_json()) == report.to_dict()


def test_the_report_prints_what_it_cost_and_gained():
    _, report = quantize(net(), samples=draw(), tolerance=0.05)
    text = str(report)
    for part in ("int8", "bytes", "batch 1, µs", "labels flipped", "of 0.05 allowed", "rows/s"):
        assert part in text
    report.latency = {"batch_1": {"before_us": 5.0, "after_us": 9.0, "speedup": 0.6}}
    assert "Slower than the folded file here at batch 1." in str(report)


def test_the_original_is_not_turned_into_external_data(tmp_path, monkeypatch):
    """The tool, given a model in memory, moves its weights into a file in the working folder."""
    monkeypatch.chdir(tmp_path)
    quantize(net(), samples=draw(), measure=False, tolerance=0.1)
    assert list(tmp_path.iterdir()) == []
    onnx.checker.check_model(net())
