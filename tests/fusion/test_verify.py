"""`verify` stands alone: two files, whoever made them, compute the same, or it says how they differ."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from fastdl.errors import DataError, FusionError, ModelFileError
from fastdl.fusion import fuse, verify

from .graphs import Sketch
from .hostile import forever
from .test_runner import sklearn_like


def net(factor=1.0, names=("x", "y"), opset=17):
    g = Sketch(opset=opset)
    g.dense(names[0], "d", 5, 8)
    g.batch_norm("d", "n", 8)
    g.constants["n_gamma"] *= np.float32(factor)
    g.node("Tanh", ["n"], names[1])
    return g.model({names[0]: ["N", 5]}, {names[1]: ["N", 8]})


def test_a_model_is_itself_and_its_fused_form(tmp_path):
    model = net()
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    for other in (model, model.SerializeToString(), tmp_path / "m.onnx", fuse(model, measure=False)[0]):
        proof = verify(model, other)
        assert proof.samples == 74
        assert proof.max_rel_error <= 1e-6
        assert proof.label_flips == 0
        assert "They compute the same" in str(proof)


def test_another_opset_and_other_inner_names_are_no_difference():
    verify(net(), net(opset=13))


@pytest.mark.parametrize(
    ("other", "word"),
    [
        (net(1.001), "off by"),
        (net(names=("z", "y")), "the inputs differ: 'x' (float) in one, 'z' (float) in the other"),
        (net(names=("x", "z")), "the outputs differ: 'y' (float) in one, 'z' (float) in the other"),
    ],
)
def test_what_differs_is_told(other, word):
    with pytest.raises(FusionError) as caught:
        verify(net(), other)
    assert word in str(caught.value)


def test_samples_find_what_random_inputs_do_not():
    """The second model differs only for inputs above 50."""
    g = Sketch()
    g.node("Relu", ["x"], "y")
    one = g.model({"x": ["N", 2]}, {"y": ["N", 2]})
    g = Sketch()
    g.node("Clip", ["x", g.const("low", 0.0), g.const("high", 50.0)], "y")
    other = g.model({"x": ["N", 2]}, {"y": ["N", 2]})
    verify(one, other)
    with pytest.raises(FusionError, match="on the given samples"):
        verify(one, other, samples=np.full((3, 2), 60.0))


def test_types_of_inputs_and_outputs_matter():
    other = net()
    other.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    with pytest.raises(FusionError, match=r"'x' \(float\) in one, 'x' \(double\) in the other"):
        verify(net(), other)


@pytest.mark.parametrize("keys", [["a", "b", "c"], [3, 1, 2]])
def test_classifiers_that_give_labels_and_maps(keys):
    model = sklearn_like(keys)
    proof = verify(model, model)
    assert proof.samples == 74
    swapped = sklearn_like([keys[1], keys[0], keys[2]])
    with pytest.raises(FusionError, match="off by"):
        verify(model, swapped)


def test_maps_whose_keys_alone_differ_are_not_the_same():
    model, other = sklearn_like(["a", "b", "c"]), sklearn_like(["a", "b", "d"])
    for each in (model, other):
        del each.graph.output[0]
    with pytest.raises(FusionError, match="off by"):
        verify(model, other)


def of_strings(known):
    """A lookup of strings; known: the encoder reads the input itself."""
    g = Sketch()
    value = "x" if known else g.node("Identity", ["x"], "i")
    g.node("LabelEncoder", [value], "y", domain="ai.onnx.ml", keys_strings=["p", "q"], values_floats=[0.25, 4.0])
    model = g.model({"x": ["N"]}, {"y": ["N"]})
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    return model


def test_one_that_takes_strings_needs_samples():
    model = of_strings(known=False)
    with pytest.raises(FusionError, match="takes strings: give samples"):
        verify(model, model)
    assert verify(model, model, samples=["p", "q", "r"]).samples == 3
    with pytest.raises(DataError, match="samples of input 'x'"):
        verify(model, model, samples=[1.0, 2.0])


def test_strings_are_drawn_of_those_that_an_encoder_knows():
    model = of_strings(known=True)
    assert verify(model, model).samples == 74
    assert verify(model, model, samples=["p", "q", "r"]).samples == 77
    other = of_strings(known=True)
    other.graph.node[0].attribute[1].floats[1] = 5.0
    with pytest.raises(FusionError):
        verify(model, other)


def test_what_cannot_be_told_is_an_error(monkeypatch):
    monkeypatch.setattr("fastdl.fusion.runtime.runs.PATIENCE", 0.3)
    monkeypatch.setattr("fastdl.fusion.runtime.bounds.SECONDS", 1.0)
    with pytest.raises(FusionError):
        verify(forever(), forever())
    with pytest.raises(ModelFileError):
        verify(net(), b"")


def test_nan_where_the_first_has_a_number_differs():
    other = net()
    for tensor in other.graph.initializer:
        if tensor.name == "d_b":
            tensor.CopyFrom(numpy_helper.from_array(np.full(8, np.nan, np.float32), "d_b"))
    with pytest.raises(FusionError, match="gives NaN where the unfused graph does not"):
        verify(net(), other)
