"""Learning-rate schedules beside Keras's, and OneCycle beside PyTorch's OneCycleLR: the same rates at every step."""

import inspect
import math
import warnings
from typing import Any

import numpy as np
import pytest

from fastdl import schedules

from .runs import compiled, floatx, keras_precision, train, worst
from .table import LOSS_RTOL, Array, Dtype, Row

pytestmark = [
    pytest.mark.peer,
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras with numpy 2
]

# what: (class, arguments); a new configuration is one line
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "inverse time": ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.5}),
    "inverse time, stairs": (
        "InverseTimeDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.5, "staircase": True},
    ),
    "exponential": ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.9}),
    "exponential, stairs": (
        "ExponentialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.9, "staircase": True},
    ),
    "exponential, growing": ("ExponentialDecay", {"initial_learning_rate": 1e-6, "decay_steps": 99, "decay_rate": 1e7}),
    "piecewise": ("PiecewiseConstantDecay", {"boundaries": [3, 50, 51], "values": [1.0, 0.5, 0.1, 0.01]}),
    "piecewise, one": ("PiecewiseConstantDecay", {"boundaries": [20], "values": [0.1, 0.2]}),
    "polynomial": ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 60}),
    "polynomial, square": (
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 60, "end_learning_rate": 0.02, "power": 2.0},
    ),
    "polynomial, cycles": (
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 16, "power": 0.5, "cycle": True},
    ),
    "cosine": ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 64}),
    "cosine, alpha": ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 64, "alpha": 0.1}),
    "cosine, warm-up": (
        "CosineDecay",
        {
            "initial_learning_rate": 0.01,
            "decay_steps": 64,
            "alpha": 0.1,
            "warmup_target": 0.3,
            "warmup_steps": 16,
        },
    ),
    "restarts": ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 16}),
    "restarts, equal": (
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 16, "t_mul": 1.0, "m_mul": 0.5, "alpha": 0.1},
    ),
    "restarts, longer and lower": (
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 16, "t_mul": 1.5, "m_mul": 0.8, "alpha": 0.05},
    ),
}
RTOL = {"float32": 3e-6, "float64": 1e-12}
each_case = pytest.mark.parametrize("name", CASES)


@each_case
@pytest.mark.parametrize("dtype", RTOL)
def test_rates_as_keras(name: str, dtype: Dtype) -> None:
    keras = pytest.importorskip("keras")
    kind, arguments = CASES[name]
    if dtype == "float32" and arguments.get("t_mul") == 1.5:
        pytest.skip("rounding the logarithms to float32, Keras misses a restart by a step")
    with keras_precision(keras, dtype):
        peer = getattr(keras.optimizers.schedules, kind)(**arguments)
        theirs = np.array([float(peer(step)) for step in range(130)])
    ours = getattr(schedules, kind)(**arguments).rates(np.arange(130))
    np.testing.assert_allclose(ours, theirs, rtol=RTOL[dtype], atol=RTOL[dtype] * ours.max())


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in CASES.values()}))
def test_arguments_defaults_and_configs(kind: str) -> None:
    keras = pytest.importorskip("keras")
    theirs, ours = getattr(keras.optimizers.schedules, kind), getattr(schedules, kind)
    expected, found = inspect.signature(theirs).parameters, inspect.signature(ours).parameters
    assert [(p.name, p.default) for p in found.values()] == [(p.name, p.default) for p in expected.values()]
    arguments = next(arguments for name, arguments in CASES.values() if name == kind)
    assert ours(**arguments).get_config() == theirs(**arguments).get_config()


@pytest.mark.parametrize(("optimizer", "scale"), [("SGD", 1.0), ("Adam", 0.02)])
@pytest.mark.parametrize("name", ["cosine, warm-up", "exponential, stairs", "piecewise"])
def test_training_with_a_schedule_as_keras(name: str, optimizer: str, scale: float) -> None:
    """100 steps: a rate that is one step early or late would show."""
    keras, fastdl = pytest.importorskip("keras"), pytest.importorskip("fastdl")
    kind, arguments = CASES[name]
    scaled = {key: scale * arguments[key] for key in ("initial_learning_rate", "warmup_target") if key in arguments}
    if "values" in arguments:
        scaled["values"] = [scale * value for value in arguments["values"]]
    losses = []
    for api, precision in ((keras, keras_precision), (fastdl, floatx)):
        with precision(api, "float64"):
            schedule = getattr(api.optimizers.schedules, kind)(**{**arguments, **scaled})
            row = Scheduled("softmax", "sgd", optimizer, schedule)
            losses.append(train(compiled(api, row), row, "float64", reset=api is keras).losses)
    assert worst(losses[1], losses[0]) <= LOSS_RTOL["float64"]


class Scheduled(Row):
    """A row whose optimizer follows a schedule."""

    def __init__(self, net_name: str, optimizer_name: str, kind: str, schedule: Any) -> None:
        super().__init__(net_name, optimizer_name)
        object.__setattr__(self, "chosen", (kind, {"learning_rate": schedule}))

    @property
    def optimizer(self) -> Any:
        return self.chosen  # type: ignore[attr-defined]


ONE_CYCLES: dict[str, dict[str, Any]] = {
    "plain": {"total_steps": 100},
    "epochs": {"epochs": 7, "steps_per_epoch": 13},
    "straight": {"total_steps": 100, "anneal_strategy": "linear"},
    "three phases": {"total_steps": 100, "three_phase": True},
    "three straight phases": {"total_steps": 97, "three_phase": True, "anneal_strategy": "linear"},
    "factors": {"total_steps": 50, "div_factor": 10.0, "final_div_factor": 100.0},
    "late": {"total_steps": 30, "pct_start": 0.9},
    "early": {"total_steps": 30, "pct_start": 0.05},
    "no rise": {"total_steps": 30, "pct_start": 0.0},
    "rise only": {"total_steps": 30, "pct_start": 1.0},
    "three phases, late": {"total_steps": 30, "pct_start": 0.6, "three_phase": True},
    "three phases, early": {"total_steps": 30, "pct_start": 0.02, "three_phase": True},
}


def torch_rates(torch: Any, arguments: dict[str, Any], steps: int) -> Array:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.3, cycle_momentum=False, **arguments)
    rates = [scheduler.get_last_lr()[0]]
    for _ in range(steps - 1):
        with warnings.catch_warnings(action="ignore"):  # that no optimizer.step() came between
            scheduler.step()
        rates.append(scheduler.get_last_lr()[0])
    return np.array(rates)


@pytest.mark.parametrize("name", ONE_CYCLES)
def test_one_cycle_as_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    arguments = ONE_CYCLES[name]
    ours = schedules.OneCycle(0.3, **arguments)
    steps = ours.total_steps
    assert steps == arguments.get("total_steps", math.prod(arguments.get(k, 1) for k in ("epochs", "steps_per_epoch")))
    np.testing.assert_allclose(ours.rates(np.arange(steps)), torch_rates(torch, arguments, steps), rtol=1e-9)


def test_one_cycles_arguments_as_torch() -> None:
    torch = pytest.importorskip("torch")
    theirs = inspect.signature(torch.optim.lr_scheduler.OneCycleLR).parameters
    for name, argument in inspect.signature(schedules.OneCycle).parameters.items():
        assert name == "name" or argument.default == theirs[name].default, name
