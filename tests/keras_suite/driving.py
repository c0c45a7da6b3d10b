"""Another way to what fastdl computes, for tests that hand it arrays where it takes symbolic tensors or whole models.

Nothing is computed here: an activation of an array is that of a layer, a step with given gradients is a step of training
of a model that has these gradients.
"""

from __future__ import annotations

from typing import Any


def table(driven: bool) -> dict[str, Any]:
    """What stands for names of Keras's before fastdl's own do."""
    return {}
