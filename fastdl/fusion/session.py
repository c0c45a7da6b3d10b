"""onnxruntime sessions set up for small dense graphs, and buffers bound to them once per batch shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnxruntime

# onnxruntime's names of element types that numpy has too
DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(float16)": np.dtype(np.float16),
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
    "tensor(bool)": np.dtype(np.bool_),
    **{f"tensor({n})": np.dtype(n) for n in ("int8", "int16", "int32", "int64")},
    **{f"tensor({n})": np.dtype(n) for n in ("uint8", "uint16", "uint32", "uint64")},
}


def open_session(model: bytes, *, threads: int = 1, optimise: bool = True) -> onnxruntime.InferenceSession:
    """A CPU session over serialized bytes; raises what onnxruntime raises.

    Settings: https://onnxruntime.ai/docs/performance/tune-performance/threading.html
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4  # errors are raised; they need not be printed as well
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class Binding:
    """Input and output buffers of one shape, bound to a session. One thread at a time may use it."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        inputs: Mapping[str, npt.NDArray[Any]],
        outputs: Mapping[str, npt.NDArray[Any]],
    ) -> None:
        import onnxruntime as ort

        self._session = session
        self._binding = session.io_binding()
        self.inputs = [np.array(a, order="C") for a in inputs.values()]
        self.outputs = [np.empty_like(a, order="C") for a in outputs.values()]
        for name, buffer in zip(inputs, self.inputs, strict=True):
            # On the CPU an OrtValue shares the array's memory, which must outlive it: we keep both.
            self._binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(buffer))
        for name, buffer in zip(outputs, self.outputs, strict=True):
            self._binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(buffer))

    def run(self, inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Run on arrays of the bound shapes and dtypes; the results are the caller's own."""
        for buffer, array in zip(self.inputs, inputs, strict=True):
            buffer[...] = array
        self._session.run_with_iobinding(self._binding)
        return [buffer.copy() for buffer in self.outputs]
