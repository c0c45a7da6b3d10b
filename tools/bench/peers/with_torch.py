"""PyTorch: eager with fused Adam, torch.compile around net and loss, and eager with autocast to bfloat16.

Denormals are flushed, as fastdl does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from bench.workloads import Unit, Workload

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
