"""Serving: exact, checked, and safe for many threads."""

import copy
import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from onnx import TensorProto, helper

from fastdl.errors import DataError, ModelFileError, ShapeError
from fastdl.fusion.graph.memory import memory_errors
from fastdl.runner import Runner

from . import bombs
from .graphs import Sketch, run


def net(dtype=np.float32, classes=3, batch="N", names=None, tail="Softmax"):
    g = Sketch(dtype)
    g.dense("x", "d", 4, 16)
    g.node("Relu", ["d"], "r")
    g.dense("r", "h", 16, classes)
    g.node(tail, ["h"], "y")
    model = g.model({"x": [batch, 4]}, {"y": [batch, classes]})
    if names is not None:
        helper.set_model_props(model, {"fastdl.class_names": json.dumps(names)})
    return model


def draw(rows, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=(rows, 4)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_predicts_what_the_model_computes(dtype):
    model, bar = net(dtype), 1e-6 if dtype == np.float32 else 1e-14
    runner = Runner(model)
    assert runner.input_shape == (None, 4)
    assert runner.input_dtype == dtype
    for rows in (1, 2, 1, 7, 2000, 1, 2000, 7):
        x = draw(rows, rows, dtype)
        got = runner.predict(x)
        assert got.dtype == dtype
        np.testing.assert_allclose(got, run(model, {"x": x})[0], atol=bar)


def test_a_path_and_bytes_serve_alike(tmp_path):
    content = net().SerializeToString()
    (tmp_path / "m.onnx").write_bytes(content)
    results = [Runner(s).predict(draw(3)) for s in (content, tmp_path / "m.onnx", str(tmp_path / "m.onnx"))]
    assert all(np.array_equal(r, results[0]) for r in results)


def test_the_result_is_the_callers_own():
    runner = Runner(net())
    kept = [(x, runner.predict(x)) for x in (draw(5, seed) for seed in range(6))]
    for position, (x, result) in enumerate(kept):
        np.testing.assert_array_equal(result, runner.predict(x))
        assert result.flags.writeable
        assert not any(np.shares_memory(result, other) for _, other in kept[:position])
    kept[0][1][:] = 0
    assert runner.predict(kept[0][0]).any()


def test_eight_threads_get_bit_equal_results():
    runner = Runner(net())
    inputs = [draw(rows, seed) for seed, rows in enumerate([1, 2, 1, 64, 300, 7, 1, 3])]
    wanted = [runner.predict(x).tobytes() for x in inputs]

    def work(thread):
        order = np.random.default_rng(thread).integers(len(inputs), size=200)
        return all(runner.predict(inputs[i]).tobytes() == wanted[i] for i in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_more_batch_shapes_than_are_kept():
    runner, model = Runner(net()), net()
    for rows in [*range(1, 20), *range(1, 20)]:
        x = draw(rows, rows)
        np.testing.assert_allclose(runner.predict(x), run(model, {"x": x})[0], atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64, np.uint8, np.bool_])
def test_numbers_of_any_dtype_are_converted(dtype):
    x = (draw(6) * 3).astype(dtype)
    runner = Runner(net())
    np.testing.assert_array_equal(runner.predict(x), runner.predict(x.astype(np.float32)))


@pytest.mark.parametrize("x", [draw(8)[::2], np.asfortranarray(draw(4)), draw(4)[:, ::-1]])
def test_memory_order_does_not_matter(x):
    runner = Runner(net())
    for _ in range(2):
        np.testing.assert_array_equal(runner.predict(x), runner.predict(np.ascontiguousarray(x)))
    assert runner.predict(x.tolist()).shape == (4, 3)


def test_an_empty_batch_gives_an_empty_result():
    runner = Runner(net())
    for _ in range(2):
        assert runner.predict(np.empty((0, 4))).shape == (0, 3)
    assert runner.predict_labels(np.empty((0, 4))).shape == (0,)


@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (np.zeros(4), ShapeError, r"\(any, 4\), got \(4,\).*batch axis"),
        (np.zeros((2, 5)), ShapeError, r"got \(2, 5\)"),
        (np.zeros((1, 2, 4)), ShapeError, r"got \(1, 2, 4\)"),
        (1.0, ShapeError, r"got \(\)"),
        ([["a", "b", "c", "d"]], DataError, "not numbers"),
        ([[1, 2, 3, None]], DataError, "not numbers"),
        ([[1, 2], [3]], DataError, "not an array"),
        (np.zeros((2, 4), complex), DataError, "not numbers"),
        (np.full((2, 4), 1e300), DataError, "float32 cannot hold"),
        (np.zeros((2, 4), "datetime64[s]"), DataError, "not numbers"),
        ({"q": np.zeros((2, 4))}, DataError, "inputs are"),
    ],
)
def test_input_that_does_not_fit(x, error, match):
    runner = Runner(net())
    runner.predict(draw(2))
    with pytest.raises(error, match=match) as caught:
        runner.predict(x)
    assert "\n" not in str(caught.value)


