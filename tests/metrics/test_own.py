"""Metrics of one's own are honoured in training and evaluation, batch by batch, with numpy arrays."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers, metrics
from fastdl.errors import ShapeError

from .own import made

OWN = made(fastdl)
X = np.random.default_rng(0).standard_normal((20, 3))
LABELS = np.random.default_rng(1).integers(0, 4, 20)


def net(metric: Any, loss: str = "sparse_categorical_crossentropy", dtype: str = "float32", **options: Any) -> Any:
    fastdl.utils.set_random_seed(1)
    model = fastdl.Sequential([fastdl.Input((3,)), layers.Dense(4, "softmax")], dtype=dtype)
    model.compile(fastdl.optimizers.SGD(0.0), loss, metrics=[metric], **options)
    return model


def test_a_metric_may_go_from_model_to_model() -> None:
    """It begins anew where the outputs are others, whichever of its variables come first."""
    metric = metrics.R2Score(name="r2")
    for outputs in (2, 3, 1, 2):
        model = fastdl.Sequential([fastdl.Input((3,)), layers.Dense(outputs)])
        model.compile("sgd", "mse", metrics=[metric])
        model.evaluate(X, X[:, :1].repeat(outputs, 1))
        names = [variable.name for variable in metric.variables]
        assert len(names) == len(set(names)) == 5
        assert metric.result() == pytest.approx(
            metrics.R2Score()(X[:, :1].repeat(outputs, 1), model.predict(X)), rel=1e-4
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_labels_are_those_of_the_batch(dtype: str, shuffle: bool) -> None:
    model = net(OWN["labels"](), dtype=dtype)
    right = (model.predict(X).argmax(1) == LABELS).sum()
    assert 0 < right < 20
    history = model.fit(X, LABELS, 6, epochs=2, shuffle=shuffle, validation_data=(X[5:], LABELS[5:]), verbose=0).history
    assert history["right"] == [right] * 2
    assert history["val_right"] == [(model.predict(X[5:]).argmax(1) == LABELS[5:]).sum()] * 2
    assert model.train_on_batch(X, LABELS)[1] == right
    assert model.evaluate(iter([(X[:7], LABELS[:7]), (X[7:], LABELS[7:])]))[1] == right


@pytest.mark.parametrize("shape", [(20,), (20, 1)])
def test_targets_have_the_shape_that_they_were_given_in(shape: tuple[int, ...]) -> None:
    seen = set()

    class Sees(metrics.Metric):
        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            seen.add((y_true.shape[1:], y_pred.shape[1:], sample_weight is None))

        def result(self) -> Any:
            return 0.0

    net(Sees()).fit(X, LABELS.reshape(shape), verbose=0)
    assert seen == {(shape[1:], (4,), True)}
    seen.clear()
    model = fastdl.Sequential([fastdl.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse", weighted_metrics=[Sees()])
    model.fit(X, X[:, 0].reshape(shape), sample_weight=np.ones(20), verbose=0)
    assert seen == {(shape[1:], (1,), False)}


def test_evaluation_takes_batches_of_the_size_asked_for() -> None:
    model = net(OWN["variables, and two results"]())
    assert model.evaluate(X, LABELS, 6, return_dict=True)["batches"] == 4
    assert model.evaluate(X, LABELS, return_dict=True)["batches"] == 1


def test_a_mapping_of_results_gives_several_keys() -> None:
    logs = net(OWN["variables, and two results"]()).fit(X, LABELS, 6, verbose=0, validation_split=0.5).history
    assert set(logs) == {"loss", "rows", "batches", "val_loss", "val_rows", "val_batches"}
    assert (logs["rows"], logs["batches"]) == ([10.0], [2.0])


def test_an_error_ends_the_pass_and_comes_out() -> None:
    class Fails(metrics.Metric):
        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            raise ZeroDivisionError("no way out")

        def result(self) -> Any:
            return 0.0

    with pytest.raises(ZeroDivisionError, match="no way out"):
        net(Fails()).fit(X, LABELS, verbose=0)


def test_a_function_on_labels() -> None:
    def right(y_true: Any, y_pred: Any) -> Any:
        return y_true == y_pred.argmax(-1)

    model = net(right)
    assert model.evaluate(X, LABELS)[1] == pytest.approx((model.predict(X).argmax(1) == LABELS).mean())


def test_own_metrics_can_be_copied_and_state_what_they_are() -> None:
    metric = OWN["variables, and two results"]()
    metric.update_state(LABELS, np.zeros((20, 4)))
    other = copy.deepcopy(metric)
    metric.reset_state()
    assert float(other.result()["rows"]) == 20
    assert float(metric.result()["rows"]) == 0
    assert repr(metric) == "Counted()"
    assert metric.get_config() == {"name": "counted", "dtype": "float32"}


def test_variables() -> None:
    metric = OWN["variables, and two results"]()
    rows, batches = metric.variables
    assert (rows.name, rows.shape, rows.dtype, batches.shape) == ("rows", (), np.float32, (2,))
    rows.assign(3)
    rows.assign_add(2)
    rows.assign_sub(1)
    assert float(rows) == int(rows) == 4
    assert rows + 1 == 5
    assert 8 / rows == 2
    assert np.sqrt(rows) == 2
    batches.assign([1, 2])
    np.testing.assert_array_equal(batches[1:] * rows, [8])
    np.testing.assert_array_equal(batches, [1, 2])
    batches += 1
    np.testing.assert_array_equal(metric.batches.numpy(), [2, 3])
    with pytest.raises(ShapeError, match=r"'batches' has shape \(2,\)"):
        batches.assign(0)
    assert [v.name for v in OWN["of others"]().variables] == ["total", "count"] * 2


def test_what_is_not_the_metrics_own_is_left_to_kernels() -> None:
    assert not OWN["result"]().counts_itself
    assert OWN["update_state"]().counts_itself
    assert not metrics.MeanSquaredError().counts_itself
    assert metrics.Precision(top_k=1).counts_itself


WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: metrics.Metric(dtype="int32"), ValueError, "dtype must be one of"),
    (lambda: metrics.AUC(num_labels=3), ValueError, "num_labels is for multi_label"),
    (lambda: metrics.Precision([0.5, 1.5]), ValueError, r"thresholds must lie in \[0, 1\]"),
    (lambda: metrics.Precision(top_k=0), ValueError, "top_k must be a positive integer"),
    (lambda: metrics.Precision(top_k=5)(np.eye(3), np.eye(3)), ShapeError, "top_k=5 needs as many outputs"),
    (lambda: metrics.AUC(multi_label=True, num_labels=2)(np.eye(3), np.eye(3)), ShapeError, "num_labels is for 2"),
    (lambda: metrics.F1Score()(np.eye(3), np.eye(3), np.eye(3)), ShapeError, "this metric takes one a sample"),
    (lambda: metrics.CategoricalCrossentropy(axis=0), ValueError, "axis must be the outputs'"),
    (lambda: metrics.MeanSquaredError()(np.eye(3), np.eye(3), np.ones(2)), ShapeError, "cannot be broadcast"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_calls_say_what_is_wrong(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_variables_need_the_base() -> None:
    class Forgets(metrics.Metric):
        def __init__(self) -> None:
            self.add_weight(name="early")

    with pytest.raises(RuntimeError, match=r"super\(\).__init__\(\)"):
        Forgets()


HELD: dict[str, Any] = {
    "one": lambda m: m("a"),
    "a list": lambda m: [m("a"), m("b")],
    "a mapping": lambda m: {"a": m("a"), "b": [m("b"), (m("c"),)]},
    "itself": lambda m: None,
}


@pytest.mark.parametrize("held", HELD)
def test_variables_are_also_those_of_what_it_holds(held: str) -> None:
    """Metrics and variables, in lists and mappings, each once; all of them are forgotten together."""
    metric = metrics.Mean()

    def inner(name: str) -> Any:
        if name == "c":
            return metrics.Sum().total.assign(3.0)
        made = metrics.Mean(name=name)
        made.update_state(2.0)
        return made

    metric.held, metric.again = HELD[held](inner), metric.total  # type: ignore[attr-defined]
    names = {"one": 4, "a list": 6, "a mapping": 7, "itself": 2}
    assert len(metric.variables) == names[held]
    metric.reset_state()
    assert [float(np.asarray(each)) for each in metric.variables] == [0.0] * names[held]


@pytest.mark.parametrize("kind", [metrics.AUC, metrics.F1Score])
def test_variables_of_ones_own_beside_those_of_a_built_in_metric(kind: Any) -> None:
    class Counting(kind):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.calls = self.add_weight(name="calls")

        def update_state(self, *arguments: Any) -> None:
            self.calls.assign_add(1)
            super().update_state(*arguments)

    y_true, y_pred = np.eye(3), np.random.default_rng(0).random((3, 3))
    own, plain = Counting(), kind()
    assert own.result() == plain.result() == 0
    np.testing.assert_array_equal(own(y_true, y_pred), plain(y_true, y_pred))
    assert float(own.calls) == 1


def test_a_metric_counts_anew_in_a_model_of_other_outputs() -> None:
    metric = metrics.F1Score(threshold=0.5)
    for outputs in (3, 2):
        model = fastdl.Sequential([fastdl.Input((outputs,)), layers.Rescaling(1.0)])
        model.compile("sgd", "mse", metrics=[metric])
        y = np.eye(outputs)
        assert model.evaluate(y, y, verbose=0)[1] == pytest.approx(np.ones(outputs))
        assert metric.true_positives.shape == (outputs,)
