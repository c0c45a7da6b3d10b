"""Which ops of a graph one kernel computes together: a layer and the activation or the batch norm behind it."""

from __future__ import annotations

from fastdl.compiler.graph import Graph, Op, Tensor


class Neighbours:
    """What is computed by the kernel of an op beside it, forward and backward."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.fused: set[Op] = set()  # ops whose forward the op before them does in its own kernel
        self.done_backward: set[Op] = set()  # ops whose backward another op does in its own kernel

    def only_consumer(self, tensor: Tensor) -> Op | None:
        """The one op that reads the tensor, or None when there are several, or it is an output."""
        consumers = self._graph.consumers.get(tensor, [])
        return consumers[0] if len(consumers) == 1 and tensor not in self._graph.outputs else None

    def relu_after(self, op: Op) -> Tensor | None:
        """The output of the ReLU that alone reads the op's output: the op's kernel can compute it as well."""
        follower = self.only_consumer(op.output)
        if follower is None or not follower.rectifies:
            return None
        self.fused.add(follower)
        return follower.output

    def relu_before(self, op: Op) -> Op | None:
        """The ReLU whose output only this op reads: the op's backward can pass its gradient on as well."""
        source = op.inputs[0].op
        if source is None or not source.rectifies or self.only_consumer(op.inputs[0]) is not op:
            return None
        if source in self.done_backward:
            return None
        self.done_backward.add(source)
        return source