def test_integers_are_not_rounded_in_silence():
    g = Sketch()
    g.node("Cast", ["x"], "y", to=TensorProto.FLOAT)
    model = g.model({"x": ["N", 2]}, {"y": ["N", 2]})
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT32
    runner = Runner(model)
    assert runner.predict([[1.0, 2.0]]).tolist() == [[1, 2]]
    for wrong in ([[1.5, 2.0]], [[2**40, 1]], [[np.nan, 1.0]]):
        with pytest.raises(DataError, match="int32 cannot hold"):
            runner.predict(wrong)


def test_a_fixed_batch():
    runner = Runner(net(batch=2))
    assert runner.input_shape == (2, 4)
    assert runner.predict(draw(2)).shape == (2, 3)
    with pytest.raises(ShapeError, match=r"\(2, 4\), got \(3, 4\)"):
        runner.predict(draw(3))


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("names", [None, ["no", "yes", "maybe"]])
def test_labels(classes, names):
    runner = Runner(net(classes=classes, names=names, tail="Sigmoid"))
    x = draw(50)
    scores = runner.predict(x)
    want = scores.argmax(axis=1) if classes > 1 else (scores[:, 0] > 0.5).astype(int)
    assert len(set(want.tolist())) > 1, "the test must see more than one class"
    labels = runner.predict_labels(x)
    assert labels.tolist() == [names[i] if names else i for i in want]
    assert runner.class_names == names


def test_a_model_that_gives_labels_itself():
    g = Sketch()
    g.dense("x", "d", 4, 3)
    g.node("ArgMax", ["d"], "y", axis=1, keepdims=0)
    model = g.model({"x": ["N", 4]}, {"y": ["N"]})
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    helper.set_model_props(model, {"fastdl.class_names": '["a", "b", "c"]'})
    x = draw(20)
    want = run(model, {"x": x})[0]
    runner = Runner(model)
    assert runner.predict(x).tolist() == want.tolist()
    assert runner.predict_labels(x).tolist() == ["abc"[i] for i in want]


def test_several_inputs_and_outputs():
    g = Sketch()
    g.node("Add", ["a", "b"], "sum")
    g.node("Mul", ["a", "b"], "product")
    runner = Runner(g.model({"a": ["N", 2], "b": ["N", 2]}, {"sum": ["N", 2], "product": ["N", 2]}))
    a, b = np.array([[1.0, 2.0]]), np.array([[3.0, 5.0]])
    for _ in range(2):
        result = runner.predict({"b": b, "a": a})
        assert {k: v.tolist() for k, v in result.items()} == {"sum": [[4, 7]], "product": [[3, 10]]}
    with pytest.raises(DataError, match="mapping"):
        runner.predict(a)


def test_an_output_whose_shape_follows_from_the_values():
    g = Sketch()
    g.node("NonZero", ["x"], "y")
    model = g.model({"x": ["N", 4]}, {"y": [2, "M"]})
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    runner = Runner(model)
    for x in (np.eye(4), np.ones((4, 4)), np.eye(4)):
        assert runner.predict(x.astype(np.float32)).tolist() == [list(i) for i in np.nonzero(x)]


