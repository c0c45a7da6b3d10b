"""Gradients of one's own: `build`, `apply`, `apply_gradients`, and numbers that can be assigned to."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import constraints, layers, optimizers, regularizers, schedules
from fastdl.compiler.graph import Parameter
from fastdl.errors import ShapeError

Array = np.ndarray[Any, Any]
every = pytest.mark.parametrize("name", optimizers.CLASSES)
SHAPES = [(1,), (37,), (5, 33), (33, 5), (30, 64), (70, 20), (1, 9), (9, 1)]


def variable(value: Any, name: str = "layer/kernel", dtype: Any = np.float64, by_rows: bool = False) -> Parameter:
    array = np.asarray(value, dtype)
    return Parameter(name, array.shape, array.dtype, array, by_rows=by_rows)


def draw(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


# -- the formulas, in float64 -----------------------------------------------------------------------------


def lamb(w: Array, g: Array, state: dict[str, Array], t: int) -> Array:
    m = state["m"] = 0.9 * state.get("m", 0 * g) + 0.1 * g
    v = state["v"] = 0.999 * state.get("v", 0 * g) + 0.001 * g * g
    u = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
    return w - 0.1 * np.linalg.norm(w) / np.linalg.norm(u) * u


def adafactor(w: Array, g: Array, state: dict[str, Array], t: int) -> Array:
    keep = 1 - t**-0.8
    if w.ndim == 2:
        r = state["r"] = keep * state.get("r", np.zeros(len(g))) + (1 - keep) * (g * g).mean(1)
        c = state["c"] = keep * state.get("c", np.zeros(g.shape[1])) + (1 - keep) * (g * g).mean(0)
        v = np.outer(r / r.mean(), c)
    else:
        v = state["v"] = keep * state.get("v", 0 * g) + (1 - keep) * g * g
    u = g / np.sqrt(v)
    u /= max(1, np.sqrt((u * u).mean()))
    return w - max(1e-3, np.sqrt((w * w).mean())) * min(0.1, t**-0.5) * u


def muon(w: Array, g: Array, state: dict[str, Array], t: int) -> Array:
    if w.ndim == 1:
        m = state["m"] = 0.9 * state.get("m", 0 * g) + 0.1 * g
        v = state["v"] = 0.999 * state.get("v", 0 * g) + 0.001 * g * g
        return w - 0.1 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-7)
    m = state["m"] = 0.95 * state.get("m", 0 * g) + g
    x = g + 0.95 * m
    x /= np.linalg.norm(x) + 1e-7
    for _ in range(5):
        s = x @ x.T
        x = 3.4445 * x + (-4.7750 * s + 2.0315 * s @ s) @ x
    return w - 0.1 * 0.2 * np.sqrt(max(w.shape)) * x


FORMULAS: dict[str, tuple[Callable[[], optimizers.Optimizer], Callable[..., Array]]] = {
    "Lamb": (lambda: optimizers.Lamb(0.1), lamb),
    "Adafactor": (lambda: optimizers.Adafactor(0.1), adafactor),
    "Muon": (lambda: optimizers.Muon(0.1, weight_decay=None, adam_weight_decay=None), muon),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", FORMULAS)
def test_steps_along_directions(name: str, shape: tuple[int, ...], dtype: Any) -> None:
    make, formula = FORMULAS[name]
    expected, state = draw(shape, 0), dict[str, Array]()
    w, optimizer = variable(expected, dtype=dtype), make()
    for t in range(1, 6):
        gradient = draw(shape, t)
        optimizer.apply([gradient], [w])
        expected = formula(expected, gradient, state, t)
    np.testing.assert_allclose(w.numpy(), expected, rtol=1e-4 if dtype == np.float32 else 1e-12, atol=2e-5)
    padding = w.storage.size - w.size
    assert np.count_nonzero(w.storage) <= w.storage.size - padding


@pytest.mark.parametrize("shape", [(5, 33), (40, 3), (16, 16)], ids=str)
def test_adafactor_on_tables_that_lie_by_rows(shape: tuple[int, ...]) -> None:
    one, other = variable(draw(shape, 0)), variable(draw(shape, 0), by_rows=True)
    for w in (one, other):
        optimizer = optimizers.Adafactor(0.1, weight_decay=0.1)
        for seed in (1, 2, 3):
            optimizer.apply([draw(shape, seed)], [w])
    np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-12)


def test_muon_takes_adam_where_it_should() -> None:
    optimizer = optimizers.Muon(exclude_layers=["head"])
    dense, bias = variable(np.ones((2, 2)), "dense/kernel"), variable(np.ones(2), "dense/bias")
    table = variable(np.ones((2, 2)), "embedding/embeddings", by_rows=True)
    head = variable(np.ones((2, 2)), "head/kernel")
    assert [optimizer.by_adam(each) for each in (dense, bias, table, head)] == [False, True, True, True]
    with pytest.raises(ValueError, match="looked up by codes"):
        optimizers.Muon(exclude_embeddings=False).build([table])
    zero = variable(np.zeros((3, 3)))
    optimizers.Muon(0.1).apply([np.zeros((3, 3))], [zero])
    assert not zero.numpy().any()


# -- as training does -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clipvalue": 0.001},
        {"clipnorm": 0.05, "weight_decay": 0.1},
        {"global_clipnorm": 0.05},
        {"use_ema": True, "ema_overwrite_frequency": 2},
        {"gradient_accumulation_steps": 2, "clipnorm": 0.05},
    ],
    ids=str,
)
@every
def test_apply_steps_as_training_does(name: str, options: dict[str, Any]) -> None:
    """The gradients that SGD at rate 1 takes off the weights, given to `apply`, are those of a fused step."""
    x, y = draw((40, 6), 1), draw((40, 3), 2)

    def net(optimizer: Any) -> fastdl.Sequential:
        fastdl.utils.set_random_seed(3)
        model = fastdl.Sequential([fastdl.Input((6,)), layers.Dense(20, "tanh"), layers.Dense(3)], dtype="float64")
        model.compile(optimizer, "mse")
        return model

    trained, given = (net(optimizers.CLASSES[name](0.01, **options)) for _ in range(2))
    for _ in range(4):
        probe = net(optimizers.SGD(1.0))
        probe.set_weights(given.get_weights())
        before = given.get_weights()
        probe.train_on_batch(x, y)
        gradients = [old - new for old, new in zip(before, probe.get_weights(), strict=True)]
        assert given.optimizer is not None
        given.optimizer.apply(gradients, given.trainable_weights)
        trained.train_on_batch(x, y)
    for ours, theirs in zip(given.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)


@every
def test_threads_change_no_bit(name: str) -> None:
    results = []
    for threads in (1, 2):
        fastdl.set_num_threads(threads)
        w, b = variable(draw((300, 250), 0), dtype=np.float32), variable(draw((250,), 0), "b", np.float32)
        optimizer = optimizers.CLASSES[name](0.01, global_clipnorm=1.0)
        for seed in (1, 2, 3):
            optimizer.apply([draw((300, 250), seed), draw((250,), seed)], [w, b])
        results.append([w.numpy(), b.numpy()])
    fastdl.set_num_threads(None)
    assert all(map(np.array_equal, *results))


@every
def test_pickles_and_copies_go_on_to_the_bit(name: str) -> None:
    w, optimizer = variable(draw((5, 4), 0)), optimizers.CLASSES[name](0.01, use_ema=True)
    optimizer.apply([draw((5, 4), 1)], [w])
    for again, v in (pickle.loads(pickle.dumps((optimizer, w))), copy.deepcopy((optimizer, w))):
        again.apply([draw((5, 4), 2)], [v])
        assert again.iterations == 2
        copied = v.numpy()
    optimizer.apply([draw((5, 4), 2)], [w])
    assert np.array_equal(copied, w.numpy())


def test_gradients_of_several_batches() -> None:
    w, g = variable([[1.0, 2.0], [3.0, 4.0]]), np.ones((2, 2))
    optimizer = optimizers.SGD(1.0, gradient_accumulation_steps=3)
    found = []
    for factor in (1, 2, 3, 4):
        optimizer.apply_gradients([(factor * g, w)])
        found.append((w.numpy()[0, 0], optimizer.state.accumulated[w].numpy()[0, 0], int(optimizer.iterations)))
    assert found == [(1, 1, 0), (1, 3, 0), (-1, 0, 1), (-1, 4, 1)]
    assert optimizer.batches == 4


@every
def test_gradients_of_several_batches_are_one_of_their_mean(name: str) -> None:
    one, other = variable(draw((5, 4), 0)), variable(draw((5, 4), 0))
    each, mean = (optimizers.CLASSES[name](0.01, weight_decay=0.05, **o) for o in (BATCHES, {}))
    for step in range(4):
        gradients = draw((3, 5, 4), step)
        mean.apply([gradients.mean(0)], [other])
        for gradient in gradients:
            each.apply([gradient], [one])
    np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-10)


BATCHES = {"gradient_accumulation_steps": 3}


def test_a_schedule_counts_batches() -> None:
    w, optimizer = variable(0.0), optimizers.SGD(schedules.PiecewiseConstantDecay([3], [1.0, 0.5]), **BATCHES)
    for _ in range(6):
        optimizer.apply([np.ones(())], [w])
    assert w.numpy() == -1.5  # at batches 2 and 5, from 0


def test_a_fit_that_is_saved_within_a_step_goes_on_to_the_bit(tmp_path: Any) -> None:
    x, y = draw((70, 5), 0), draw((70, 1), 1)

    def net() -> fastdl.Sequential:
        fastdl.utils.set_random_seed(0)
        model = fastdl.Sequential([fastdl.Input((5,)), layers.Dense(8, "relu"), layers.Dense(1)])
        model.compile(optimizers.Adafactor(0.01, gradient_accumulation_steps=4), "mse")
        return model

    whole = net()
    whole.fit(x, y, batch_size=10, epochs=3, verbose=0)
    part = net()
    part.fit(x, y, batch_size=10, epochs=1, verbose=0)  # 7 batches: one step, and 3 batches of the next
    part.save(tmp_path / "part.fastdl")
    again = fastdl.models.load_model(tmp_path / "part.fastdl")
    again.fit(x, y, batch_size=10, initial_epoch=1, epochs=3, verbose=0)
    assert again.optimizer is not None
    assert (again.optimizer.batches, again.optimizer.iterations) == (21, 5)
    assert all(map(np.array_equal, whole.get_weights(), again.get_weights()))


# -- what stands around a step ----------------------------------------------------------------------------


def test_constraints_follow_penalties_do_not() -> None:
    w = variable([[-1.0, 1.0]])
    w.constraint, w.regularizer = constraints.NonNeg(), regularizers.L2(10.0)
    optimizers.SGD(0.1).apply([np.ones((1, 2))], [w])
    np.testing.assert_allclose(w.numpy(), [[0.0, 0.9]])


def test_loss_scale() -> None:
    w, optimizer = variable([1.0, 2.0]), optimizers.SGD(1.0, loss_scale_factor=1024.0)
    optimizer.apply([np.array([1024.0, 2048.0])], [w])
    assert not w.numpy().any()
    assert (optimizer.scale_loss(1.0), optimizers.SGD().scale_loss(1.0)) == (1024.0, 1.0)


@every
@pytest.mark.parametrize("shape", [(5, 4), (7,)])
def test_a_step_of_the_rule_alone(name: str, shape: tuple[int, ...]) -> None:
    """That of an optimizer without options, at another rate; nothing is counted."""
    kind, first = optimizers.CLASSES[name], draw(shape, 0)
    plain, stepped = (
        kind(0.1, **({"weight_decay": 0.0} if name == "AdamW" else {"weight_decay": None})),
        variable(first),
    )
    if name == "Muon":
        plain.adam_weight_decay = None
    full, moved = kind(0.7, weight_decay=0.3, clipvalue=1e-3, use_ema=True), variable(first)
    for seed in (1, 2):
        plain.apply([draw(shape, seed)], [stepped])
        full.update_step(draw(shape, seed), moved, 0.1)
        full.batches += 1
        np.testing.assert_array_equal(moved.numpy(), stepped.numpy())
    assert full.iterations == 2
    assert full.learning_rate == 0.7


@pytest.mark.parametrize("every_so_often", [None, 2])
def test_a_gradient_in_the_place_of_a_variable(every_so_often: int | None) -> None:
    first, second = variable([1.0, 2.0]), variable([1.0, 2.0])
    first.overwrite_with_gradient = True
    optimizer = optimizers.SGD(1.0, gradient_accumulation_steps=every_so_often)
    for gradient, overwritten, stepped in (
        ([4.0, 7.0], [4.0, 7.0], [-3.0, -5.0]) if not every_so_often else ([4.0, 7.0], [1.0, 2.0], [1.0, 2.0]),
        ([6.0, 5.0], [6.0, 5.0], [-9.0, -10.0]) if not every_so_often else ([6.0, 5.0], [6.0, 7.0], [-4.0, -4.0]),
    ):
        optimizer.apply([np.array(gradient)] * 2, [first, second])
        np.testing.assert_array_equal([first.numpy(), second.numpy()], [overwritten, stepped])
    model = fastdl.Sequential([fastdl.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.weights[0].overwrite_with_gradient = True
    with pytest.raises(ValueError, match="overwrite_with_gradient is for an optimizer's apply"):
        model.fit(np.ones((4, 2)), np.ones(4), verbose=0)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_muon_on_arrays(shape: tuple[int, ...]) -> None:
    x = draw(shape, 3)
    y = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(4):
        s = y @ y.T
        y = 3.4445 * y + (-4.7750 * s + 2.0315 * s @ s) @ y
    optimizer = optimizers.Muon(0.3, exclude_layers=["matrix"])
    np.testing.assert_allclose(optimizer.zeropower_via_newtonschulz5(x, 4), y, rtol=1e-9, atol=1e-9)
    assert optimizer.zeropower_via_newtonschulz5(x.astype(np.float32), 4).dtype == np.float32
    np.testing.assert_allclose(optimizer.lr_adjust(x), x * 0.2 * max(shape) ** 0.5)
    np.testing.assert_array_equal(optimizers.Muon(rms_rate=None).lr_adjust(x), x)
    with pytest.raises(ValueError, match="only a matrix"):
        optimizer.zeropower_via_newtonschulz5(x[0], 4)


def test_none_leaves_a_variable_as_it_is() -> None:
    first, second, optimizer = variable([3.0], "first"), variable([3.0], "second"), optimizers.SGD(1.0)
    with pytest.raises(ValueError, match="no gradient"):
        optimizer.apply([None], [first])
    optimizer = optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2)
    optimizer.apply([np.ones(1), np.ones(1)], [first, second])
    with pytest.warns(UserWarning, match="no gradient for second"):
        optimizer.apply([np.ones(1), None], [first, second])
    assert (first.numpy(), second.numpy()) == (1.5, 2.0)


def test_learning_rate_and_iterations_can_be_assigned_to() -> None:
    optimizer = optimizers.Adam(0.5, name="adam")
    optimizer.learning_rate.assign(0.25)
    assert (optimizer.learning_rate, optimizer.learning_rate.numpy(), float(optimizer.learning_rate)) == (0.25,) * 3
    optimizer.learning_rate = 0.1 * 0.1
    assert optimizer.learning_rate.numpy() != 0.01
    assert optimizer.learning_rate.value == 0.01
    assert optimizer.learning_rate.value.dtype == "float32"
    optimizer.learning_rate = 0.25
    optimizer.iterations.assign(4)
    assert (optimizer.iterations, optimizer.batches) == (4, 4)
    assert [each.path for each in optimizer.variables] == ["adam/iteration", "adam/learning_rate"]
    assert type(pickle.loads(pickle.dumps(optimizer.learning_rate))) is float
    with pytest.raises(ValueError, match="learning_rate must be"):
        optimizer.learning_rate.assign(-1.0)
    optimizer.learning_rate = schedules.PolynomialDecay(optimizer.learning_rate, 4)
    assert [each.path for each in optimizer.variables] == ["adam/iteration"]
    with pytest.raises(TypeError, match="follows PolynomialDecay"):
        optimizer.learning_rate.assign(0.1)


def test_a_function_of_the_learning_rate() -> None:
    rates = iter([0.5, 0.5, 0.25, 0.25])  # asked for a step's size, and for its decay
    w, optimizer = variable(1.0), optimizers.SGD(lambda: next(rates))
    for _ in range(2):
        optimizer.apply([np.ones(())], [w])
    assert w.numpy() == 0.25
    with pytest.raises(TypeError, match="follows <lambda>"):
        optimizer.learning_rate = 0.1
    with pytest.raises(ValueError, match="learning_rate must be"):
        optimizers.SGD(lambda: -1.0).apply([np.ones(())], [w])


def test_weights_of_an_optimizer() -> None:
    w, one, other = variable(draw((3, 2), 0)), optimizers.Adam(0.1), optimizers.Adam()
    one.apply([draw((3, 2), 1)], [w])
    with pytest.raises(ValueError, match="build"):
        other.set_weights(one.variables)
    other.build([w])
    other.set_weights(one.variables)
    assert [each.numpy().tolist() for each in other.variables] == [each.numpy().tolist() for each in one.variables]
    assert (other.learning_rate, other.iterations) == (0.1, 1)
    with pytest.raises(ValueError, match="has 4 variables, not 1"):
        other.set_weights([1])


W = variable([1.0, 2.0], "w")
WRONG: dict[str, tuple[Callable[[optimizers.Optimizer], Any], type[Exception], str]] = {
    "not built": (lambda o: o.apply([np.ones(2)]), ValueError, "needs build"),
    "too many": (lambda o: (o.build([W]), o.apply([np.ones(2)] * 2)), ValueError, "2 gradients for 1 variables"),
    "unknown": (lambda o: (o.build([]), o.apply([np.ones(2)], [W])), ValueError, "w is unknown to sgd"),
    "twice": (lambda o: o.apply([np.ones(2)] * 2, [W, W]), ValueError, "named twice"),
    "shape": (lambda o: o.apply([np.ones(3)], [W]), ShapeError, r"shape \(2,\), its gradient \(3,\)"),
    "text": (lambda o: o.apply([["a", "b"]], [W]), ValueError, "real numbers"),
    "dtypes": (lambda o: o.apply([1.0, 1.0], [W, variable(1.0, dtype=np.float32)]), ValueError, "one dtype"),
    "cube": (
        lambda o: optimizers.Adafactor().build([variable(np.ones((2, 2, 2)))]),
        ValueError,
        "vectors and matrices",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_touch_nothing(name: str) -> None:
    call, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        call(optimizers.SGD(1.0))
    assert W.numpy().tolist() == [1.0, 2.0]
