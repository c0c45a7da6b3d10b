"""PyTorch: eager with fused Adam, torch.compile around net and loss, and eager with autocast to bfloat16.

Denormals are flushed, as fastdl does.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from bench.workloads import Lookup, Unit, Workload, fastest

variant = ""


def setup(threads: int, which: str) -> None:
    """Called once, before anything else."""
    global variant
    variant = which
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)


def versions() -> dict[str, Any]:
    """Version."""
    return {"torch": torch.__version__}


def model(work: Workload) -> torch.nn.Sequential:
    """The net; the loss takes its logits."""
    parts: list[torch.nn.Module] = []
    for inputs, units in work.layers[:-1]:
        parts.append(torch.nn.Linear(inputs, units, bias=not work.norm))
        if work.norm:
            parts.append(torch.nn.BatchNorm1d(units, eps=1e-3, momentum=0.01))
        parts.append(torch.nn.ReLU() if work.activation == "relu" else torch.nn.Tanh())
    return torch.nn.Sequential(*parts, torch.nn.Linear(*work.layers[-1]))


def _stepper(work: Workload) -> tuple[torch.nn.Sequential, Any]:
    net = model(work)
    adam = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=variant == "bfloat16"):
            return cross_entropy(net(x), y)

    loss = torch.compile(loss_of) if variant == "compile" else loss_of

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        adam.zero_grad(set_to_none=True)
        loss(x, y).backward()
        adam.step()

    return net, step


def _epoch(step: Any, x: torch.Tensor, y: torch.Tensor, batch: int) -> None:
    if batch >= len(x):
        return step(x, y)
    order = torch.randperm(len(x))
    for start in range(0, len(x), batch):
        rows = order[start : start + batch]
        step(x[rows], y[rows])


def train(work: Workload) -> Unit:
    """An epoch."""
    x, y = map(torch.from_numpy, work.data)
    torch.compiler.reset()
    _, step = _stepper(work)
    return Unit(lambda: _epoch(step, x, y, work.batch), work.steps)


def train_many(work: Workload) -> Unit:
    """An epoch of several nets, the faster of vmap, with one order of rows for all, and one net after the other."""
    x, y = map(torch.from_numpy, work.data)
    weights, statistics = torch.func.stack_module_state([model(work) for _ in range(work.models)])
    form = copy.deepcopy(model(work)).to("meta")
    adam = torch.optim.Adam(weights.values(), lr=1e-3, fused=True)

    def loss_of(weights: Any, statistics: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return cross_entropy(torch.func.functional_call(form, (weights, statistics), (x,)), y)

    losses = torch.func.vmap(loss_of, (0, 0, None, None))

    def together(x: torch.Tensor, y: torch.Tensor) -> None:
        adam.zero_grad(set_to_none=True)
        losses(weights, statistics, x, y).sum().backward()
        adam.step()

    singles = [_stepper(work)[1] for _ in range(work.models)]
    steps = work.steps * work.models
    return fastest(
        [
            Unit(lambda: _epoch(together, x, y, work.batch), steps),
            Unit(lambda: [_epoch(step, x, y, work.batch) for step in singles], steps),
        ]
    )


def train_lookup(work: Lookup) -> Unit:
    """An epoch of a net on an Embedding, whose gradient is sparse unless all of its rows are stepped."""
    x, y = map(torch.from_numpy, work.data)
    table = torch.nn.Embedding(work.values, work.size, sparse=work.rule != "Adam")
    dense = torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(work.columns * work.size, work.hidden),
        torch.nn.ReLU(),
        torch.nn.Linear(work.hidden, 2),
    )
    if work.rule == "SGD":
        optimizers = [torch.optim.SGD(table.parameters(), 0.01), torch.optim.SGD(dense.parameters(), 0.01, fused=True)]
    else:
        adam = torch.optim.Adam(dense.parameters(), 1e-3, fused=True)
        of_table = (
            torch.optim.SparseAdam(list(table.parameters()), 1e-3)
            if work.rule == "SparseAdam"
            else torch.optim.Adam(table.parameters(), 1e-3, fused=True)
        )
        optimizers = [of_table, adam]

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        cross_entropy(dense(table(x)), y).backward()
        for optimizer in optimizers:
            optimizer.step()

    return Unit(lambda: _epoch(step, x, y, work.batch), work.steps)


def predict(work: Workload) -> Unit:
    """All rows at once, tensor to tensor."""
    x = torch.from_numpy(work.data[0])
    net = torch.nn.Sequential(*model(work), torch.nn.Softmax(1)).eval()

    def run() -> torch.Tensor:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=variant == "bfloat16"):
            return net(x)

    return Unit(run)


def matmul(a: Any, b: Any, transpose_a: bool, transpose_b: bool) -> Unit:
    """op(a) @ op(b) into a tensor that is there."""
    left, right = torch.from_numpy(a), torch.from_numpy(b)
    left, right = left.t() if transpose_a else left, right.t() if transpose_b else right
    out = torch.from_numpy(np.empty((left.shape[0], right.shape[1]), np.float32))
    return Unit(lambda: torch.mm(left, right, out=out))


class Learner:
    """Trains piece by piece and tells its accuracy."""

    def __init__(self, work: Workload, seed: int) -> None:
        torch.manual_seed(seed)
        self.batch, (self.net, self.step) = work.batch, _stepper(work)

    def learn(self, x: Any, y: Any) -> None:
        """One pass over the rows."""
        self.net.train()
        _epoch(self.step, torch.from_numpy(x), torch.from_numpy(y), self.batch)

    def accuracy(self, x: Any, y: Any) -> float:
        """Share of rows that it gets right."""
        self.net.eval()
        with torch.inference_mode():
            return float((self.net(torch.from_numpy(x)).argmax(1).numpy() == y).mean())
