"""JAX: one jitted step at a time, and a whole epoch in one lax.scan. Adam by hand, buffers donated.

The step finds its rows by a counter in its own state, so that nothing crosses from the host between steps.
Where a batch is all rows, the scan runs over FULL_BATCH_STEPS steps: its strongest form.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.workloads import Unit, Workload, fastest

FULL_BATCH_STEPS = 50
State = dict[str, Any]
variant = ""


def setup(threads: int, which: str) -> None:
    """Called once, before anything else; the threads come from the cores that the process may use."""
    global variant
    variant = which


def versions() -> dict[str, Any]:
    """Version."""
    return {"jax": jax.__version__}


def initial(work: Workload) -> State:
    """Weights, batch norm's running statistics, Adam's moments and the count of steps."""
    rng = np.random.default_rng(1)
    weights, running = [], []
    for i, (inputs, units) in enumerate(work.layers):
        limit = np.sqrt(6 / (inputs + units))
        layer = {"w": jnp.asarray(rng.uniform(-limit, limit, (inputs, units)), jnp.float32)}
        if work.norm and i < len(work.layers) - 1:
            layer |= {"beta": jnp.zeros(units), "gamma": jnp.ones(units)}
            running.append((jnp.zeros(units), jnp.ones(units)))
        else:
            layer["b"] = jnp.zeros(units)
        weights.append(layer)
    zeros = functools.partial(jax.tree.map, jnp.zeros_like)
    return {"w": weights, "bn": running, "m": zeros(weights), "v": zeros(weights), "t": jnp.zeros((), jnp.int32)}


def forward(weights: Any, running: Any, x: Any, activation: str, training: bool) -> tuple[Any, Any]:
    """Logits, and the running statistics after this batch."""
    act = jax.nn.relu if activation == "relu" else jnp.tanh
    updated = []
    for i, layer in enumerate(weights):
        x = x @ layer["w"]
        if "b" in layer:
            x = x + layer["b"]
        else:
            mean, variance = running[i]
            if training:
                kept_mean, kept_variance = running[i]
                mean, variance = x.mean(0), x.var(0)
                updated.append((0.99 * kept_mean + 0.01 * mean, 0.99 * kept_variance + 0.01 * variance))
            x = (x - mean) * (layer["gamma"] * jax.lax.rsqrt(variance + 1e-3)) + layer["beta"]
        if i < len(weights) - 1:
            x = act(x)
    return x, updated


def update(state: State, x: Any, y: Any, activation: str) -> tuple[State, Any]:
    """One step of Adam: the next state and the loss."""

    def loss_of(weights: Any) -> tuple[Any, Any]:
        logits, running = forward(weights, state["bn"], x, activation, training=True)
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1)
        return -picked.mean(), running

    (loss, running), gradients = jax.value_and_grad(loss_of, has_aux=True)(state["w"])
    t = state["t"] + 1
    rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state["m"], gradients)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, state["v"], gradients)
    w = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), state["w"], m, v)
    return {"w": w, "bn": running, "m": m, "v": v, "t": t}, loss


def train(work: Workload) -> Unit:
    """An epoch."""
    if variant == "scan":
        return _scans(work)
    x, y = jnp.asarray(work.data[0]), jnp.asarray(work.data[1], jnp.int32)
    rows = len(x) - len(x) % work.batch
    steps = rows // work.batch
    held = {"state": initial(work)}
    rng = np.random.default_rng(2)

    @functools.partial(jax.jit, donate_argnums=0)
    def one(state: State, x: Any, y: Any, order: Any) -> tuple[State, Any]:
        if work.full_batch:
            return update(state, x, y, work.activation)
        chosen = jax.lax.dynamic_slice(order, (state["t"] % steps * work.batch,), (work.batch,))
        return update(state, x[chosen], y[chosen], work.activation)

    def epoch() -> None:
        order = jnp.asarray(rng.permutation(len(x))[:rows].astype(np.int32))
        for _ in range(steps):
            held["state"], loss = one(held["state"], x, y, order)
        jax.block_until_ready((held["state"], loss))

    return Unit(epoch, steps)


def _scans(work: Workload) -> Unit:
    """An epoch in one call: rows taken before the scan, or in it, whichever is faster here."""

    def repeated(state: State, x: Any, y: Any, order: Any) -> tuple[State, Any]:
        step = functools.partial(update, activation=work.activation)
        return jax.lax.scan(lambda state, _: step(state, x, y), state, None, FULL_BATCH_STEPS)

    if work.full_batch:
        return _unit(work, repeated, initial(work), FULL_BATCH_STEPS)
    return fastest([_unit(work, epoch, initial(work), work.rows // work.batch) for epoch in _epochs(work)])


def _epochs(work: Workload) -> tuple[Any, Any]:
    """An epoch as a scan: rows taken before it, and in it."""
    steps = work.rows // work.batch
    step = functools.partial(update, activation=work.activation)

    def before(state: State, x: Any, y: Any, order: Any) -> tuple[State, Any]:
        batches = tuple(array[order].reshape(steps, work.batch, *array.shape[1:]) for array in (x, y))
        return jax.lax.scan(lambda state, batch: step(state, *batch), state, batches)

    def inside(state: State, x: Any, y: Any, order: Any) -> tuple[State, Any]:
        chunks = order.reshape(steps, work.batch)
        return jax.lax.scan(lambda state, chosen: step(state, x[chosen], y[chosen]), state, chunks)

    return before, inside


def _unit(work: Workload, whole: Any, state: State, steps: int, orders: int = 0) -> Unit:
    """One call of what is jitted whole. orders: so many orders of the rows, one below the other, or 0 for one alone."""
    x, y = jnp.asarray(work.data[0]), jnp.asarray(work.data[1], jnp.int32)
    rows = work.rows - work.rows % work.batch
    compiled, held, rng = jax.jit(whole, donate_argnums=0), {"state": state}, np.random.default_rng(2)

    def order() -> Any:
        return rng.permutation(work.rows)[:rows].astype(np.int32)

    def run() -> None:
        drawn = np.stack([order() for _ in range(orders)]) if orders else order()
        held["state"], loss = compiled(held["state"], x, y, jnp.asarray(drawn))
        jax.block_until_ready((held["state"], loss))

    return Unit(run, steps)


def train_many(work: Workload) -> Unit:
    """An epoch of several nets in one call, the fastest of vmap with one order of rows for all or each, and a map."""
    before, inside = _epochs(work)
    steps = work.rows // work.batch * work.models

    def after_each_other(states: State, x: Any, y: Any, orders: Any) -> Any:
        return jax.lax.map(lambda one: inside(one[0], x, y, one[1]), (states, orders))

    def unit(whole: Any, orders: int) -> Unit:
        states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[initial(work) for _ in range(work.models)])
        return _unit(work, whole, states, steps, orders)

    shared, own = (0, None, None, None), (0, None, None, 0)
    forms = [unit(jax.vmap(epoch, shared), 0) for epoch in (before, inside)]
    forms += [unit(whole, work.models) for whole in (jax.vmap(inside, own), after_each_other)]
    return fastest(forms)


def predict(work: Workload) -> Unit:
    """All rows at once, device array to device array."""
    x, state = jnp.asarray(work.data[0]), initial(work)

    @jax.jit
    def run(weights: Any, running: Any, x: Any) -> Any:
        return jax.nn.softmax(forward(weights, running, x, work.activation, training=False)[0])

    return Unit(lambda: run(state["w"], state["bn"], x).block_until_ready())
