"""What a metric of one's own counts in: an array under a name, with Keras's ways to set it."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastdl.base.arrays import Array, Dtype
from fastdl.errors import ShapeError


class Variable(np.lib.mixins.NDArrayOperatorsMixin):
    """An array in numpy that keeps its shape and dtype; functions of numpy and operators take it as one (Keras)."""

    trainable = False

    def __init__(self, value: Any, dtype: Dtype, name: str) -> None:
        self._value: Array = np.array(value, dtype)
        self.name = name
        self.of: Any = None  # the metric that it was made for

    @property
    def path(self) -> str:
        """The metric's name, and its own (Keras)."""
        return f"{self.of.name}/{self.name}" if self.of is not None else self.name

    @property
    def value(self) -> Array:
        """A copy of the array."""
        return self._value.copy()

    def numpy(self) -> Array:
        """A copy of the array."""
        return self._value.copy()

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._value.shape)

    @property
    def size(self) -> int:
        return self._value.size

    @property
    def ndim(self) -> int:
        return self._value.ndim

    @property
    def dtype(self) -> Dtype:
        return np.dtype(self._value.dtype)

    def assign(self, value: Any) -> Variable:
        """Set it. ShapeError for another shape."""
        array = np.asarray(value)
        if array.shape != self.shape:
            raise ShapeError(f"the variable {self.name!r} has shape {self.shape}, the new value {array.shape}")
        self._value[...] = array
        return self

    def assign_add(self, value: Any) -> Variable:
        """Add to it. ShapeError if that would change its shape."""
        return self.assign(self._value + np.asarray(value))

    def assign_sub(self, value: Any) -> Variable:
        """Subtract from it. ShapeError if that would change its shape."""
        return self.assign(self._value - np.asarray(value))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self._value, dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [each._value if isinstance(each, Variable) else each for each in inputs]
        if (out := options.get("out")) is not None:
            options["out"] = tuple(each._value if isinstance(each, Variable) else each for each in out)
        result = getattr(ufunc, method)(*plain, **options)
        return result if out is None else out[0] if len(out) == 1 else out

    def __getitem__(self, key: Any) -> Any:
        return self._value[key]

    def __len__(self) -> int:
        return len(self._value)

    def __float__(self) -> float:
        return float(self._value)

    def __int__(self) -> int:
        return int(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return f"<Variable {self.name}, shape {self.shape}, {self.dtype}: {self._value!r}>"
