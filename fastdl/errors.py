"""The few error types that fastdl raises. Each message says what was wrong, where, and what would be right."""

from fastdl.text import shown


class FastdlError(Exception):
    """Base of every error that is fastdl's own. Its text is one line, whatever names of others it carries."""

    def __str__(self) -> str:
        return shown(super().__str__())


class ShapeError(FastdlError, ValueError):
    """An array or a layer has a shape that does not fit where it is used."""


class DataError(FastdlError, ValueError):
    """Training or prediction data that cannot be used: NaN, labels out of range, empty, a wrong dtype."""


class ModelFileError(FastdlError):
    """A model file (ONNX or fastdl's own) that cannot be read or trusted."""


class FusionError(FastdlError):
    """A fusion whose result could not be proven to compute the same as the original."""
