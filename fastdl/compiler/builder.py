"""What ops see while a program is built: buffers and kernels, gradients, steps, neighbours, targets, random draws."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

from fastdl import _ext
from fastdl.compiler.buffers import Buffers
from fastdl.compiler.feeds import FEEDS, W_FEED, Y_FEED
from fastdl.compiler.gradients import Gradients
from fastdl.compiler.graph import Graph, Op, Parameter, Target, Tensor
from fastdl.compiler.neighbours import Neighbours
from fastdl.compiler.phases import Ref, write
from fastdl.compiler.steps import Exchange, Steps, UpdateRule


class Mixing(Protocol):
    """What an op that mixes the samples of a batch leaves for all else that is mixed alike: targets, above all."""

    def mix(self, build: Any, x: Ref, y: Ref, features: int, back: bool = False) -> None: ...


class Builder(Buffers):
    """Buffers by tensor, and the kernels that work on them; gradients, steps and neighbours each know their own part.

    noisy: whether what is random in training is; as training, if None. trained: the parameters that are stepped.
    learned: the part of the graph that losses look at. recalibrates: batch norm's moving averages become the batch's
    statistics. counts_penalties: whether there is a loss for them to be part of. moves: whether what training keeps
    beside the weights changes, as moving averages do; if nothing is said, where there is an optimizer. exchange: see
    Steps.
    """

    def __init__(
        self,
        graph: Graph,
        batch: int,
        training: bool,
        optimizer: UpdateRule | None,
        noisy: bool | None = None,
        trained: Collection[Parameter] | None = None,
        learned: Graph | None = None,
        recalibrates: bool = False,
        counts_penalties: bool = False,
        moves: bool | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        super().__init__(graph, batch, training)
        self.optimizer = optimizer
        self.noisy = training if noisy is None else noisy
        self.recalibrates, self.counts_penalties = recalibrates, counts_penalties
        self.moves = (optimizer is not None or recalibrates) if moves is None else moves
        self.output = 0  # whose targets and weights the terminals ask for
        self.saved: dict[Op, tuple[Ref, ...]] = {}  # what an op's forward keeps for its backward
        self.mixing: Mixing | None = None  # of the batch's samples, and then of its targets
        self.neighbours = Neighbours(graph)
        self.steps = Steps(self, graph, learned or graph, optimizer, trained, exchange=exchange)
        self.gradients = Gradients(self, graph, self.steps)
        self._targets: dict[int, Ref] = {}
        self._weights: dict[int, Ref] = {}

    def feed(self, first: int, output: int | None = None) -> int:
        """The number of the feed of an output, of the terminal's if None; that of output 0 is given."""
        return first + FEEDS * (self.output if output is None else output)

    def _gathered(self, feed: int, features: int) -> Ref:
        ref = self.panel_ref(features)
        self.emit("gather", out=write(ref), feed=feed, features=features, axis=_ext.BY_PANEL)
        return ref

    def target(self, features: int, output: int | None = None) -> Ref:
        """The batch's rows of an output's targets, of the terminal's if None, gathered once."""
        feed = self.feed(Y_FEED, output)
        if feed not in self._targets:
            plain = self._targets[feed] = self._gathered(feed, features)
            if self.mixing:
                self._targets[feed] = self.panel_ref(features)
                self.mixing.mix(self, plain, self._targets[feed], features)
        return self._targets[feed]

    def value(self, tensor: Tensor) -> Ref:
        """As Buffers.value; of targets, the batch's rows, gathered once."""
        if isinstance(tensor, Target) and tensor not in self._values:
            self.bind(tensor, self.target(tensor.features, tensor.output))
        return super().value(tensor)

    def weight(self) -> Ref:
        """The batch's weights of the output's samples, gathered once."""
        if self.output not in self._weights:
            self._weights[self.output] = self._gathered(self.feed(W_FEED), 1)
        return self._weights[self.output]

    def acts(self, op: Op) -> bool:
        """Whether a random op draws."""
        return self.noisy if op.active is None else op.active

    def stream(self, op: Op) -> int:
        """The number of a random op's stream: its seed, or its place among those of its kind; kinds are far apart."""
        assert op.randomness is not None
        if op.seed is not None:
            return _ext.SEEDED + (op.randomness << 32) + op.seed
        alike = [other for other in self.graph.ops if other.randomness == op.randomness]
        return (op.randomness << 32) + alike.index(op)
