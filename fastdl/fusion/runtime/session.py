"""onnxruntime sessions set up for small dense graphs, and buffers bound to them once per batch shape."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastdl.base.arrays import Array, Dtype
from fastdl.fusion.graph.memory import memory_errors

if TYPE_CHECKING:
    from types import ModuleType

# onnxruntime's names of element types that numpy has too
DTYPES: dict[str, Dtype] = {
    "tensor(float16)": np.dtype(np.float16),
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
    "tensor(bool)": np.dtype(np.bool_),
    **{f"tensor({n})": np.dtype(n) for n in ("int8", "int16", "int32", "int64")},
    **{f"tensor({n})": np.dtype(n) for n in ("uint8", "uint16", "uint32", "uint64")},
}


Feed = dict[str, Array]  # the inputs of a run, by name


def load_onnxruntime() -> ModuleType:
    """The onnxruntime module, its telemetry off: it would write below the home's cache folder once it is imported.

    Whoever imports it before us has let it; then it is told to write no more.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    if "onnxruntime" in sys.modules:
        import onnxruntime
    else:  # Ctrl-C while its library is loaded would be a crash: it is heard right after
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        try:
            import onnxruntime
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    onnxruntime.disable_telemetry_events()
    module: ModuleType = onnxruntime
    return module


@dataclass(frozen=True)
class Port:
    """An input or output of a session: its name, type in onnxruntime's words, and sizes, None or names where free."""

    name: str
    type: str
    shape: list[int | str | None]


class Session:
    """A CPU session over serialized bytes; raises what onnxruntime raises, MemoryError where memory ran out.

    weights: of the initializers that the model says lie outside of it, by name; packed: whether onnxruntime may copy
    them into the order that its kernels read fastest, which takes as much memory again.
    Settings: https://onnxruntime.ai/docs/performance/tune-performance/threading.html
    """

    def __init__(
        self,
        model: bytes,
        threads: int = 1,
        optimise: bool = True,
        weights: Mapping[str, Array] | None = None,
        packed: bool = True,
    ) -> None:
        ort = load_onnxruntime()
        options = ort.SessionOptions()
        options.log_severity_level = 4  # errors are raised; they need not be printed as well
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
        if weights:
            options.add_session_config_entry("session.disable_prepacking", "0" if packed else "1")
            # An OrtValue shares the array's memory, which must outlive it: we keep both. The first call lets the
            # optimiser read the values, the second has the kernels read them where they are.
            self._weights = weights, [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
            options.add_external_initializers(list(weights), self._weights[1])
            for name, value in zip(weights, self._weights[1], strict=True):
                options.add_initializer(name, value)
        with memory_errors():
            self.inner = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def get_inputs(self) -> list[Port]:
        """The inputs, in order."""
        return [Port(i.name, i.type, list(i.shape)) for i in self.inner.get_inputs()]

    def get_outputs(self) -> list[Port]:
        """The outputs, in order."""
        return [Port(o.name, o.type, list(o.shape)) for o in self.inner.get_outputs()]

    def run(self, names: Sequence[str] | None, feed: Mapping[str, Array], options: Any = None) -> list[Any]:
        """The outputs of those names, or all: arrays, and lists where they are no tensors."""
        with memory_errors():
            results: list[Any] = self.inner.run(names, feed, options)
        return results


class Binding:
    """Input and output buffers of one shape, bound to a session. One thread at a time may use it."""

    @memory_errors()
    def __init__(
        self,
        session: Session,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
    ) -> None:
        ort = load_onnxruntime()
        self._session = session.inner
        self._binding = session.inner.io_binding()
        self.inputs = [np.array(a, order="C") for a in inputs.values()]
        self.outputs = [np.empty_like(a, order="C") for a in outputs.values()]
        for name, buffer in zip(inputs, self.inputs, strict=True):
            # On the CPU an OrtValue shares the array's memory, which must outlive it: we keep both.
            self._binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(buffer))
        for name, buffer in zip(outputs, self.outputs, strict=True):
            self._binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(buffer))

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run on arrays of the bound shapes and dtypes; the results are the caller's own."""
        for buffer, array in zip(self.inputs, inputs, strict=True):
            buffer[...] = array
        try:  # which takes no time where nothing is wrong: a small net answers in microseconds
            self._session.run_with_iobinding(self._binding)
        except Exception:
            with memory_errors():
                raise
        return [buffer.copy() for buffer in self.outputs]
