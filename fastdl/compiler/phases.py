"""The order and the memory of a program: phases between which threads meet, and one arena for all buffers."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastdl import _ext
from fastdl.base.arrays import Array
from fastdl.compiler.memory import aligned


class Ref:
    """A buffer: one of the arena's (`array` is filled in when it is placed) or an array that lives elsewhere."""

    def __init__(self, size: int = 0, array: Array | None = None, panels: bool = True) -> None:
        self.size, self.array, self.panels = size, array, panels
        self.fixed = array is not None


@dataclass(frozen=True)
class Access:
    """How a kernel touches a buffer: by its own "share" of features or panels, of a weight matrix by its share of
    "rows" (where others have theirs of columns), by one "half" of a sum, or "all" of it."""

    ref: Ref
    writes: bool
    by: str
    features: int | None = None  # whose share, if not the kernel's


def read(ref: Ref) -> Access:
    return Access(ref, False, "share")


def read_rows(ref: Ref) -> Access:
    """Reads the rows of a weight matrix that belong to its features."""
    return Access(ref, False, "rows")


def read_inputs(ref: Ref, features: int) -> Access:
    """Reads the half of the features that it sums over: those that two threads own, whatever it computes."""
    return Access(ref, False, "share", features)


def read_all(ref: Ref) -> Access:
    """Reads every feature, whoever computed it."""
    return Access(ref, False, "all")


def write(ref: Ref) -> Access:
    return Access(ref, True, "share")


def write_rows(ref: Ref) -> Access:
    return Access(ref, True, "rows")


def write_half(ref: Ref) -> Access:
    """Writes one half's sums of all features, or of its share of them."""
    return Access(ref, True, "half")


def write_all(ref: Ref) -> Access:
    return Access(ref, True, "all")


# Of a kernel: an array that it touches, None where it may do without, or a number, which may follow a schedule; or
# several of these.
Argument = Access | float | _ext.Scheduled | None | Sequence[Access | None] | Sequence[float]
Arguments = dict[str, Any]  # by the names of the kernel table; of Any, so that some may be spread among keywords


def _array(value: Any) -> Any:
    return value.ref.array if isinstance(value, Access) else value


def accesses_of(value: Argument) -> Sequence[Access]:
    """What a kernel touches by this argument."""
    if isinstance(value, Access):
        return (value,)
    return [each for each in value if isinstance(each, Access)] if isinstance(value, (tuple, list)) else ()


@dataclass
class Call:
    """One kernel with its arguments, and the phase that it runs in."""

    kernel: str
    accesses: tuple[Access | None, ...]
    axis: int
    features: int  # over which the work is shared
    defer: bool
    arguments: Mapping[str, Argument] = field(default_factory=dict)  # by the names of the kernel table
    phase: int = 0
    members: int = 1  # panels to each panel of the batch (see ext/kernels.h)
    every: int = 1  # it runs in steps whose number, from 1 on, is a multiple of this
    function: Callable[..., None] | None = None  # in place of a kernel; called with the arrays of `accesses`

    def placed(self) -> dict[str, Any]:
        """The arguments with arrays in place of accesses, once all buffers have their place."""
        return {
            name: [_array(each) for each in value] if isinstance(value, (tuple, list)) else _array(value)
            for name, value in self.arguments.items()
        }

    def share_of(self, access: Access) -> object:
        """What decides which thread touches which part of the buffer; None when a thread may touch any part."""
        if self.axis == _ext.BY_PANEL:
            return "panels" if access.ref.panels else None
        if self.axis == _ext.ONCE:
            return "once"
        if self.axis in (_ext.BY_FEATURE, _ext.AFTER_HALVES, _ext.BY_HALF) and access.by != "all":
            return access.by, access.features or self.features
        return None


class _Scheduler:
    """Orders calls in phases: threads meet between phases, and within one none touches what another may hold.

    A deferred call never starts a phase. It runs in the first one that it fits in.
    """

    def __init__(self) -> None:
        self.ordered: list[Call] = []
        self.phase = 0
        self._waiting: list[Call] = []
        self._readers: dict[Ref, set[object]] = {}
        self._writers: dict[Ref, set[object]] = {}

    def add(self, call: Call) -> None:
        if call.defer:
            self._waiting.append(call)
            self._place_waiting()
            return
        if self._clashes(call):
            self._next_phase()
        self._place(call)

    def finish(self) -> list[Call]:
        while self._waiting:
            self._next_phase()
        return self.ordered

    def _clashes(self, call: Call) -> bool:
        for access in filter(None, call.accesses):
            others = self._writers.get(access.ref, set())
            if access.writes:
                others = others | self._readers.get(access.ref, set())
            share = call.share_of(access)
            if others and (share is None or others != {share}):
                return True
        return False

    def _place(self, call: Call) -> None:
        call.phase = self.phase
        self.ordered.append(call)
        for access in filter(None, call.accesses):
            users = self._writers if access.writes else self._readers
            users.setdefault(access.ref, set()).add(call.share_of(access))

    def _next_phase(self) -> None:
        self.phase += 1
        self._readers.clear()
        self._writers.clear()
        self._place_waiting()

    def _place_waiting(self) -> None:
        held: list[Call] = []
        touched: set[Ref] = set()  # by calls still held: what comes after them must not overtake
        for call in self._waiting:
            refs = {access.ref for access in call.accesses if access}
            if self._clashes(call) or refs & touched:
                held.append(call)
                touched |= {
                    access.ref for access in call.accesses if access and (access.writes or not access.ref.fixed)
                }
            else:
                self._place(call)
        self._waiting = held


def schedule(calls: list[Call]) -> list[Call]:
    scheduler = _Scheduler()
    for call in calls:
        scheduler.add(call)
    return scheduler.finish()


def place(calls: list[Call]) -> Array:
    """Give each buffer its place in one arena. Two share memory only if a barrier stands between their lives."""
    lives: dict[Ref, tuple[int, int]] = {}
    for call in calls:
        for access in call.accesses:
            if access and not access.ref.fixed:
                first, _ = lives.get(access.ref, (call.phase, call.phase))
                lives[access.ref] = (first, call.phase)
    placed: list[tuple[int, int, int, int]] = []  # begin, end, first phase, last phase; by begin
    begins: dict[Ref, int] = {}
    for ref, (first, last) in sorted(lives.items(), key=lambda item: -item[0].size):
        begin, size = 0, -(-ref.size // 64) * 64
        for low, high, since, until in placed:
            if since <= last and first <= until:
                if begin + size <= low:
                    break
                if high > begin:
                    begin = high
        insort(placed, (begin, begin + size, first, last))
        begins[ref] = begin
    arena = aligned((max((end for _, end, *_ in placed), default=64),), np.dtype(np.uint8))
    for ref, begin in begins.items():
        ref.array = arena[begin : begin + -(-ref.size // 64) * 64]
    return arena
