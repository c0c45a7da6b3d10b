"""A callback made of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastdl.models.callback import Callback


class LambdaCallback(Callback):
    """Hooks given as functions, by name: on_epoch_end=lambda epoch, logs: … (Keras).

    Other things become attributes, for hooks to use; TypeError for what is named as a hook, on_…, and is none.
    """

    def __init__(self, **hooks: Callable[..., Any] | None) -> None:
        for name, hook in hooks.items():
            if name.startswith("on_") and not hasattr(Callback, name):
                raise TypeError(f"a callback has no hook {name!r}")
            if hook is not None:
                setattr(self, name, hook)
