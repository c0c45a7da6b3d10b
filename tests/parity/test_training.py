"""100 training steps in fastdl, Keras 3 and PyTorch from the same weights and batches: the same numbers."""

import numpy as np
import pytest

from .runs import Run, by_fastdl, by_keras, by_torch, compiled, train, worst
from .table import AFTER_RTOL, LOSS_RTOL, ROWS, Array, Dtype, Row

pytestmark = [
    pytest.mark.peer,
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras with numpy 2
]
each_row = pytest.mark.parametrize("row", ROWS, ids=str)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def assert_same_losses(ours: Run, theirs: Run, dtype: Dtype) -> None:
    assert ours.losses.shape == theirs.losses.shape
    off = np.abs(ours.losses - theirs.losses) / np.abs(theirs.losses)
    step = int(off.argmax())
    assert worst(ours.losses, theirs.losses) <= LOSS_RTOL[dtype], (
        f"worst at step {step}: {ours.losses[step]!r}, theirs {theirs.losses[step]!r}; "
        f"first beyond the tolerance at step {int((off > LOSS_RTOL[dtype]).argmax())}"
    )


def assert_close(ours: Array | None, theirs: Array | None, dtype: Dtype, what: str) -> None:
    """Within the tolerance of the array's largest element."""
    assert ours is not None
    assert theirs is not None
    assert ours.shape == theirs.shape, what
    assert np.abs(ours - theirs).max() <= AFTER_RTOL[dtype] * np.abs(theirs).max(), what


@each_dtype
@each_row
def test_references_agree(row: Row, dtype: Dtype) -> None:
    """Keras and PyTorch with each other: proves the table and the translation, without fastdl."""
    keras, torch = by_keras(row, dtype), by_torch(row, dtype)
    assert_same_losses(keras, torch, dtype)
    assert keras.weights[0].dtype == dtype
    assert keras.losses[-10:].mean() < 0.95 * keras.losses[:10].mean(), "it learns nothing, so it tests little"


@each_row
def test_table_is_not_chaotic(row: Row) -> None:
    """Rounding to float32 moves no loss by a tenth of the tolerance, so a difference is an error."""
    assert worst(by_torch(row, "float32").losses, by_torch(row, "float64").losses) < LOSS_RTOL["float32"] / 10


@each_dtype
@each_row
def test_losses_as_torch(row: Row, dtype: Dtype) -> None:
    assert_same_losses(by_fastdl(row, dtype), by_torch(row, dtype), dtype)


@each_dtype
@each_row
def test_losses_as_keras(row: Row, dtype: Dtype) -> None:
    assert_same_losses(by_fastdl(row, dtype), by_keras(row, dtype), dtype)


@each_dtype
@each_row
def test_weights_and_inference_as_keras(row: Row, dtype: Dtype) -> None:
    """All weights, moving statistics among them, then `predict` and `evaluate`, which use those."""
    if row.net.noisy_bias and row.optimizer[0] == "Adam" and dtype == "float32":
        pytest.skip("Adam follows the rounding of a gradient that is zero; float64 tests this row")
    ours, theirs = by_fastdl(row, dtype), by_keras(row, dtype)
    assert len(ours.weights) == len(theirs.weights)
    for i, (a, b) in enumerate(zip(ours.weights, theirs.weights, strict=True)):
        assert a.dtype == dtype
        assert_close(a, b, dtype, f"weight {i} of shape {b.shape}")
    assert_close(ours.predicted, theirs.predicted, dtype, "predict")
    assert_close(ours.evaluated, theirs.evaluated, dtype, "evaluate")
    if theirs.accuracies is not None:
        assert ours.accuracies is not None
        assert np.abs(ours.accuracies - theirs.accuracies).max() <= 1e-6, "accuracy of each batch"


def test_dtype_argument_is_floatx() -> None:
    """`Sequential(layers, dtype="float64")`, which Keras lacks, computes what `set_floatx` does."""
    import fastdl

    row = Row("bn-before", "adam")
    ours = train(compiled(fastdl, row, dtype="float64"), row, "float64")
    assert np.array_equal(ours.losses, by_fastdl(row, "float64").losses)
    for a, b in zip(ours.weights, by_fastdl(row, "float64").weights, strict=True):
        assert np.array_equal(a, b)
