"""Keras's `utils`, as far as fastdl has it."""

from fastdl._random import set_random_seed

__all__ = ["set_random_seed"]
