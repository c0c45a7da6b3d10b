"""Losses, with Keras's names: which kernel computes them, and from which tensor. Called, they take numpy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from fastdl import _ext
from fastdl.base import configured
from fastdl.base.arrays import Array, refuse_masked
from fastdl.base.configured import Configured, family, names_of
from fastdl.base.naming import no_such, snake_case, unknown
from fastdl.base.weighting import same_rank, weighted
from fastdl.compiler.graph import NoTruthError, Tensor
from fastdl.compiler.phases import Arguments
from fastdl.compiler.program import Terminal
from fastdl.ops import Activation, BatchNorm, Dense, Penalty, Softmax
from fastdl.ops import functions as numeric
from fastdl.ops.numeric import array_of, symbolic, tensor_of
from fastdl.ops.per_sample import PerSampleLoss
from fastdl.ops.terminal import NO_SMOOTHING, Own, PerSample, on_arrays, traced


class Loss(Configured):
    """Base: the mean over the batch, divided by its size also where samples are weighted. `sparse`: targets are labels.

    loss(y_true, y_pred) is that mean on arrays, `call` gives each sample's. One of your own overrides `per_sample`.
    """

    sparse: ClassVar[bool] = False
    targets: ClassVar[tuple[float, float]] = (-np.inf, np.inf)  # what it is defined for, ends included
    distributions: ClassVar[bool] = False  # whether each row of targets should sum to 1

    @property
    def name(self) -> str:
        """The class's name in snake case, as Keras spells it: `mean_squared_error`."""
        return snake_case(type(self).__name__)

    def per_sample(self, y_true: Array, y_pred: Array) -> tuple[Array, Array]:
        """Each sample's loss (batch,) and its gradient (batch, outputs), by numpy; both given as (batch, outputs)."""
        raise NotImplementedError

    def terminal(self, features: int) -> Terminal:
        """The kernel of predictions of so many features."""
        return Own(self.per_sample)

    def attach(self, output: Tensor) -> tuple[Tensor, Terminal]:
        """The tensor that the kernel reads, the output or the logits behind it, and the kernel. Of a loss of one's own
        whose `call` is made of ops: what that gives. TypeError if it is not."""
        if self.own_call:
            return traced(self.call, output)
        return output, self.terminal(output.channels)

    @property
    def free_targets(self) -> bool:
        """Whether targets may have another shape than the output: a `call` of one's own says what it makes of both."""
        return self.own_call

    @property
    def own_call(self) -> bool:
        """Whether `call` is one's own."""
        return not type(self).call.__module__.startswith("fastdl.")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Each sample's loss. y_pred: (…, features); y_true alike, or labels (…). Of tensors a tensor."""
        if symbolic(y_true, y_pred):
            return self._of_tensors(tensor_of(y_true), tensor_of(y_pred))
        for name, value in (("y_true", y_true), ("y_pred", y_pred)):
            refuse_masked(name, value)
        target, predicted = np.asarray(y_true), np.asarray(y_pred)
        if not self.sparse:
            target, predicted = same_rank(target, predicted)
        terminal = self.terminal(predicted.shape[-1] if predicted.ndim else 1)
        return on_arrays(terminal, target, predicted)[0]

    def _of_tensors(self, y_true: Tensor, y_pred: Tensor) -> Any:
        """As `call`, by the same kernel. TypeError for a loss of one's own that computes by numpy."""
        terminal = self.terminal(y_pred.channels)
        if not isinstance(terminal, PerSample):
            raise TypeError(f"{self.name} computes by numpy: on tensors it has no gradient")
        return PerSampleLoss(y_true, y_pred, terminal, self.name).output

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        values = self.call(y_true, y_pred)
        if symbolic(values):
            return numeric.mean(values if sample_weight is None else values * sample_weight)
        values = np.asarray(values, np.float64)
        return float((values if sample_weight is None else weighted(values, sample_weight)[0]).mean())


