"""One file a fold. Each holds `fold(index, node)`: it returns the name of what the node went into, None when
the node is not of its kind, or raises `Refused` with the reason, having changed nothing."""
