"""What follows a schedule beside the learning rate: dropout's rate and weight decay, step by step, in any slices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import _ext, kernels, layers, models, optimizers, schedules
from fastdl.compiler.feeds import OUT_FEED, X_FEED
from fastdl.compiler.graph import Graph, Tensor
from fastdl.compiler.memory import aligned
from fastdl.compiler.program import Program
from fastdl.models import engine
from fastdl.schedules import FlatCosine, LearningRateSchedule, PiecewiseConstantDecay

Array = np.ndarray[Any, Any]


class Still(LearningRateSchedule):
    """One number all along, as a schedule."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, step: Any) -> Any:
        return self.rate


def net(rate: Any, decay: Any = None, dtype: str = "float32") -> fastdl.Sequential:
    fastdl.utils.set_random_seed(3)
    model = fastdl.Sequential(
        [fastdl.Input((9,)), layers.Dense(40, "relu"), layers.Dropout(rate), layers.Dense(3, "softmax")], dtype=dtype
    )
    model.compile(optimizers.Adam(0.01, weight_decay=decay), "sparse_categorical_crossentropy")
    return model


def data(rows: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((rows, 9))
    return x, (x @ rng.standard_normal((9, 3))).argmax(1)


def same(one: fastdl.Sequential, other: fastdl.Sequential) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("first", [0, 3])
def test_each_step_drops_by_its_own_rate(dtype: Any, threads: int, first: int) -> None:
    """Several steps of one program, whose masks are those of the kernel with the rate of each step as a number."""
    rates, batch, steps = PiecewiseConstantDecay([1, 4], [0.0, 0.5, 1.0]), 40, 4
    source = Tensor((None, 70), np.dtype(dtype), name="x")
    dropped = layers.Dropout(rates)(source, training=True)
    x = np.random.default_rng(0).standard_normal((batch * steps, 70)).astype(dtype)
    feeds = {X_FEED: x, OUT_FEED: np.empty_like(x)}
    program = Program(Graph([source], [dropped]), batch, noisy=True, output=True)
    program.run(feeds, steps=steps, step=first, seed=7, threads=threads)
    for i, (given, got) in enumerate(zip(np.split(x, steps), np.split(feeds[OUT_FEED], steps), strict=True)):
        expected, _ = kernels.dropout(given, rates(first + i), seed=7, step=first + i)
        assert np.array_equal(got, expected)
    program.run(feeds, steps=steps, step=first, seed=7, schedule_step=2)
    assert np.array_equal(feeds[OUT_FEED][:batch], kernels.dropout(x[:batch], 0.5, seed=7, step=first)[0])


@pytest.mark.parametrize("batch", [20, 300, 1100])
def test_a_schedule_that_stands_still_changes_no_bit(batch: int) -> None:
    plain, scheduled = net(0.3, 0.02), net(Still(0.3), Still(0.02))
    for model in (plain, scheduled):
        fastdl.utils.set_random_seed(5)
        model.fit(*data(3 * batch), batch_size=batch, epochs=2, verbose=0)
    assert same(plain, scheduled)


@pytest.mark.parametrize("batch", [16, 300])
def test_slices_and_threads_change_no_bit(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """fit runs many steps in one call; batch by batch each step is a call."""
    monkeypatch.setattr(engine.Pace, "plan", lambda self, left, **_: engine.Plan(fastdl.get_num_threads(), left))
    x, y = data(6 * batch)
    trained = []
    for threads in (1, 2, 0):
        fastdl.set_num_threads(threads or None)
        model = net(FlatCosine(0.5, 12), FlatCosine(0.1, 9))
        fastdl.utils.set_random_seed(5)
        if threads:
            model.fit(x, y, batch_size=batch, epochs=2, shuffle=False, verbose=0)
        for part in range(0 if threads else 12):
            rows = slice(part % 6 * batch, (part % 6 + 1) * batch)
            model.train_on_batch(x[rows], y[rows])
        trained.append(model)
    fastdl.set_num_threads(None)
    assert same(trained[0], trained[1])
    assert same(trained[0], trained[2])


def test_weight_decay_by_hand() -> None:
    """w -= rate decay(t) w, then the rule; in float64."""
    x, y = data(64)
    decay = schedules.PolynomialDecay(0.5, 4, 0.0)
    model, plain = (fastdl.Sequential([fastdl.Input((9,)), layers.Dense(3, "softmax")], dtype="float64") for _ in "ab")
    model.compile(optimizers.SGD(0.5, weight_decay=decay), "sparse_categorical_crossentropy")
    plain.compile(optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    model.build((None, 9))
    for step in range(6):
        before = model.get_weights()
        plain.set_weights(before)
        model.train_on_batch(x, y)
        plain.train_on_batch(x, y)
        for old, new, moved in zip(before, model.get_weights(), plain.get_weights(), strict=True):
            np.testing.assert_allclose(new, moved - 0.5 * 0.5 * max(0, 1 - step / 4) * old, rtol=1e-12, atol=1e-14)


def test_decay_with_factors_and_exclusion() -> None:
    """A schedule that begins with 0 decays later all the same."""
    optimizer = optimizers.AdamW(0.1, PiecewiseConstantDecay([0], [0.0, 0.5]))
    dense = layers.Dense(3, weight_decay_factors={"kernel": 0.5}, learning_rate_factors={"kernel": 0.0})
    model = fastdl.Sequential([fastdl.Input((9,)), dense], dtype="float64")
    model.compile(optimizer, "mse")
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.build((None, 9))
    x, begin = np.ones((8, 9)), dense.kernel.numpy()
    for _ in range(3):
        model.train_on_batch(x, np.ones((8, 3)))
    np.testing.assert_allclose(dense.kernel.numpy(), begin * (1 - 0.1 * 0.5 * 0.5) ** 2, rtol=1e-12)
    assert optimizer.decay(dense.bias) == 0


def test_inference_draws_nothing_and_monte_carlo_stands_where_training_does() -> None:
    model = net(PiecewiseConstantDecay([2], [0.0, 0.9]))
    x, y = data(200)
    np.testing.assert_allclose(model.predict(x, training=True), model.predict(x), atol=1e-6)  # at rate 0
    for _ in range(4):
        model.train_on_batch(x, y)
    assert np.abs(model.predict(x, training=True) - model.predict(x)).max() > 0.05
    assert np.array_equal(model.predict(x), model.predict(x))
    assert np.array_equal(
        layers.Dropout(PiecewiseConstantDecay([0], [0.0, 1.0]))(np.ones((3, 4)), training=True), np.ones((3, 4))
    )


def test_training_goes_on_where_it_was(tmp_path: Path) -> None:
    model = net(FlatCosine(0.5, 12), FlatCosine(0.5, 12))
    x, y = data(90)
    for _ in range(5):
        model.train_on_batch(x, y)
    model.save(tmp_path / "model.fastdl")
    again = models.load_model(tmp_path / "model.fastdl")
    for each in (model, again):
        for _ in range(6):
            each.train_on_batch(x, y)
    assert same(model, again)


def test_configs() -> None:
    layer = layers.Dropout(FlatCosine(0.15, 100), seed=3)
    again = layers.Dropout.from_config(json.loads(json.dumps(layer.get_config())))
    assert again.get_config() == layer.get_config()
    assert isinstance(again.rate, FlatCosine)
    optimizer = optimizers.AdamW(schedules.LogCosine(0.04, 100), FlatCosine(0.02, 100))
    other = optimizers.get(json.loads(json.dumps(optimizers.serialize(optimizer))))
    assert other.get_config() == optimizer.get_config()
    assert np.array_equal(other.rates(100), optimizer.rates(100))


def test_export_leaves_it_out(tmp_path: Path) -> None:
    model = net(FlatCosine(0.15, 100))
    model.export(tmp_path / "model.onnx")
    x = data(20)[0].astype(np.float32)
    np.testing.assert_allclose(fastdl.Runner(tmp_path / "model.onnx").predict(x), model.predict(x), atol=1e-6)


WRONG: dict[str, tuple[Any, str]] = {
    "above": (lambda: layers.Dropout(Still(1.5)), "Still gives the rate of dropout.* 1.5 at step 0: .*, 1 at most"),
    "negative": (lambda: layers.Dropout(Still(-0.5)), "Still gives the rate of dropout.* -0.5 at step 0"),
    "nan": (lambda: layers.Dropout(Still(float("nan"))), "Still gives the rate of dropout.* nan at step 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_rates_say_what_is_wrong(case: str) -> None:
    make, message = WRONG[case]
    model = fastdl.Sequential([fastdl.Input((4,)), make(), layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=message):
        model.fit(np.ones((8, 4)), np.ones((8, 1)), verbose=0)


def test_wrong_decay_and_schedules_of_ones_own() -> None:
    model = fastdl.Sequential([fastdl.Input((4,)), layers.Dropout(Still(0.5)), layers.Dense(1)])
    model.compile(optimizers.SGD(weight_decay=Still(-1)), "mse")
    with pytest.raises(ValueError, match=r"Still gives the weight decay -1.0 at step 0"):
        model.fit(np.ones((8, 4)), np.ones((8, 1)), verbose=0)
    assert '"Still"' in model.to_json()
    with pytest.raises(ValueError, match="custom_objects"):
        fastdl.models.model_from_json(model.to_json())
    again = fastdl.models.model_from_json(model.to_json(), {"Still": Still})
    assert isinstance(again.layers[0].rate, Still)


def test_a_program_without_its_values_is_not_run() -> None:
    program, (x, y, mask) = _ext.Program(4, 4), (aligned((1, 3, _ext.PANEL), np.dtype(np.float32)) for _ in "xym")
    arguments = {"x": x, "y": y, "mask": mask, "features": 3, "stream": 0, "rate": _ext.Scheduled(1)}
    program.emit("dropout_forward", arguments, _ext.ONCE, 3, False)
    x[...] = 1
    for values in (None, np.zeros((1, 1)), np.zeros((0, 2))):
        with pytest.raises(ValueError, match=r"values must be \(1, 2\)"):
            program.run({}, 0, 1, None, None, 0, 0, 1, values)
    assert not y.any()
    program.run({}, 0, 1, None, None, 0, 0, 1, np.array([[1.0, 0.0]]))
    assert (y == 1).all()
    with pytest.raises(TypeError):
        program.emit("dropout_forward", {**arguments, "features": _ext.Scheduled(0)}, _ext.ONCE, 3, False)