class _Elementwise(Loss):
    """A loss of the kernel table's FDL_LOSSES: the mean over the outputs. `own` is the attribute that it depends on."""

    kind: ClassVar[str]
    own: ClassVar[str] = ""

    def terminal(self, features: int) -> PerSample:
        own = float(getattr(self, self.own)) if self.own else 0.0
        return PerSample("element_loss", mean=True, more={"loss": _ext.LOSSES[self.kind]}, own=own)


class MeanSquaredError(_Elementwise):
    """(y - target)²."""

    aliases = "mse", "MSE"
    kind = "squared"


class MeanAbsoluteError(_Elementwise):
    """|y - target|."""

    aliases = "mae", "MAE"
    kind = "absolute"


class MeanAbsolutePercentageError(_Elementwise):
    """100 |y - target| / |target|."""

    aliases = "mape", "MAPE"
    kind = "percentage"


class MeanSquaredLogarithmicError(_Elementwise):
    """(log(1 + y) - log(1 + target))², negative numbers taken as zero."""

    aliases = "msle", "MSLE"
    kind, targets = "squared_log", (0.0, np.inf)


class Huber(_Elementwise):
    """Half the square of the error up to delta, straight on from there (Huber 1964)."""

    kind, own = "huber", "delta"

    def __init__(self, delta: float = 1.0) -> None:
        if not delta > 0:
            raise ValueError(f"delta must be positive, not {delta}")
        self.delta = float(delta)


class LogCosh(_Elementwise):
    """log cosh(y - target)."""

    kind = "log_cosh"


class Poisson(_Elementwise):
    """y - target log y."""

    kind, targets = "poisson", (0.0, np.inf)


class Hinge(_Elementwise):
    """max(1 - target y, 0). Targets: -1 and 1; 0 is taken as -1."""

    kind, targets = "hinge", (-1.0, 1.0)


class SquaredHinge(Hinge):
    """max(1 - target y, 0)², targets as Hinge's."""

    kind = "squared_hinge"


class CategoricalHinge(Loss):
    """max(1 + the largest wrong output - the right one, 0). Targets: (batch, classes), one-hot."""

    targets = 0.0, 1.0

    def terminal(self, features: int) -> PerSample:
        return PerSample("categorical_hinge")


class KLDivergence(Loss):
    """Sum of target log(target / y): how far y's distribution is from the target's (Kullback and Leibler 1951)."""

    aliases = "kld", "KLD"
    targets = 0.0, 1.0

    def terminal(self, features: int) -> PerSample:
        return PerSample("element_loss", more={"loss": _ext.LOSSES["divergence"]})


class CosineSimilarity(Loss):
    """Minus the cosine of the angle between y and the target: -1 where they point the same way."""

    def terminal(self, features: int) -> PerSample:
        return PerSample("cosine_similarity", scale=-1.0)


class _CrossEntropy(Loss):
    """A cross-entropy: from the logits one stable kernel, whose gradient is prediction - target.

    Logits are found behind the activation `ending`; other outputs are probabilities, kept 1e-7 away from 0 and 1.
    """

    ending: ClassVar[str]
    from_logits: bool
    targets = 0.0, 1.0

    def logits(self, features: int) -> PerSample:
        """The kernel that reads logits."""
        raise NotImplementedError

    def probabilities(self, features: int) -> PerSample:
        """The kernel that reads probabilities."""
        raise NotImplementedError

    def terminal(self, features: int) -> PerSample:
        return self.logits(features) if self.from_logits else self.probabilities(features)

    def attach(self, output: Tensor) -> tuple[Tensor, Terminal]:
        op = output.op
        if self.from_logits:
            return output, self.logits(output.channels)
        ends = "softmax" if isinstance(op, Softmax) else op.kind if isinstance(op, Activation) else None
        if op and ends == self.ending:
            return op.inputs[0], self.logits(output.channels)
        while isinstance(op, Penalty):
            op = op.inputs[0].op
        if op is None or isinstance(op, Dense | BatchNorm):
            raise ValueError(
                f"{self.name} needs a model that ends in {self.ending}, or from_logits=True: this one ends in "
                f"{op.name if op else 'its input'}, which gives no probabilities"
            )
        return output, self.probabilities(output.channels)