def test_a_model_that_onnxruntime_does_not_run():
    g = Sketch()
    g.node("Frobnicate", ["x"], "y")
    with pytest.raises(ModelFileError, match="onnxruntime does not run") as caught:
        Runner(g.model({"x": ["N", 4]}, {"y": ["N", 4]}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("threads", [0, -1])
def test_a_number_of_threads_that_is_none(threads):
    with pytest.raises(ValueError, match="threads"):
        Runner(net(), threads=threads)


def sklearn_like(keys, label="strings", binary=False):
    """What skl2onnx writes for a classifier: a label by name, and one map a row from class to probability."""
    strings = isinstance(keys[0], str)
    g = Sketch()
    g.dense("x", "d", 4, len(keys))
    g.node("Softmax", ["d"], "p")
    g.node("ArgMax", ["p"], "i", axis=1, keepdims=0)
    g.node("Gather", [g.const("classes", keys, object if strings else np.int64), "i"], "label")
    given = {"classlabels_strings" if strings else "classlabels_int64s": keys}
    g.node("ZipMap", ["p"], "probability", domain="ai.onnx.ml", **given)
    model = g.model({"x": ["N", 4]}, {"label": ["N"]})
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.STRING if strings else TensorProto.INT64
    key = TensorProto.STRING if strings else TensorProto.INT64
    value = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(key, value))
    model.graph.output.append(helper.make_value_info("probability", maps))
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    return model


@pytest.mark.parametrize("keys", [["ant", "bee", "cat"], [7, -1, 30]])
def test_a_classifier_from_scikit_learn(keys):
    """Its label, its probabilities as an array rather than as maps, and its class names."""
    model, x = sklearn_like(keys), draw(9)
    label, maps = run(model, {"x": x})
    runner = Runner(model)
    for _ in range(2):
        result = runner.predict(x)
        assert result["label"].tolist() == list(label)
        assert result["probability"].tolist() == [[row[key] for key in keys] for row in maps]
    assert runner.predict_labels(x).tolist() == list(label)
    assert len(set(label)) > 1
    assert runner.class_names == [str(key) for key in keys]
    probabilities = runner.predict_probabilities(x)
    np.testing.assert_array_equal(probabilities, result["probability"])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert runner.predict(x[:0])["probability"].shape == (0, 3)


@pytest.mark.parametrize("keys", [["ant", "bee", "cat"], [7, -1, 30]])
def test_without_its_label_the_maps_name_the_classes(keys):
    model, x = sklearn_like(keys), draw(9)
    want = Runner(model).predict_labels(x).tolist()
    del model.graph.output[0]
    assert Runner(model).predict_labels(x).tolist() == want


@pytest.mark.parametrize(("tail", "classes"), [("Softmax", 3), ("Sigmoid", 1), ("Sigmoid", 3)])
def test_probabilities(tail, classes):
    model, x = net(tail=tail, classes=classes), draw(7)
    np.testing.assert_allclose(Runner(model).predict_probabilities(x), run(model, {"x": x})[0], atol=1e-6)


@pytest.mark.parametrize("tail", ["Identity", "Relu", "ArgMax"])
def test_scores_and_labels_are_no_probabilities(tail):
    model = net(tail=tail)
    if tail == "ArgMax":
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 4
        model.graph.node[-1].attribute.append(helper.make_attribute("axis", 1))
        model.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ModelFileError, match=r"not probabilities|0 outputs"):
        Runner(model).predict_probabilities(draw(7))


@pytest.mark.parametrize("keys", [["ant", "bee", "cat"], [7, -1, 30]])
def test_maps_of_scores_are_no_probabilities_either(keys):
    model = sklearn_like(keys)
    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
    softmax.op_type = "Neg"
    with pytest.raises(ModelFileError, match="'probability' holds scores, not probabilities"):
        Runner(model).predict_probabilities(draw(7))


