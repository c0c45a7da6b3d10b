from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

PANEL: int
UNIT: int
STRIP: int
CHUNK: int
MAX_RATES: int
MAX_WAVES: int
MAX_WAVE_OUTPUTS: int
MAX_FEEDS: int
SEEDED: int
BY_FEATURE: int
BY_PANEL: int
ONCE: int
BY_HALF: int
AFTER_HALVES: int
LINEAR: int
RELU: int
FLOATS: int
ROUNDED: int
NATIVE: int
SCALE: int
ROOT: int
INVERSE_ROOT: int
NORM_COLUMNS: int
NORM_ROWS: int
NORM_ALL: int
LENGTH_GIVEN: int
LENGTH_LAMB: int
LENGTH_ADAFACTOR: int
MAX_SLOTS: int
RULES: dict[str, tuple[int, int]]
ACTIVATIONS: dict[str, tuple[int, bool]]
ACTIVATION_SCALARS: int
NOISES: dict[str, tuple[int, bool]]
NOISE_SCALARS: int
MOTIONS: dict[str, int]
FILLS: dict[str, int]
LOSSES: dict[str, int]
FUNCTIONS: dict[str, tuple[int, int]]
FORMULA_INPUTS: int
FORMULA_SLOTS: int
SUM_OF: int
PRODUCT_OF: int
LARGEST_OF: int
SMALLEST_OF: int

class Argument(NamedTuple):
    kind: Literal["read", "written", "size", "scalar"]
    length: int
    optional: bool
    what: str

class Scheduled:
    number: int
    def __init__(self, number: int) -> None: ...

class Kernel(NamedTuple):
    number: int
    what: str
    arguments: dict[str, Argument]

KERNELS: dict[str, Kernel]

def check_arguments(kernel: str, arguments: Iterable[str]) -> None: ...
def supported_isas() -> list[str]: ...
def select_isa(name: str) -> None: ...
def isa() -> tuple[str, int]: ...
def now() -> int: ...
def multiplies_bfloat16() -> bool: ...

class Buffer:
    def __init__(self, size: int) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class Program:
    steps_done: int  # of the last run
    def __init__(self, batch: int, itemsize: int, parts: int = 1) -> None: ...
    def __len__(self) -> int: ...
    def measure(self, enabled: bool) -> None: ...
    def ticks(self, threads: int) -> list[list[int]]: ...
    def declare_feed(self, number: int, row_bytes: int, writable: bool) -> None: ...
    def emit(
        self,
        kernel: str,
        arguments: dict[str, Any],
        axis: int,
        features: int,
        barrier: bool,
        members: int = 1,
        every: int = 1,
    ) -> None: ...
    def emit_call(self, function: Callable[[], object], barrier: bool) -> None: ...
    def run(
        self,
        feeds: Mapping[int, np.ndarray[Any, Any]],
        start: int,
        steps: int,
        index: np.ndarray[Any, Any] | None,
        rates: np.ndarray[Any, Any] | None,
        step: int,
        seed: int,
        threads: int,
        values: np.ndarray[Any, Any] | None = None,
    ) -> None: ...

def all_finite(x: np.ndarray[Any, Any], threads: int) -> bool: ...
def matmul(
    a: np.ndarray[Any, Any],
    b: np.ndarray[Any, Any],
    out: np.ndarray[Any, Any],
    transpose_a: bool,
    transpose_b: bool,
    threads: int,
) -> bool: ...