def _not_negative(name: str, value: float) -> float:
    if not 0 <= value < np.inf:
        raise ValueError(f"{name} must be a finite number, zero or more, not {value}")
    return float(value)


def _smoothing(value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"label_smoothing must lie in [0, 1], not {value}")
    return float(value)


class BinaryCrossentropy(_CrossEntropy):
    """-target log p - (1 - target) log(1 - p), mean over the outputs. Targets: (batch, outputs) in [0, 1].

    label_smoothing: that share of each target is taken as 1/2.
    """

    aliases = "bce", "BCE"
    ending = "sigmoid"

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0) -> None:
        self.from_logits, self.label_smoothing = bool(from_logits), _smoothing(label_smoothing)

    def _kernel(self, kind: str) -> PerSample:
        smoothing = 1 - self.label_smoothing, 0.5 * self.label_smoothing
        return PerSample("element_loss", mean=True, more={"loss": _ext.LOSSES[kind]}, smoothing=smoothing)

    def logits(self, features: int) -> PerSample:
        return self._kernel("sigmoid")

    def probabilities(self, features: int) -> PerSample:
        return self._kernel("binary")


class BinaryFocalCrossentropy(BinaryCrossentropy):
    """Binary cross-entropy times (1 - p_t)^gamma, p_t the probability of the target (Lin et al. 2017).

    apply_class_balancing: ones count alpha times, zeros 1 - alpha times.
    """

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(from_logits, label_smoothing)
        self.apply_class_balancing = bool(apply_class_balancing)
        self.alpha, self.gamma = _not_negative("alpha", alpha), _not_negative("gamma", gamma)

    def _kernel(self, kind: str) -> PerSample:
        weights = (self.alpha, 1 - self.alpha) if self.apply_class_balancing else (1.0, 1.0)
        more: Arguments = {"logits": int(kind == "sigmoid"), "weights": weights}
        return replace(super()._kernel(kind), kernel="binary_focal", own=self.gamma, more=more)


class CategoricalCrossentropy(_CrossEntropy):
    """-sum of target log p. Targets: (batch, classes), one-hot or probabilities.

    label_smoothing: that share of each target is spread over all classes.
    """

    ending, distributions = "softmax", True

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0) -> None:
        self.from_logits, self.label_smoothing = bool(from_logits), _smoothing(label_smoothing)

    def logits(self, features: int) -> PerSample:
        smoothing = (
            (1 - self.label_smoothing, self.label_smoothing / features) if self.label_smoothing else NO_SMOOTHING
        )
        return PerSample("softmax_cross_entropy", labels=self.sparse, smoothing=smoothing)

    def probabilities(self, features: int) -> PerSample:
        return replace(self.logits(features), kernel="probability_cross_entropy")