def test_strings_in_and_strings_out():
    g = Sketch()
    codes = {"keys_strings": ["red", "green"], "values_int64s": [0, 1], "default_int64": -1}
    g.node("LabelEncoder", ["x"], "i", domain="ai.onnx.ml", **codes)
    g.node("LabelEncoder", ["i"], "y", domain="ai.onnx.ml", keys_int64s=[0, 1, -1],
           values_strings=["stop", "go", "what?"])  # fmt: skip
    model = g.model({"x": ["N"]}, {"y": ["N"]})
    for info in (model.graph.input[0], model.graph.output[0]):
        info.type.tensor_type.elem_type = TensorProto.STRING
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    runner = Runner(model)
    for given in (["green", "red", "blue"], np.array(["green", "red", "blue"])):
        for _ in range(2):
            assert runner.predict(given).tolist() == ["go", "stop", "what?"]
            assert runner.predict_labels(given).tolist() == ["go", "stop", "what?"]
    for wrong in ([1, 2], [1.5], np.array(["a", 1], object), [b"bytes"]):
        with pytest.raises(DataError, match="takes strings"):
            runner.predict(wrong)


def encoder(values, shape=("N",)):
    """Strings in; integers or floats out, few enough to be bound if they were numbers."""
    g = Sketch()
    integers = isinstance(values[0], int)
    default = {"default_int64": -1} if integers else {"default_float": -1.0}
    given = {"values_int64s" if integers else "values_floats": values}
    g.node("LabelEncoder", ["x"], "y", domain="ai.onnx.ml", keys_strings=["a", "b"], **given, **default)
    model = g.model({"x": list(shape)}, {"y": list(shape)})
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64 if integers else TensorProto.FLOAT
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    return model


@pytest.mark.parametrize("values", [[1, 2], [1.0, 2.0]])
def test_strings_in_and_numbers_out(values):
    runner = Runner(encoder(values))
    for given in (["a", "b", "a"], np.array(["b"]), np.array(["a", "x"], object), []):
        for _ in range(3):
            want = [values["ab".index(s)] if s in "ab" else -1 for s in given]
            assert runner.predict(given).tolist() == want


def one_node(op, kind, out, shape=("N", 4), **attributes):
    g = Sketch()
    g.node(op, ["x"], "y", **attributes)
    model = g.model({"x": list(shape)}, {"y": None})
    model.graph.input[0].type.tensor_type.elem_type = kind
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", out, None))
    return model


@pytest.mark.parametrize(
    ("model", "x", "want"),
    [
        (one_node("Not", TensorProto.BOOL, TensorProto.BOOL), np.eye(4, dtype=bool), ~np.eye(4, dtype=bool)),
        (one_node("Relu", TensorProto.FLOAT16, TensorProto.FLOAT16), -np.eye(4), np.zeros((4, 4), np.float16)),
        (one_node("Relu", TensorProto.FLOAT, TensorProto.FLOAT, ()), 3.0, np.float32(3)),
        (one_node("Relu", TensorProto.FLOAT, TensorProto.FLOAT), np.zeros((0, 4)), np.zeros((0, 4), np.float32)),
        (one_node("Relu", TensorProto.FLOAT, TensorProto.FLOAT, ("N", 0)), np.zeros((3, 0)), np.zeros((3, 0), "f4")),
        (one_node("ReduceMax", TensorProto.FLOAT, TensorProto.FLOAT, keepdims=0), np.eye(4), np.float32(1)),
        (one_node("Shape", TensorProto.FLOAT, TensorProto.INT64), np.eye(4), np.array([4, 4])),
    ],
)
def test_types_and_ranks_of_all_kinds(model, x, want):
    runner = Runner(model)
    for _ in range(3):
        got = runner.predict(x)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("ask", ["predict_labels", "predict_probabilities"])
