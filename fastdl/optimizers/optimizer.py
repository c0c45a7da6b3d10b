"""The base of optimizers, and gradients of one's own: what `fit` does in its programs, one step at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, TypeVar

import numpy as np

from fastdl.base.arguments import real
from fastdl.base.arrays import Array
from fastdl.base.configured import refuse_overrides
from fastdl.compiler.graph import Parameter
from fastdl.compiler.stepper import Stepper
from fastdl.errors import DataError, ShapeError, warn
from fastdl.optimizers.base import BaseOptimizer

Kept = TypeVar("Kept")
Chosen = tuple[tuple[Parameter, ...], tuple[Parameter, ...]]  # those with a gradient, and without


def _put_in_order(kept: dict[Parameter, Kept], parameters: Iterable[Parameter]) -> None:
    """Whichever program has asked for its slots first: `variables` are in the order of the model's."""
    kept.update({parameter: kept.pop(parameter) for parameter in parameters if parameter in kept})


# what of Keras's Optimizer a subclass cannot override here, for kernels take the steps: what to use in its place
REPLACED = {"update_step": "another optimizer, a schedule of its learning rate, or a constraint"}


class Optimizer(BaseOptimizer):
    """Base: the learning rate, the number of steps taken, and the slots kept for each parameter.

    A subclass names its `rule`, one of the kernel table's, and its slots, and says which scalars the rule takes; or it
    overrides `rule_of` and `step`, where a step looks at a whole parameter (see compiler.steps.UpdateRule).
    """

    _built_for: tuple[Parameter, ...] | None = None
    _programs: dict[Chosen, Stepper]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_overrides(cls, REPLACED)

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copies: all but programs, which are made again."""
        return {**vars(self), "_programs": {}}

    def fresh(self) -> Self:
        """A copy that has taken no step yet."""
        other = super().fresh()
        other._built_for = None
        return other

    @property
    def built(self) -> bool:
        """Whether it knows which parameters it steps."""
        return self._built_for is not None

    def build(self, variables: Iterable[Parameter]) -> None:
        """Make what it keeps of these parameters, the only ones that `apply` then steps. Keras: Optimizer.build."""
        if not self.built:
            self.build_more(variables)

    def build_more(self, variables: Iterable[Parameter]) -> None:
        """As `build`, of others as well, if a model has them now. fastdl's own."""
        self._programs = {}
        self._built_for = tuple(dict.fromkeys((*(self._built_for or ()), *variables)))
        for parameter in self._built_for:
            if self.use_ema:
                self.average(parameter)
            if self.gradient_accumulation_steps:
                self.accumulator(parameter)
            self.slots(parameter)
        _put_in_order(self.state.averages, self._built_for)
        _put_in_order(self.state.accumulated, self._built_for)
        _put_in_order(self.state.slots, self._built_for)

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Parameter]]) -> Any:
        """As `apply`, of pairs; returns how many batches it was given. Keras: Optimizer.apply_gradients."""
        pairs = list(grads_and_vars)
        self.apply([gradient for gradient, _ in pairs], [parameter for _, parameter in pairs])
        return self.variables[0]

    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[Parameter] | None = None) -> None:
        """One step by these gradients, arrays of the parameters' shapes. Keras: Optimizer.apply.

        Without parameters, those that it was built for. None for a gradient leaves a parameter as it is, with a
        warning. Penalties are not added. ValueError, ShapeError before any parameter is touched.
        """
        gradients = list(grads)
        if not gradients:
            return
        parameters = self._chosen(gradients, trainable_variables)
        found = [i for i, gradient in enumerate(gradients) if gradient is not None]
        if not found:
            raise ValueError("there is no gradient for any variable: all of them are None")
        if missing := [p.path for p, gradient in zip(parameters, gradients, strict=True) if gradient is None]:
            warn(f"there is no gradient for {', '.join(missing)}: left as they are", UserWarning)
        stepped = tuple(parameters[i] for i in found)
        arrays = [self._gradient(parameters[i], gradients[i]) for i in found]
        self.resume()
        rates = self.rates(1)
        given = {p: gradient for p, gradient in zip(stepped, arrays, strict=True) if not p.overwrite_with_gradient}
        self._overwrite({p: gradient for p, gradient in zip(stepped, arrays, strict=True) if p not in given})
        self._stepper(tuple(given)).run(list(given.values()), rates, self.batches)
        self.batches += 1

    def update_step(self, gradient: Any, variable: Parameter, learning_rate: float) -> None:
        """The rule's step alone on one variable, at this rate: nothing is clipped, decays, is averaged or counted.

        ValueError, ShapeError. Keras: Optimizer.update_step.
        """
        self._chosen([gradient], [variable])
        plain = copy.copy(self)
        plain.learning_rate, plain.batches = real("learning_rate", learning_rate), int(self.iterations)
        plain.clipnorm = plain.clipvalue = plain.global_clipnorm = plain.gradient_accumulation_steps = None
        plain.use_ema = False
        plain.exclude_only(variable)
        Stepper(plain, [variable]).run([self._gradient(variable, gradient)], plain.rates(1), plain.batches)

    def _overwrite(self, gradients: Mapping[Parameter, Array]) -> None:
        """Put gradients in the place of parameters; of several batches to a step the largest, number by number."""
        last = (self.batches + 1) % (self.gradient_accumulation_steps or 1) == 0
        for parameter, gradient in gradients.items():
            value = gradient
            if self.gradient_accumulation_steps:
                self.accumulator(parameter)
                kept = self.state.accumulated[parameter]
                value = np.maximum(gradient, kept.numpy())
                kept.assign(np.zeros(parameter.shape) if last else value)
            if last:
                parameter.assign(value)

    def _chosen(self, gradients: list[Any], variables: Iterable[Parameter] | None) -> list[Parameter]:
        """The parameters that the gradients are of, which it is built for. ValueError."""
        if variables is None:
            if self._built_for is None:
                raise ValueError("apply(grads) without variables needs build(variables) before it")
            parameters = list(self._built_for)
        else:
            parameters = list(variables)
            self.build(parameters)
        if len(parameters) != len(gradients):
            raise ValueError(f"there are {len(gradients)} gradients for {len(parameters)} variables")
        assert self._built_for is not None
        for parameter in parameters:
            if parameter not in self._built_for:
                raise ValueError(f"{parameter.path} is unknown to {self.name}: it was built for other variables")
        if len(set(parameters)) < len(parameters):
            raise ValueError("a variable is named twice: add its gradients")
        if len({parameter.dtype for parameter in parameters}) > 1:
            raise ValueError("the variables of one step must be of one dtype")
        return parameters

    def _gradient(self, parameter: Parameter, gradient: Any) -> Array:
        """As the parameter's step takes it. DataError, ShapeError."""
        array = np.asarray(gradient)
        if array.dtype.kind not in "fiub":
            raise DataError(f"the gradient of {parameter.path} must hold real numbers, not {array.dtype}")
        if array.shape != parameter.shape:
            raise ShapeError(f"{parameter.path} has shape {parameter.shape}, its gradient {array.shape}")
        array = array.astype(parameter.dtype)
        return array if self.loss_scale_factor is None else array / parameter.dtype.type(self.loss_scale_factor)

    def _stepper(self, stepped: tuple[Parameter, ...]) -> Stepper:
        assert self._built_for is not None
        still = tuple(parameter for parameter in self._built_for if parameter not in stepped)
        chosen = stepped, still
        if chosen not in self._programs:
            self._programs[chosen] = Stepper(self, stepped, still)
        return self._programs[chosen]

    def scale_loss(self, loss: Any) -> Any:
        """The loss times loss_scale_factor, if there is one (Keras)."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Assign to its `variables`. ValueError before `build`, ShapeError. Keras: Optimizer.set_weights."""
        if not self.built:
            raise ValueError(f"{self.name} has no slots yet: build(variables) makes them, then they can be set")
        if len(self.variables) != len(weights):
            raise ValueError(f"{self.name} has {len(self.variables)} variables, not {len(weights)}")
        for variable, weight in zip(self.variables, weights, strict=True):
            variable.assign(weight)
