"""The nets of a bag stand side by side in the file: an operator for all, and the answers as they were."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.weights import Lean
from fastdl.fusion.runtime.tables import TableInputs
from fastdl.tabular import Recipe, TabularClassifier, TabularRegressor
from fastdl.tabular.side_by_side import join

ROWS = 120
RNG = np.random.default_rng(0)


def table(numbers: int, texts: int, gaps: bool = False) -> dict[str, Any]:
    values = RNG.normal(size=(numbers, ROWS))
    if gaps:
        values[:, ::7] = np.nan
    words = [RNG.choice([f"v{i}" for i in range(3 + 9 * (column % 2))], ROWS) for column in range(texts)]
    return {f"n{i}": each for i, each in enumerate(values)} | {f"t{i}": each for i, each in enumerate(words)}


LABELS = np.where(RNG.normal(size=ROWS) > 0, "yes", "no")
TARGETS = RNG.normal(size=(ROWS, 2))
OPTIONS: dict[str, Any] = {"epochs": 1, "folds": 3, "random_state": 0}
BAGS = {
    "numbers and texts": (TabularClassifier(**OPTIONS), table(3, 4), LABELS, {"Selu": 3}),
    "numbers alone": (TabularClassifier(**OPTIONS), table(3, 0), LABELS, {"Selu": 3}),
    "texts alone": (TabularClassifier(**OPTIONS), table(0, 4), LABELS, {"Selu": 3, "Cos": 0}),
    "gaps": (TabularClassifier(**OPTIONS), table(3, 2, gaps=True), LABELS, {"Selu": 3}),
    "so many numbers that each has a product of its own": (
        TabularClassifier(**OPTIONS),
        table(30, 1),
        LABELS,
        {"Selu": 3, "Cos": 1, "Transpose": 2},
    ),
    "two targets": (TabularRegressor(**OPTIONS), table(3, 2), TARGETS, {"Softplus": 3}),
    "without hidden layers": (
        TabularClassifier(Recipe(hidden_layer_sizes=(), dropout=0.0), **OPTIONS),
        table(3, 2),
        LABELS,
        {"Cos": 1, "Softmax": 1},
    ),
}


@pytest.mark.parametrize("case", BAGS)
def test_an_operator_for_all_nets(case: str) -> None:
    """As many of each operator as one net has; `to_onnx` proves the answers on 10,000 rows."""
    model, frame, targets, expected = BAGS[case]
    file, proof = model.fit(frame, targets).to_onnx()
    counts = Counter(node.op_type for node in file.graph.node)
    assert {op: counts[op] for op in expected} == expected
    assert proof.max_error <= proof.bar


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_any_number_of_rows(rows: int) -> None:
    model, frame, targets, _ = BAGS["numbers and texts"]
    some = {name: column[:rows] for name, column in frame.items()}
    file, _ = model.fit(frame, targets).to_onnx(layout="matrices")
    session = onnxruntime.InferenceSession(file.SerializeToString())
    label, probabilities = session.run(None, TableInputs.of(file).feed(some))
    assert label.shape == (rows,)
    assert probabilities.shape == (rows, 2)
    if rows:
        np.testing.assert_allclose(probabilities, model.predict_proba(some), atol=2e-6)


def test_nets_of_two_forms_stand_beside_their_own_kind() -> None:
    """As a search finds them, with shares that differ."""
    frame = table(3, 2)
    model = TabularClassifier(**OPTIONS).fit(frame, LABELS)
    other = TabularClassifier(Recipe(hidden_layer_sizes=(32,), activation="relu"), **OPTIONS).fit(frame, LABELS)
    model.members_ += other.members_
    model.shares_ = [0.2, 0.2, 0.2, 0.1, 0.15, 0.15]
    model.finish()
    file, proof = model.to_onnx()
    counts = Counter(node.op_type for node in file.graph.node)
    assert (counts["Selu"], counts["Relu"]) == (3, 1)
    assert proof.max_error <= proof.bar


# ------------------------------------------------------------------------------------------- what is left as it is

X = RNG.normal(size=(5, 4)).astype(np.float32)


def two_nets(op: str, opset: int = 17, outputs: tuple[str, ...] = (), **attributes: Any) -> ModelProto:
    """x W → op → sum of two, with weights of their own."""
    nodes, constants = [], []
    for i in "ab":
        constants.append(numpy_helper.from_array(RNG.normal(size=(4, 3)).astype(np.float32), f"w{i}"))
        nodes.append(helper.make_node("MatMul", ["x", f"w{i}"], [f"h{i}"]))
        nodes.append(helper.make_node(op, [f"h{i}"], [f"y{i}"], **attributes))
    nodes.append(helper.make_node("Add", ["ya", "yb"], ["y"]))
    told = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", None]) for name in ("y", *outputs)]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])]
    graph = helper.make_graph(nodes, "two", given, told, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def own_bounds() -> ModelProto:
    """The same with Clip, at 0.1 and at 0.3."""
    model = two_nets("Clip")
    clips = [node for node in model.graph.node if node.op_type == "Clip"]
    for node, bound in zip(clips, (0.1, 0.3), strict=True):
        node.input.append(f"{node.output[0]}_least")
        model.graph.initializer.append(numpy_helper.from_array(np.float32(bound), node.input[1]))
    return model


def joined(model: ModelProto) -> ModelProto:
    index = GraphIndex(Lean.of(model))
    join(index)
    index.prune()
    return index.to_model().joined()


def answers(model: ModelProto) -> list[Any]:
    return list(onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": X}))


CASES = {
    "joined": (two_nets("Relu"), ["MatMul", "Relu", "ReduceSum"]),
    "softmax along the features": (two_nets("Softmax", axis=1), ["MatMul", "Softmax", "ReduceSum"]),
    "softmax along the rows": (two_nets("Softmax", axis=0), None),
    "an operator that is not known": (two_nets("ReduceMean", axes=[1], keepdims=1), None),
    "a Clip with bounds of each net's own": (own_bounds(), None),
    "an opset of before": (two_nets("Relu", opset=12), None),
    "a value inside that is an output": (
        two_nets("Relu", outputs=("ha",)),
        ["MatMul", "MatMul", "Relu", "ReduceSum"],
    ),
    "a summand that is an output": (
        two_nets("Relu", outputs=("ya",)),
        ["MatMul", "Relu", "MatMul", "Relu", "ReduceSum"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_joined_and_what_is_left(case: str) -> None:
    model, expected = CASES[case]
    found = joined(model)
    operators = [node.op_type for node in found.graph.node]
    assert sorted(operators) == sorted(expected or [node.op_type for node in model.graph.node])
    for one, other in zip(answers(found), answers(model), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
