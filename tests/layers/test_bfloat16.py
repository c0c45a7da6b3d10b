"""The policy mixed_bfloat16: products of dense layers in bfloat16, all else in float32; refused where no CPU has it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from fastdl import _ext, config, layers, losses, models, optimizers
from fastdl.base.arrays import Array


@pytest.fixture(autouse=True)
def rounding() -> Iterator[None]:
    """On any CPU: by instructions where it has them, for the bits are the same (see tests/kernels/test_bfloat16.py)."""
    config.round_to_bfloat16(not config.has_bfloat16())
    yield
    config.set_dtype_policy("float32")
    config.round_to_bfloat16(False)


def small_integers(shape: tuple[int, ...], nonzero: float, rng: np.random.Generator) -> Array:
    """-1, 0 and 1: sums of their products are small integers, which bfloat16 holds."""
    values = rng.choice([-1, 1], shape) * (rng.random(shape) < nonzero)
    return values.astype(np.float32)


def net(sizes: tuple[int, ...], policy: str, optimizer: optimizers.Optimizer, time: int = 0) -> models.Sequential:
    rng = np.random.default_rng(3)
    dense = [layers.Dense(size, activation="relu", dtype=policy) for size in sizes[1:-1]]
    last = layers.Dense(sizes[-1], dtype=policy)
    shape = (time, sizes[0]) if time else (sizes[0],)
    model = models.Sequential([layers.Input(shape), *dense, last])
    model.set_weights(
        [small_integers(each.shape, 4 / each.shape[0], rng) if each.ndim == 2 else each for each in model.get_weights()]
    )
    model.compile(optimizer=optimizer, loss=losses.MeanSquaredError(reduction="sum"))
    return model


OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda: optimizers.SGD(2**-6),
    "momentum": lambda: optimizers.SGD(2**-6, momentum=0.5),
    "adam": lambda: optimizers.Adam(2**-6),
    "decay": lambda: optimizers.SGD(2**-6, weight_decay=2**-4),
    "clipvalue": lambda: optimizers.SGD(2**-6, clipvalue=0.5),
    "clipnorm": lambda: optimizers.SGD(2**-6, clipnorm=1e6),
    "accumulates": lambda: optimizers.SGD(2**-6, gradient_accumulation_steps=2),
}
# (batch, sizes), batches whose inverse times themselves is 1: one row, odd sizes, halves of sums, more than a chunk,
# panels that threads share
CASES = [
    (1, (8, 5, 4)), (5, (9, 33, 17, 4)), (32, (300, 140, 4)), (33, (257, 129, 65, 4)), (130, (64, 64, 4)),
    (265, (40, 20, 4)), (2048, (16, 24, 4)),
]  # fmt: skip


def trained(policy: str, batch: int, sizes: tuple[int, ...], optimizer: str, time: int = 0) -> list[Array]:
    rng = np.random.default_rng(5)
    model = net(sizes, policy, OPTIMIZERS[optimizer](), time)
    rows = (batch, time) if time else (batch,)
    x, y = small_integers((*rows, sizes[0]), 0.5, rng), small_integers((*rows, sizes[-1]), 0.5, rng)
    before = model.predict(x)
    for _ in range(2 if optimizer == "accumulates" else 1):
        model.train_on_batch(x, y)
    return [before, *model.get_weights()]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("batch", "sizes"), CASES)
def test_numbers_that_bfloat16_holds_train_as_in_float32(batch: int, sizes: tuple[int, ...], optimizer: str) -> None:
    for mixed, exact in zip(
        trained("mixed_bfloat16", batch, sizes, optimizer), trained("float32", batch, sizes, optimizer), strict=True
    ):
        np.testing.assert_array_equal(mixed, exact)


def test_over_the_last_axis_of_more() -> None:
    for mixed, exact in zip(
        trained("mixed_bfloat16", 33, (9, 33, 4), "sgd", time=2), trained("float32", 33, (9, 33, 4), "sgd", time=2),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_array_equal(mixed, exact)


def fitted(threads: int, batch: int) -> list[Array]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch * 3 + 5, 200)).astype(np.float32)
    config.set_dtype_policy("mixed_bfloat16")
    hidden = [layer for _ in range(2) for layer in (layers.Dense(140), layers.BatchNormalization(), layers.ReLU())]
    model = models.Sequential([layers.Input((200,)), *hidden, layers.Dense(3, activation="softmax")])
    rng = np.random.default_rng(1)
    model.set_weights([rng.standard_normal(each.shape) ** 2 / 9 for each in model.get_weights()])
    model.compile("adam", "sparse_categorical_crossentropy")
    config.set_num_threads(threads)
    try:
        model.fit(x, np.arange(len(x)) % 3, batch_size=batch, epochs=2, verbose=0, shuffle=False)
        return [model.predict(x), *model.get_weights()]
    finally:
        config.set_num_threads(None)


@pytest.mark.parametrize("batch", [32, 100, 400])
def test_bits_do_not_depend_on_threads(batch: int) -> None:
    first, second = fitted(1, batch), fitted(2, batch)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_predict_gives_one_row_as_it_gives_many() -> None:
    config.set_dtype_policy("mixed_bfloat16")
    model = models.Sequential(
        [layers.Input((37,)), layers.Dense(50, "relu"), layers.BatchNormalization(), layers.Dense(7)]
    )
    x = np.random.default_rng(0).standard_normal((70, 37)).astype(np.float32)
    np.testing.assert_array_equal(np.concatenate([model.predict(x[i : i + 1]) for i in range(70)]), model.predict(x))


def test_it_is_not_float32() -> None:
    x = np.full((1, 1), 1 + 2**-12, np.float32)
    mixed, exact = (
        layers.Dense(1, kernel_initializer="ones", dtype="mixed_bfloat16"),
        layers.Dense(1, kernel_initializer="ones"),
    )
    assert mixed(x) == 1
    assert exact(x) == x


def test_files(tmp_path: Path) -> None:
    config.set_dtype_policy("mixed_bfloat16")
    model = models.Sequential([layers.Input((20,)), layers.Dense(30, "tanh"), layers.Dense(3)])
    x = np.random.default_rng(0).standard_normal((50, 20)).astype(np.float32)
    model.save(tmp_path / "m.fastdl")
    report = model.export(tmp_path / "m.onnx")
    config.set_dtype_policy("float32")
    loaded = models.load_model(tmp_path / "m.fastdl")
    assert loaded.layers[0].dtype_policy == "mixed_bfloat16"
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    (served,) = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(None, {"input": x})
    with model.session.in_float32():  # files are float32
        np.testing.assert_allclose(model.predict(x), served, atol=1e-6)
    assert 1e-5 < np.abs(model.predict(x) - served).max() < 0.05
    assert report.predict_max_abs_error < 1e-6


def test_a_float32_file_stays_float32_under_the_policy(tmp_path: Path) -> None:
    model = models.Sequential([layers.Input((20,)), layers.Dense(3)])
    model.save(tmp_path / "m.fastdl")
    config.set_dtype_policy("mixed_bfloat16")
    assert models.load_model(tmp_path / "m.fastdl").layers[0].dtype_policy == "float32"


def test_reading_files_in_threads_leaves_the_policy() -> None:
    """Each thread has its own: two that read at once leave one after the other, and others are not touched."""
    config.set_dtype_policy("mixed_bfloat16")
    first, last = config.policy_of_files(), config.policy_of_files()
    inside, seen = threading.Barrier(2), list[str]()

    def read(one: Any, leaves_first: bool) -> None:
        with one:
            inside.wait(10)
            seen.append(config.dtype_policy())
            inside.wait(10)
            if not leaves_first:
                inside.wait(10)
        if leaves_first:
            inside.wait(10)

    readers = [threading.Thread(target=read, args=arguments) for arguments in ((first, True), (last, False))]
    for reader in readers:
        reader.start()
    assert config.dtype_policy() == "mixed_bfloat16"
    for reader in readers:
        reader.join()
    assert seen == ["float32", "float32"]
    assert config.dtype_policy() == "mixed_bfloat16"


def test_the_policy() -> None:
    assert config.dtype_policy() == "float32"
    config.set_dtype_policy("mixed_bfloat16")
    assert (config.dtype_policy(), layers.Dense(2).dtype_policy) == ("mixed_bfloat16", "mixed_bfloat16")
    assert layers.Dense(2, dtype="float32").dtype_policy == "float32"
    config.set_dtype_policy("float64")
    assert (config.dtype_policy(), config.floatx()) == ("float64", "float64")
    config.set_dtype_policy("float32")
    assert layers.Dense(2, dtype="mixed_bfloat16").get_config()["dtype"] == "mixed_bfloat16"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: config.set_dtype_policy("bfloat16"), "must be 'float32', 'float64' or 'mixed_bfloat16'"),
        (lambda: layers.Dense(2, dtype="float16"), "dtype must be float32, mixed_bfloat16 or None"),
        (
            lambda: layers.Dense(2, dtype="mixed_bfloat16")(layers.Input((3,), dtype="float64")),
            "mixed_bfloat16 is for float32 models",
        ),
    ],
)
def test_refused(wrong: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        wrong()


def test_a_cpu_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    config.round_to_bfloat16(False)
    monkeypatch.setattr(_ext, "multiplies_bfloat16", lambda: False)
    for made in (lambda: config.set_dtype_policy("mixed_bfloat16"), lambda: layers.Dense(2, dtype="mixed_bfloat16")):
        with pytest.raises(ValueError, match="needs a CPU with AVX512_BF16"):
            made()
    assert config.dtype_policy() == "float32"
