"""Identity, Dropout at inference, Flatten and Reshape that keep the shape: y = x, so the node goes.

That they go first is how every other fold looks through them.
"""

from math import prod

from ..index import GraphIndex, Node, Refused


def fold(index: GraphIndex, node: Node) -> str | None:
    """Remove the node and read its input instead; refuses a Dropout that may train or whose mask is read."""
    if node.op not in ("Identity", "Dropout", "Flatten", "Reshape"):
        return None
    if node.op == "Dropout":
        _require_inference(index, node)
    elif node.op != "Identity":
        keeps = _flatten_keeps if node.op == "Flatten" else _reshape_keeps
        if not keeps(index, node):
            return None
    index.bypass(node)
    return "nothing"


def _require_inference(index: GraphIndex, node: Node) -> None:
    if len(node.inputs) > 2 and node.inputs[2]:  # opset 12 on: training_mode is an input
        training = index.stored(node.inputs[2])
        if training is None:
            raise Refused(f"its training_mode {node.inputs[2]!r} is not a constant")
        if training.any():
            raise Refused("it is in training mode")
    for mask in filter(None, node.outputs[1:]):
        index.require_hidden(mask)
        if index.uses(mask):
            raise Refused(f"its mask {mask!r} is read")


def _flatten_keeps(index: GraphIndex, node: Node) -> bool:
    shape = index.shape(node.inputs[0])
    return shape is not None and len(shape) == 2 and node.attribute("axis", 1) in (1, -1)


def _reshape_keeps(index: GraphIndex, node: Node) -> bool:
    """Whether every target dim is the input's own; at most one is left to follow from the others (-1)."""
    shape, target = index.shape(node.inputs[0]), index.stored(node.inputs[1])
    if shape is None or target is None or target.shape != (len(shape),) or node.attribute("allowzero", 0):
        return False
    free = 0
    for want, have in zip(target.tolist(), shape, strict=True):
        if want == -1:
            free += 1
        elif want not in (0, have):
            return False
    return free <= 1 and 0 not in shape


def keeps_rows(index: GraphIndex, node: Node) -> bool:
    """Whether a Flatten or Reshape leaves the first axis, and each row's values in their row-major order."""
    shape = index.shape(node.inputs[0])
    if shape is None or len(shape) < 2 or not all(isinstance(dim, int) and dim > 0 for dim in shape[1:]):
        return False
    if node.op == "Flatten":
        return node.attribute("axis", 1) in (1, 1 - len(shape))
    target = index.stored(node.inputs[1]) if node.op == "Reshape" else None
    if target is None or target.ndim != 1 or target.size < 2 or node.attribute("allowzero", 0):
        return False
    # A 0 stands for the input's own dim, which there must be one of.
    dims = [shape[i] if want == 0 and i < len(shape) else want for i, want in enumerate(target.tolist())]
    first, rest = target[0], dims[1:]
    if 0 in rest or (first != 0 and first != shape[0] and first != -1):
        return False
    if -1 in rest:  # it follows from the others, and the first is stated
        return first != -1 and rest.count(-1) == 1 and all(isinstance(dim, int) for dim in rest)
    return prod(dim for dim in rest if isinstance(dim, int)) == prod(shape[1:])  # type: ignore[arg-type]