class CategoricalFocalCrossentropy(CategoricalCrossentropy):
    """-sum of alpha (1 - p)^gamma target log p (Lin et al. 2017). Targets: (batch, classes), one-hot."""

    def __init__(
        self, alpha: float = 0.25, gamma: float = 2.0, from_logits: bool = False, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(from_logits, label_smoothing)
        self.alpha, self.gamma = _not_negative("alpha", alpha), _not_negative("gamma", gamma)

    def logits(self, features: int) -> PerSample:
        plain, more = super().logits(features), {"logits": 1}
        return replace(plain, kernel="categorical_focal", scale=self.alpha, own=self.gamma, more=more)

    def probabilities(self, features: int) -> PerSample:
        return replace(self.logits(features), more={"logits": 0})


class CategoricalGeneralizedCrossEntropy(Loss):
    """(1 - p[label]^q) / q, which forgives wrong labels (Zhang and Sabuncu 2018). Targets: integer labels."""

    sparse = True

    def __init__(self, q: float = 0.5) -> None:
        if not 0 < q < 1:
            raise ValueError(f"q must lie in (0, 1), not {q}")
        self.q = float(q)

    def terminal(self, features: int) -> PerSample:
        return PerSample("generalized_cross_entropy", labels=True, own=self.q)


class SparseCategoricalCrossentropy(CategoricalCrossentropy):
    """-log p[label]. Targets: integer labels (batch,) or (batch, 1)."""

    sparse = True

    def __init__(self, from_logits: bool = False) -> None:
        super().__init__(from_logits)


class Function(Loss):
    """A function as a loss: fn(y_true, y_pred) → each sample's loss, (batch,) or (batch, …), of which the mean counts.

    Made of fastdl.ops and of operators (+, *, …), it is compiled into the program. Else it is a numpy function of
    (batch, outputs) of the model's dtype that gives (loss, gradient): it takes the GIL at each batch, and is slower.
    """

    nameable = False

    def __init__(self, fn: Callable[[Array, Array], Any], name: str | None = None) -> None:
        self.fn, self._name = fn, str(name or getattr(fn, "__name__", type(fn).__name__))
        self._by_numpy: Exception | None = None  # why it was not compiled, once that was tried

    @property
    def name(self) -> str:
        return self._name

    @property
    def free_targets(self) -> bool:
        """Always."""
        return True

    def terminal(self, features: int) -> Own:
        return Own(self.fn)

    def attach(self, output: Tensor) -> tuple[Tensor, Terminal]:
        if self._by_numpy is None:
            try:
                return traced(self.fn, output)
            except NoTruthError:
                raise
            except Exception as error:  # it computes by numpy, or fails there as well, and says why
                self._by_numpy = error.with_traceback(None)
        return output, Own(self.fn, self._by_numpy)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """What the function gives; of one that gives its gradient as well, without that."""
        given: list[Any] = [x if isinstance(x, Tensor) else array_of(x) for x in (y_true, y_pred)]
        value = self.fn(*given)
        return value[0] if isinstance(value, tuple) else value


def _as_function(kind: Callable[..., Loss]) -> Callable[..., Any]:
    """The class as Keras's function: (y_true, y_pred, the class's arguments) → each sample's loss."""

    def function(y_true: Any, y_pred: Any, *arguments: Any, **options: Any) -> Any:
        return kind(*arguments, **options).call(y_true, y_pred)

    function.__doc__ = kind.__doc__
    return function


def entropy(p: Any, base: float | None = None) -> Array:
    """-sum of p log p over the last axis, zero where p is: in nats, or with the base 2 in bits (Shannon 1948)."""
    p = np.asarray(p, np.float64)
    if not (p >= 0).all():
        raise ValueError("entropy is of probabilities: none may be negative or NaN")
    terms = np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0.0)
    return np.asarray(-terms.sum(-1) / (np.log(base) if base else 1.0))


CLASSES = family(Loss)
NAMES = names_of(CLASSES)
FUNCTIONS = {snake_case(name): _as_function(kind) for name, kind in CLASSES.items()}

serialize = configured.serialize


def deserialize(config: Mapping[str, Any]) -> Loss:
    """The loss that `serialize` described. ValueError if there is none of that name."""
    return get(configured.deserialize(config, CLASSES))


def get(loss: Any) -> Loss:
    """A loss by Keras name, class, instance, config, or a function of one's own (see Function). ValueError if none."""
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type) and issubclass(loss, Loss):
        return loss()
    if isinstance(loss, str) and loss in NAMES:
        return NAMES[loss]()
    if isinstance(loss, Mapping):
        return deserialize(loss)
    if callable(loss):
        by_function = {id(function): NAMES[name] for name, function in FUNCTIONS.items()}
        return by_function[id(loss)]() if id(loss) in by_function else Function(loss)
    raise ValueError(f"{unknown('loss', loss, filter(str.islower, sorted(NAMES)))}, or a fastdl.losses object")


def __getattr__(name: str) -> Callable[..., Array]:
    """`losses.mean_squared_error` is the class as a function, as in Keras."""
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    raise no_such(__name__, name, [*CLASSES, *FUNCTIONS])
