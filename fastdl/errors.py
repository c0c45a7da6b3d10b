"""The few error types that fastdl raises, and its warnings. Each says what was wrong, where, what would be right."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from fastdl.base.text import shown

_HOME = str(Path(__file__).parent)


class FastdlError(Exception):
    """Base of every error that is fastdl's own. Its text is one line, whatever names of others it carries."""

    def __str__(self) -> str:
        return shown(super().__str__())


class ShapeError(FastdlError, ValueError):
    """An array or a layer has a shape that does not fit where it is used."""


class DataError(FastdlError, ValueError):
    """Training or prediction data that cannot be used: NaN, labels out of range, empty, a wrong dtype."""


class NotBuiltError(ValueError, AttributeError):
    """Something of a model that is known only once its input's shape is: hasattr is False before, as in Keras."""


class ConfigError(ValueError, TypeError):
    """A config of which its class cannot be made: a TypeError in Keras, and a ValueError as from the constructor."""


class UnknownOutputError(ValueError, KeyError):
    """A loss for an output that the model has not."""

    __str__ = ValueError.__str__  # a KeyError shows its text in quotes


class ModelFileError(FastdlError):
    """A model file (ONNX, fastdl's own, or Keras's) that cannot be read or trusted."""


class KerasFileError(ModelFileError, ValueError):
    """A file that is to be one of Keras's, .keras or .weights.h5: a ValueError, as Keras raises it."""


class UnknownObjectError(KerasFileError, TypeError):
    """A file of Keras's that names a class that is not known here, or one that cannot be made of its config."""


class FusionError(FastdlError):
    """A fusion whose result could not be proven to compute the same as the original."""


ADVICE = "lower the learning rate, clip gradients (clipnorm), or scale inputs and targets"  # where training diverged


class DivergenceWarning(UserWarning):
    """Training whose loss or weights became NaN or infinite on data that are neither: what it gives is of no use."""


class DataWarning(UserWarning):
    """Data that can be used, but that training will hardly make of what was meant."""


def warn(message: str, category: type[Warning]) -> None:
    """Warn in the name of the first line outside fastdl, which is the one that its user can change."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HOME):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