@pytest.mark.parametrize("classes", [1, 3])
def test_a_row_of_nan_has_no_label(ask, classes):
    runner, x = Runner(net(classes=classes, tail="Sigmoid")), draw(6)
    x[4, 2] = np.nan
    for _ in range(2):
        with pytest.raises(DataError, match=r"NaN in row 4 \(1 of 6 rows\)"):
            getattr(runner, ask)(x)
    assert np.isnan(runner.predict(x)[4]).all()


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_nor_where_only_labels_come_out(odd):
    g = Sketch()
    g.dense("x", "d", 4, 3)
    g.node("ArgMax", ["d"], "y", axis=1, keepdims=0)
    model = g.model({"x": ["N", 4]}, {"y": ["N"]})
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    x = draw(5)
    x[3, 0] = odd
    with pytest.raises(DataError, match="NaN or Inf in row 3"):
        Runner(model).predict_labels(x)
    assert len(Runner(model).predict_labels(draw(5))) == 5


def test_masked_entries_are_not_taken_for_numbers():
    x = np.ma.masked_array(draw(3), mask=np.eye(3, 4, dtype=bool))
    with pytest.raises(DataError, match="masked"):
        Runner(net()).predict(x)
    assert Runner(net()).predict(np.ma.masked_array(draw(3))).shape == (3, 3)


@pytest.mark.parametrize("value", [1e39, -1e39, np.float64(np.finfo(np.float32).max) * 1.01])
def test_one_value_that_overflows_among_infinities(value):
    x = draw(2).astype(np.float64)
    x[0, 0], x[1, 1] = np.inf, value
    with pytest.raises(DataError, match="float32 cannot hold"):
        Runner(net()).predict(x)


NAMES = ["age", "height", "weight", "size"]


def named():
    model = net()
    helper.set_model_props(model, {"fastdl.feature_names": json.dumps(NAMES)})
    return model


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frames_columns_are_taken_by_name(library):
    frame = pytest.importorskip(library).DataFrame
    x, runner = draw(5), Runner(named())
    columns = dict(zip(NAMES, x.T, strict=True))
    want = runner.predict(x)
    for order in (NAMES, NAMES[::-1], ["size", "age", "weight", "height"]):
        np.testing.assert_array_equal(runner.predict(frame({name: columns[name] for name in order})), want)
    with pytest.raises(DataError, match=r"no column 'age', 'size'.*trained on 'age', 'height'"):
        runner.predict(frame({name: columns[name] for name in NAMES[1:3]}))
    with pytest.raises(DataError, match="columns of its own 'shoe'"):
        runner.predict(frame(columns | {"shoe": x[:, 0]}))
    with pytest.raises(DataError, match="not numbers"):
        runner.predict(frame(columns | {"age": list("abcde")}))
    np.testing.assert_array_equal(Runner(net()).predict(frame(columns)), want)


def test_a_frame_of_doubled_or_of_no_names():
    pandas = pytest.importorskip("pandas")
    x, runner = draw(5), Runner(named())
    with pytest.raises(DataError, match="several columns 'age'"):
        runner.predict(pandas.DataFrame(draw(5)[:, [0, 0, 1, 2]], columns=["age", "age", "height", "weight"]))
    np.testing.assert_array_equal(runner.predict(pandas.DataFrame(x)), runner.predict(x))


@pytest.mark.parametrize("told", ["[" * 5000, "7", "[1, 2]", "{}", "[]", "nonsense"])
def test_names_of_features_that_are_none(told):
    model = net()
    helper.set_model_props(model, {"fastdl.feature_names": told})
    assert Runner(model).predict(draw(2)).shape == (2, 3)


def looping(rounds):
    """x + x, so many times."""
    return bombs.looping(bombs.node("Add", "v v", "w"), end="w", rounds=rounds, foldable=False)


