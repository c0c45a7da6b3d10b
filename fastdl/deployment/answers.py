"""What a service answers: JSON's values in, JSON's values out."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastdl.errors import DataError
from fastdl.runner import Runner


def answers(runner: Runner, inputs: Any) -> dict[str, list[Any]]:
    """Each output by name, as lists that JSON can hold: null for what is no finite number.

    inputs, as JSON gives them: rows as mappings, or a mapping of columns, for a model of columns; nested lists; or a
    mapping of them by input. Raises FastdlError, as `Runner.predict`.
    """
    if not isinstance(inputs, list | dict):
        raise DataError(f"the inputs must be rows, columns or nested lists, not {type(inputs).__name__}")
    outputs = runner.predict(inputs)
    named = outputs if isinstance(outputs, dict) else {runner.outputs[0].name: outputs}
    return {name: _plain(np.asarray(value)) for name, value in named.items()}


def _plain(values: Any) -> Any:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        finite, values = np.isfinite(values), values.astype(object)
        values[~finite] = None
    return values.tolist()
