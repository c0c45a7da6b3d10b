"""What the loaders share: the type they return, and the second name that Keras gives them."""

from collections.abc import Callable
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

Part = tuple[NDArray[np.uint8], NDArray[np.uint8]]
Split = tuple[Part, Part]


class Loader(Protocol):
    """A function that loads a data set; `load_data` is the function itself."""

    load_data: Callable[[], Split]

    def __call__(self) -> Split: ...


def loader(function: Callable[[], Split]) -> Loader:
    """Make `name.load_data()` the same as `name()`."""
    named = cast(Loader, function)
    named.load_data = function
    return named
