"""How arrays lie for the kernels: zeroed and aligned, large ones at the start of a large page, matrices in strips."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdl import _ext
from fastdl.compiler.graph import Parameter
from fastdl.compiler.memory import aligned, fill_strips, from_strips, strips_of, to_strips

LARGE, PAGE = 4 << 20, 2 << 20  # bytes


@pytest.mark.parametrize("count", [1, 1000, LARGE // 4 - 1, LARGE // 4, LARGE // 4 + 1])
def test_new_arrays_are_zero_and_aligned(count: int) -> None:
    array = aligned((count,), np.dtype(np.float32))
    assert array.shape == (count,)
    assert not array.any()
    whole = PAGE if sys.platform == "linux" and array.nbytes >= LARGE else 64
    assert array.__array_interface__["data"][0] % whole == 0


@given(st.integers(1, 40), st.integers(1, 100))
def test_a_matrix_comes_out_of_its_strips_as_it_was(rows: int, columns: int) -> None:
    matrix = np.arange(1, rows * columns + 1, dtype=np.float32).reshape(rows, columns)
    strips = to_strips(matrix)
    assert strips.shape == (-(-columns // _ext.STRIP), rows, _ext.STRIP)
    np.testing.assert_array_equal(from_strips(strips, columns), matrix)
    assert np.count_nonzero(strips) == matrix.size  # the padding is zero
    other = fill_strips(strips_of(matrix.shape, matrix.dtype), -matrix)
    np.testing.assert_array_equal(fill_strips(other, matrix), strips)


@given(st.integers(1, 5), st.integers(1, 70))
def test_what_is_assigned_leaves_the_padding_alone(rows: int, columns: int) -> None:
    parameter = Parameter("w", (rows, columns), np.dtype(np.float32), None)
    np.testing.assert_array_equal(parameter.numpy(), np.zeros((rows, columns)))
    value = np.full((rows, columns), 3, np.float32)
    parameter.assign(value)
    parameter.assign_add(value)
    np.testing.assert_array_equal(parameter.storage, to_strips(2 * value))
