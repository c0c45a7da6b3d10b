"""An optimizer's steps by gradients that are given, without a graph that computes them."""

from __future__ import annotations

from collections.abc import Sequence

from fastdl import _ext, config
from fastdl.base.arrays import Array
from fastdl.compiler.buffers import Buffers
from fastdl.compiler.graph import Graph, Parameter, Tensor
from fastdl.compiler.phases import place, schedule
from fastdl.compiler.program import emit
from fastdl.compiler.steps import Steps, UpdateRule

THREADS_FROM_SIZE = 65536  # fewer numbers are stepped before a second thread has helped


class Stepper:
    """Steps parameters, of one dtype, by gradients of their shapes. still: others whose moving averages go on."""

    def __init__(self, optimizer: UpdateRule, parameters: Sequence[Parameter], still: Sequence[Parameter] = ()) -> None:
        dtype = (*parameters, *still)[0].dtype
        graph = Graph([Tensor((None, 1), dtype)], [])
        build = Buffers(graph, 1, training=True)
        steps = Steps(build, graph, graph, optimizer, parameters, penalized=False)
        self._parameters, self._gradients = parameters, [parameter.like() for parameter in parameters]
        for parameter, storage in zip(parameters, self._gradients, strict=True):
            steps.take(parameter, build.array(storage))
        steps.finish()
        for parameter in still:
            steps.average(parameter)
        calls = schedule(build.calls)
        self._arena = place(calls)
        self._program = _ext.Program(1, dtype.itemsize)
        emit(self._program, calls)
        self._large = sum(parameter.size for parameter in parameters) >= THREADS_FROM_SIZE

    def run(self, gradients: Sequence[Array], rates: Array, step: int) -> None:
        """One step. gradients: each of its parameter's shape and dtype."""
        for parameter, storage, gradient in zip(self._parameters, self._gradients, gradients, strict=True):
            storage[...] = parameter.laid_out(gradient)
        threads = config.get_num_threads() if self._large else 1
        self._program.run({}, 0, 1, None, rates, step, 0, threads)
