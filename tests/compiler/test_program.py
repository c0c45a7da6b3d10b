"""Programs: bits that do not depend on threads or runs, phases, the arena, and what the binding refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import _ext, kernels, layers, optimizers
from fastdl.compiler import buffers
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import Graph, Tensor
from fastdl.compiler.memory import aligned
from fastdl.compiler.phases import read, write
from fastdl.compiler.program import Program
from fastdl.models import engine
from fastdl.ops import dense

Array = np.ndarray[Any, Any]


@pytest.fixture
def threads_always(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Use all threads however small the work is, and however slow they are."""
    monkeypatch.setattr(engine.Pace, "plan", lambda self, left, **_: engine.Plan(fastdl.get_num_threads(), left))
    yield
    fastdl.set_num_threads(None)


def net(dtype: str = "float32") -> fastdl.Sequential:
    fastdl.utils.set_random_seed(11)
    model = fastdl.Sequential(
        [
            fastdl.Input((6, 9)),
            layers.Flatten(),
            layers.BatchNormalization(),
            layers.Dense(70, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.2),
            layers.Dense(45, activation="tanh"),
            layers.Dense(7, activation="softmax"),
        ],
        dtype=dtype,
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def data(rows: int = 1500) -> tuple[Array, Array]:
    rng = np.random.default_rng(5)
    return rng.standard_normal((rows, 6, 9)), rng.integers(0, 7, rows)


def trained(threads: int, batch: int, dtype: str) -> tuple[list[Array], Array, dict[str, list[float]]]:
    fastdl.set_num_threads(threads)
    model = net(dtype)
    x, y = data(30) if batch < 32 else data()
    history = model.fit(x, y, epochs=2, batch_size=batch, verbose=0, validation_split=0.2)
    return model.get_weights(), model.predict(data()[0]), history.history


@pytest.mark.usefixtures("threads_always")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 32, 50, 128, 300, 1100])
def test_same_bits_at_any_number_of_threads(batch: int, dtype: str) -> None:
    weights, predictions, history = trained(1, batch, dtype)
    for threads in (2, 3, 8):
        others = trained(threads, batch, dtype)
        assert all(np.array_equal(a, b) for a, b in zip(weights, others[0], strict=True))
        assert np.array_equal(predictions, others[1])
        assert history == others[2]


# what a step does besides: norms of all gradients, weights that several layers read, penalties, constraints, averages
OPTIMIZERS: dict[str, Callable[[], optimizers.Optimizer]] = {
    "one norm for all": lambda: optimizers.SGD(0.1, global_clipnorm=0.5),
    "a norm for each": lambda: optimizers.Adam(clipnorm=0.5),
    "decay and averages": lambda: optimizers.AdamW(use_ema=True, ema_overwrite_frequency=2),
}


@pytest.mark.usefixtures("threads_always")
@pytest.mark.parametrize("batch", [1, 2, 33, 300])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_same_bits_whatever_a_step_does(optimizer: str, batch: int) -> None:
    """Under TSan (tools/sanitize.sh thread) also: no thread reads what another may be writing."""

    def weights(threads: int) -> list[Array]:
        fastdl.set_num_threads(threads)
        fastdl.utils.set_random_seed(3)
        inputs = fastdl.Input((37,))
        first = layers.Dense(45, "gelu", kernel_regularizer="l2", kernel_constraint="max_norm")
        left = layers.LayerNormalization()(first(inputs))
        both = layers.Concatenate()([left, layers.PReLU()(layers.Dense(20)(left))])
        output = layers.Dense(3, "softmax")(layers.DenseTranspose(first)(layers.Dense(45, "tanh")(both)))
        model = fastdl.Model(inputs, output)
        model.compile(OPTIMIZERS[optimizer](), "sparse_categorical_crossentropy")
        rng = np.random.default_rng(0)
        rows = 3 * batch + 1
        model.fit(rng.standard_normal((rows, 37)), rng.integers(0, 3, rows), epochs=2, batch_size=batch, verbose=0)
        return [*model.get_weights(), model.predict(rng.standard_normal((batch, 37)))]

    alone = weights(1)
    for threads in (2, 3, 5):
        assert all(np.array_equal(a, b) for a, b in zip(alone, weights(threads), strict=True))