def test_a_loop_runs_in_a_child_with_limits_and_gives_the_same():
    x = draw(3)
    limited, free = Runner(looping(3)), Runner(looping(3), limited=False)
    assert limited._engine.session is None
    assert free._engine.session is not None
    for _ in range(2):
        np.testing.assert_array_equal(limited.predict(x), 8 * x)
        np.testing.assert_array_equal(free.predict(x), 8 * x)


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="there is no /proc here")
def test_the_child_has_as_many_threads_as_were_given_and_room_for_their_stacks():
    x, counts = draw(3), []
    for threads in (1, 65):
        runner = Runner(looping(3), threads=threads)
        np.testing.assert_array_equal(runner.predict(x), 8 * x)
        counts.append(len(os.listdir(f"/proc/{runner._engine._child._worker._process.pid}/task")))
        runner._engine._child._worker._end()
    assert counts[1] - counts[0] == 64


@pytest.mark.parametrize("limited", [True, False])
@pytest.mark.parametrize("other", [copy.copy, copy.deepcopy, lambda runner: pickle.loads(pickle.dumps(runner))])
@pytest.mark.parametrize("make", [lambda: net(names=["a", "b", "c"]), lambda: looping(3)])
def test_pickles_and_copies_answer_alike_with_the_same_options(make, other, limited):
    runner, x = Runner(make(), 2, limited=limited), draw(3)
    want = runner.predict(x)
    again = other(runner)
    np.testing.assert_array_equal(again.predict(x), want)
    assert again._engine is not runner._engine
    assert again.class_names == runner.class_names
    assert (again._engine.session is None) == (runner._engine.session is None)
    assert again.__getstate__() == runner.__getstate__() == {**again.__getstate__(), "threads": 2, "limited": limited}


def test_a_pickle_is_opened_by_another_process_without_the_file(tmp_path):
    (tmp_path / "m.onnx").write_bytes(net().SerializeToString())
    runner, x = Runner(tmp_path / "m.onnx"), draw(5)
    (tmp_path / "m.onnx").unlink()
    (tmp_path / "runner").write_bytes(pickle.dumps((runner, x)))
    code = "import pickle, sys; runner, x = pickle.load(open(sys.argv[1], 'rb')); "
    code += "sys.stdout.buffer.write(runner.predict(x))"
    done = subprocess.run([sys.executable, "-P", "-c", code, tmp_path / "runner"], capture_output=True, check=True)
    assert done.stdout == runner.predict(x).tobytes()


def test_a_batch_that_costs_too_much_runs_in_the_child_too():
    """The batch against itself: rows × rows."""
    g = Sketch()
    g.node("Transpose", ["x"], "t")
    g.node("MatMul", ["x", "t"], "y")
    runner = Runner(g.model({"x": ["N", 1]}, {"y": ["N", "N"]}))
    assert runner.predict(np.ones((3, 1), np.float32)).tolist() == [[1] * 3] * 3
    with pytest.raises(DataError, match=r"takes more than .* MB of memory.*limited=False"):
        runner.predict(np.ones((20_000, 1), np.float32))
    assert runner.predict(np.ones((3, 1), np.float32)).tolist() == [[1] * 3] * 3


def test_memory_that_runs_out_is_a_memory_error(monkeypatch):
    runner = Runner(net())

    def no_memory(feed):
        with memory_errors():
            raise RuntimeError("[ONNXRuntimeError] : 6 : bad allocation")

    monkeypatch.setattr(runner._engine, "run", no_memory)
    with pytest.raises(MemoryError):
        runner.predict(draw(3))


def test_no_session_writes_below_the_home_folder(tmp_path):
    """onnxruntime would, as soon as it is imported."""
    net_file = tmp_path / "m.onnx"
    net_file.write_bytes(net().SerializeToString())
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import sys, numpy as np; from fastdl import fusion; from fastdl.runner import Runner; m = sys.argv[1];"
        "Runner(m).predict(np.ones((2, 4))); fusion.fuse(m);"
        "fusion.quantize(m, samples=np.random.default_rng(0).normal(size=(64, 4)), tolerance=1)"
    )
    hidden = ("ORT_DISABLE_TELEMETRY", "CI", "XDG_CACHE_HOME")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment |= {"HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, str(net_file)], env=environment, check=True)
    assert not [*home.rglob("*")]
