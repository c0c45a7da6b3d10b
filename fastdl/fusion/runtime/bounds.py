"""What running a model may cost: in proportion to its file and to what the caller gives it, whatever is in the file.

A model is run here where it is told beforehand that it costs little (see estimate.py); else in a child process that may
take so much and no more (see confined.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastdl.errors import FusionError
from fastdl.fusion.files.limits import LIFTED
from fastdl.fusion.graph.inference import byte_count
from fastdl.fusion.graph.weights import AnyModel, Lean
from fastdl.fusion.runtime.confined import Exceeded, Limits, confined
from fastdl.fusion.runtime.estimate import Bound, Estimator

MEMORY = 320 * 2**20  # bytes that any model may take: with the interpreter's own, under 600 MB
SECONDS = 5.0  # of processor time that any model may take
WORK = 2 * 10**9  # operations that any model may take: about a second of onnxruntime's
A_FILE_BYTE = 16  # bytes, for each byte of the file, and again for each row that the caller gives
AN_INPUT_BYTE = 64  # bytes, for each byte that the caller gives
SECONDS_A_BYTE = 2e-6
WORK_A_FILE_BYTE, WORK_AN_INPUT_BYTE = 2000, 5000
RUNS = 20  # of a proof


def limits(file: int, given: int = 0, rows: int = 1) -> Limits:
    """What a model may take: the more, the larger its file and what the caller gives it (bytes, and rows)."""
    memory = MEMORY + A_FILE_BYTE * file * max(rows, 1) + AN_INPUT_BYTE * given
    return Limits(memory, SECONDS + SECONDS_A_BYTE * (file * max(rows, 1) + given))


def fits(bound: Bound | None, file: int, given: int = 0, rows: int = 1) -> bool:
    """Whether one run is told to stay within the limits; onnxruntime's arena may take twice what it needs."""
    if bound is None:
        return False
    work = WORK + WORK_A_FILE_BYTE * file * max(rows, 1) + WORK_AN_INPUT_BYTE * given
    return 2 * bound.live <= limits(file, given, rows).memory and bound.work <= work


def proof_fits(bound: Bound | None, file: int, given: int = 0, runs: int = RUNS) -> bool:
    """The same of a proof: one session at a time, a truth in float64, outputs compared, several batches."""
    if bound is None:
        return False
    work = WORK + WORK_A_FILE_BYTE * file + WORK_AN_INPUT_BYTE * given
    memory = 6 * bound.live + 20 * bound.outputs
    return memory <= limits(file, given).memory and runs * bound.work <= work


def bounded(
    function: Callable[..., Any],
    models: Sequence[AnyModel],
    *args: Any,
    given: int = 0,
    rows: int = 1,
    limited: bool = True,
) -> Any:
    """`function(*models, *args)`, which proves the models: here if that is told to cost little, else in a child.

    given: bytes that the caller gives them; rows: whose outputs are kept at the same time. Raises FusionError where it
    takes too much.
    """
    protos = [Lean.of(model).proto for model in models]
    file = sum(map(byte_count, protos))
    if not limited or all(proof_fits(Estimator(proto).at_batch(rows), file, given) for proto in protos):
        return function(*models, *args)
    try:
        return confined(function, *models, *args, limits=limits(file, given))
    except Exceeded as error:
        raise FusionError(f"the graph is not run to its end: {error}; {LIFTED}") from None


def given_bytes(samples: Any) -> int:
    """Bytes of what a caller gives: an array, or a mapping with several."""
    parts = samples.values() if isinstance(samples, Mapping) else [samples]
    return sum(int(getattr(part, "nbytes", 0)) for part in parts)