def test_same_bits_from_run_to_run_and_other_bits_from_another_seed() -> None:
    first, again = trained(1, 32, "float32"), trained(1, 32, "float32")
    assert all(np.array_equal(a, b) for a, b in zip(first[0], again[0], strict=True))
    fastdl.utils.set_random_seed(12)
    assert not np.array_equal(fastdl.layers.Dense(3).kernel_initializer((5, 5)), first[0][4][:5, :5])


def test_prediction_of_a_row_does_not_depend_on_its_batch() -> None:
    model, (x, _) = net(), data(300)
    together = model.predict(x)
    for rows in (slice(0, 1), slice(7, 12), slice(10, 299), slice(260, 300)):
        assert np.array_equal(model.predict(x[rows]), together[rows])


@pytest.mark.usefixtures("threads_always")
@pytest.mark.parametrize("batch", [3, 32, 70])
def test_sums_cut_in_halves_are_the_same_sums(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small nets do not cut them; made to, they give the same bits on any number of threads, and the same numbers."""
    whole, *_ = trained(1, batch, "float64")
    monkeypatch.setattr(buffers, "HALVES_FROM_FLOPS", 0)
    monkeypatch.setattr(dense, "HALVED_INPUTS", 17)
    cut = [trained(threads, batch, "float64")[0] for threads in (1, 2, 3, 8)]
    assert all(np.array_equal(a, b) for other in cut[1:] for a, b in zip(cut[0], other, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(whole, cut[0], strict=True)), "nothing was cut"
    assert all(np.allclose(a, b, rtol=1e-6, atol=1e-9) for a, b in zip(whole, cut[0], strict=True))


def test_training_phases_are_few() -> None:
    """One meeting of the threads for each dense layer and direction, and one at the gather and the loss."""
    model = net()
    dense_layers = 3
    assert model.session.program(32, training=True).phases <= 2 * dense_layers + 3
    alone = Program(model.trace(), 256, output=True)
    assert alone.phases == 2, "inference over several panels needs one meeting, after the batch norms are folded"


def test_arena_reuses_memory() -> None:
    """A deep net's gradients are dead one layer later: the arena stays well below their sum."""
    deep = fastdl.Sequential([fastdl.Input((64,)), *(layers.Dense(64, activation="tanh") for _ in range(30))])
    deep.compile("sgd", "mse")
    panel = 64 * 32 * 4
    activations, gradients = 31 * panel, 30 * panel
    arena = deep.session.program(32, training=True).arena.nbytes
    weights = 2 * 64 * (64 + 16) * 4
    assert activations < arena < activations + gradients / 3 + 2 * weights
    assert Program(deep.trace(), 32, output=True).arena.nbytes <= 3 * panel


def test_binding_refuses_what_would_read_outside() -> None:
    x = np.zeros((64, 6, 9), np.float32).reshape(64, 54)
    out = np.zeros((64, 7), np.float32)
    program = Program(net().trace(), 32, output=True)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"steps": 3}, "feeds hold 64 rows"),
        ({"start": 40}, "feeds hold 64 rows"),
        ({"index": np.full(32, 64)}, "points outside"),
        ({"index": np.full(32, -1)}, "points outside"),
        ({"index": np.zeros(31, np.int64)}, "index holds 31 rows"),
        ({"rates": np.zeros((1, 1))}, "rates must be"),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            program.run({0: x, 2: out}, **options)
    for wrong in (x[:, :53], x.astype(np.float64), x[:, ::-1], x[0]):
        with pytest.raises(ValueError, match="feed 0 must have rows"):
            program.run({0: wrong, 2: out})
    out.flags.writeable = False
    with pytest.raises(ValueError):
        program.run({0: x, 2: out})


