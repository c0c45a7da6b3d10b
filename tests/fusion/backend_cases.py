"""ONNX's own backend tests, about 2,050 graphs with inputs and outputs, from the installed onnx package."""

import glob
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import OptionalProto, SequenceProto, TensorProto, helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
# onnxruntime draws other numbers on each run
RANDOM = (
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
    "Dropout",
)


@dataclass
class Case:
    """A graph, inputs by name with the outputs that ONNX states for them, and how near those must be met."""

    name: str
    model: onnx.ModelProto
    sets: list
    rtol: float
    atol: float

    @property
    def random(self):
        return any(node.op_type in RANDOM for node in self.model.graph.node)


def cases():
    """All of them but those that are downloaded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx computes the outputs of "node" as it loads
        found = [case for kind in KINDS for case in load_model_tests(kind=kind)]
    for case in found:
        if case.model is not None:
            yield _case(case, case.model, case.data_sets)
        elif case.model_dir is not None:
            model = onnx.load(Path(case.model_dir, "model.onnx"))
            yield _case(
                case, model, [_read(folder, model) for folder in sorted(glob.glob(f"{case.model_dir}/test_data_set_*"))]
            )


def _case(case, model, sets):
    names = [info.name for info in model.graph.input]
    return Case(case.name, model, [(dict(zip(names, i, strict=False)), o) for i, o in sets or []], case.rtol, case.atol)


def _read(folder, model):
    read = {
        "tensor_type": lambda data: numpy_helper.to_array(TensorProto.FromString(data)),
        "sequence_type": lambda data: numpy_helper.to_list(SequenceProto.FromString(data)),
        "optional_type": lambda data: numpy_helper.to_optional(OptionalProto.FromString(data)),
    }
    return [
        [
            read[info.type.WhichOneof("value")](Path(folder, f"{what}_{i}.pb").read_bytes())
            for i, info in enumerate(infos)
            if Path(folder, f"{what}_{i}.pb").exists()
        ]
        for what, infos in (("input", model.graph.input), ("output", model.graph.output))
    ]


def beside_a_fold(case):
    """The same graph with a dense layer and a factor beside it, so that there is something to fold and to prove."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph, rng = model.graph, np.random.default_rng(0)
    for name, shape in (("own_w", (3, 4)), ("own_b", 4), ("own_c", 4)):
        graph.initializer.append(numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name))
    graph.input.append(helper.make_tensor_value_info("own_x", TensorProto.FLOAT, ["own_n", 3]))
    graph.output.append(helper.make_tensor_value_info("own_y", TensorProto.FLOAT, ["own_n", 4]))
    graph.node.append(helper.make_node("Gemm", ["own_x", "own_w", "own_b"], ["own_d"]))
    graph.node.append(helper.make_node("Mul", ["own_d", "own_c"], ["own_y"]))
    model.ir_version = max(model.ir_version, 4)
    x = rng.normal(size=(5, 3)).astype(np.float32)
    return Case(case.name, model, [(feed | {"own_x": x}, wanted) for feed, wanted in case.sets], case.rtol, case.atol)


def difference(wanted, got, rtol, atol):
    """In words, where two lists of outputs (arrays, sequences, maps) differ; "" where they do not."""
    one, two = _arrays(wanted), _arrays(got)
    if [a.shape for a in one] != [a.shape for a in two]:
        return f"shapes {[a.shape for a in one]} and {[a.shape for a in two]}"
    for a, b in zip(one, two, strict=True):
        if a.dtype.kind in "OUST" or b.dtype.kind in "OUST":
            if a.astype(str).tolist() != b.astype(str).tolist():
                return "texts differ"
        elif a.dtype.kind in "iub":
            if not np.array_equal(a, b):
                return f"{a.reshape(-1)[:4]} and {b.reshape(-1)[:4]}"
        elif not np.allclose(b.astype(np.float64), a.astype(np.float64), rtol=rtol, atol=atol, equal_nan=True):
            return f"{a.reshape(-1)[:4]} and {b.reshape(-1)[:4]}"
    return ""


def _arrays(value):
    if isinstance(value, list | tuple):
        return [array for item in value for array in _arrays(item)]
    if isinstance(value, dict):
        return _arrays([list(value), list(value.values())])
    return [] if value is None else [np.asarray(value)]