SOFTMAX = {
    "x": aligned((1, 1, 32), np.dtype(np.float32)),
    "y": aligned((1, 1, 32), np.dtype(np.float32)),
    "features": 1,
}
WRONG_ARGUMENTS = {
    "no such kernel": ("no_such_kernel", SOFTMAX, TypeError, "no kernel 'no_such_kernel'"),
    "unknown": ("softmax_forward", {**SOFTMAX, "bias": None}, TypeError, "no argument 'bias': it takes x, y, features"),
    "missing": ("softmax_forward", {"x": SOFTMAX["x"], "features": 1}, TypeError, "misses y"),
    "no array": ("softmax_forward", {**SOFTMAX, "y": None}, TypeError, "needs an array as y"),
    "a number too few": (
        "activation_forward",
        {**SOFTMAX, "activation": 0, "own": (0.0,)},
        ValueError,
        "takes 3 numbers or arrays as own, not 1",
    ),
    "not aligned": (
        "softmax_forward",
        {**SOFTMAX, "y": np.frombuffer(_ext.Buffer(256), np.uint8)[4:132]},
        ValueError,
        "aligned",
    ),
    "a size below zero": ("softmax_forward", {**SOFTMAX, "features": -1}, OverflowError, "negative"),
    "a size that is none": ("softmax_forward", {**SOFTMAX, "features": 1.5}, TypeError, "float"),
}


@pytest.mark.parametrize("case", WRONG_ARGUMENTS)
def test_kernels_are_called_by_name(case: str) -> None:
    kernel, arguments, error, message = WRONG_ARGUMENTS[case]
    program = _ext.Program(32, 4)
    with pytest.raises(error, match=message):
        program.emit(kernel, arguments, _ext.ONCE, 1, False)
    assert len(program) == 0
    program.emit("softmax_forward", SOFTMAX, _ext.ONCE, 1, False)
    assert len(program) == 1


def test_emit_names_a_wrong_argument_where_it_is_written() -> None:
    """Ops hear of it when they emit, not when the program is put together."""
    x = Tensor((None, 4), np.dtype(np.float32))
    build = Builder(Graph([x], [x]), 32, False, None)
    y = build.panel_ref(4)
    for arguments, message in (
        ({"x": read(build.value(x)), "features": 4}, "misses y"),
        ({"x": read(build.value(x)), "y": write(y), "features": 4, "axes": 1}, "no argument 'axes'"),
        ({"x": write(build.value(x)), "y": write(y), "features": 4}, "reads x"),
        ({"x": read(build.value(x)), "y": read(y), "features": 4}, "writes y"),
    ):
        with pytest.raises(TypeError, match=message):
            build.emit("softmax_forward", **arguments)
    assert not build.calls


def test_each_kernel_is_described_by_its_declaration() -> None:
    for name, kernel in _ext.KERNELS.items():
        text = kernels.describe(name)
        assert text.startswith(f"{name}: {kernel.what}")
        assert all(argument in text and of.what for argument, of in kernel.arguments.items())


def test_binding_checks_sizes_and_memory() -> None:
    with pytest.raises(ValueError, match="4 or 8"):
        _ext.Program(32, 2)
    with pytest.raises(MemoryError):
        _ext.Buffer(2**61)


def test_isa_is_chosen_and_checked() -> None:
    name, width = _ext.isa()
    assert name in _ext.supported_isas()
    assert width == {"v4": 64, "v3": 32, "portable": 16}[name]
    with pytest.raises(ValueError, match="not available here"):
        _ext.select_isa("z80")


@pytest.mark.parametrize("isa", _ext.supported_isas())
def test_every_build_learns_the_same(isa: str) -> None:
    """Builds round differently, so bits differ between them; what is learned does not."""
    chosen = _ext.isa()[0]
    try:
        _ext.select_isa(isa)
        got = trained(1, 50, "float64")
        _ext.select_isa("portable")
        reference = trained(1, 50, "float64")
    finally:
        _ext.select_isa(chosen)
    for a, b in zip(got[0], reference[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)
