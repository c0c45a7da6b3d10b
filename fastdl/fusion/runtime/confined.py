"""Work whose cost nothing tells beforehand, in a child process that may take so much memory and time and no more.

The child is a fresh interpreter, no fork: threads of the parent's, onnxruntime's among them, do not survive a fork.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from fastdl.fusion.graph.memory import is_out_of_memory
from fastdl.fusion.runtime.session import Session, load_onnxruntime

IDLE = 60.0  # seconds after which a child that holds nothing ends
SPARE = 2**26  # bytes that what is done may leave behind in a child that others use

_here = False  # whether this process is such a child


class Exceeded(Exception):
    """What ran in the child took more than it may; the message says of what."""


@dataclass(frozen=True)
class Limits:
    """Bytes beyond what the interpreter and its modules take, and seconds of processor time, for one call."""

    memory: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.memory >> 20} MB of memory and {self.seconds:.0f} s of processor time"


def confined(function: Callable[..., Any], *args: Any, limits: Limits) -> Any:
    """`function(*args)`, run in a child; here, if this is one already.

    function: of a module; args and result: what pickle takes. What it raises is raised, Exceeded if it takes too much.
    """
    if _here:
        return function(*args)
    child = Child(_Itself, function)
    try:
        return child.call("call", *args, limits=limits)
    finally:
        child.release()


class _Itself:
    """A function as an object with a method."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.call = function


class Child:
    """An object that lives in a child process: `call` runs its methods there. Safe for many threads, and over a fork.

    The process is taken when it is first needed, and another after it was ended for taking too much.
    """

    def __init__(self, make: Callable[..., Any], *args: Any) -> None:
        self._made_by = make, args
        self._forget()

    def _forget(self) -> None:
        """As new: without a process, and with a lock that nobody holds."""
        self._owner, self._lock = os.getpid(), threading.Lock()
        self._worker: _Worker | None = None

    def call(self, method: str, *args: Any, limits: Limits) -> Any:
        """The method's result; raises what it raises, and Exceeded."""
        if self._owner != os.getpid():
            self._forget()
        with self._lock:
            if self._worker is None or self._worker.ended:
                self._worker = _take()
                try:
                    self._worker.ask(limits, "make", *self._made_by)
                except BaseException:
                    self.release()
                    raise
            return self._worker.ask(limits, "call", method, args)

    def release(self) -> None:
        """Let others have the process."""
        if self._worker is not None and self._owner == os.getpid():
            _give_back(self._worker)
        self._worker = None

    def __getstate__(self) -> tuple[Any, ...]:
        return self._made_by

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._made_by = state
        self._forget()


class _Worker:
    """A child process, and the pipe to it. One thread at a time may use it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._pipe, theirs = multiprocessing.Pipe()
        paths = [path or os.getcwd() for path in sys.path]
        environment = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1", "MALLOC_ARENA_MAX": "2"}
        code = f"from {__name__} import serve; serve({theirs.fileno()})"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            pass_fds=[theirs.fileno()],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        self._end = weakref.finalize(self, _end, self._pipe, self._process, self.owner)

    @property
    def ended(self) -> bool:
        """Whether it can be asked no more."""
        return not self._end.alive or self._process.poll() is not None

    def ask(self, limits: Limits, *request: Any) -> Any:
        """What the child answers; raises what it raised, or Exceeded."""
        try:
            self._pipe.send((limits, request))
            # The kernel ends a child that computes for too long; the clock, one that waits. The machine may be busy.
            if not self._pipe.poll(4 * limits.seconds + 5):
                raise EOFError
            kind, value = self._pipe.recv()
        except (EOFError, OSError):
            self._end()
            died = self._process.returncode
            crashed = (
                f", or crashed ({signal.Signals(-died).name})" if died in (-signal.SIGSEGV, -signal.SIGABRT) else ""
            )
            raise Exceeded(f"it takes more than {limits}{crashed}") from None
        except BaseException:  # Ctrl-C: the answer that is still to come is no answer to the next question
            self._end()
            raise
        if kind == "memory":
            raise Exceeded(f"it takes more than {limits}")
        if kind == "raised":
            raise value
        return value


def _end(pipe: Connection, process: subprocess.Popen[bytes], owner: int) -> None:
    pipe.close()
    if owner == os.getpid():  # a fork's copy of this object ends nothing
        process.kill()
        process.wait()


_idle: list[_Worker] = []  # at most one, which saves the next its imports


def _take() -> _Worker:
    """An idle process that still answers, or a new one."""
    with contextlib.suppress(IndexError, Exceeded):
        worker = _idle.pop()
        if worker.owner == os.getpid() and not worker.ended:
            worker.ask(Limits(2**30, 5), "make", _Itself, (None,))
            return worker
    return _Worker()


def _give_back(worker: _Worker) -> None:
    if not worker.ended:
        _idle.append(worker)
        del _idle[:-1]


# --- in the child ----------------------------------------------------------------------------------


def serve(descriptor: int) -> None:
    """Make one object and run its methods, as asked over the pipe, until it is closed."""
    global _here
    _here = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and ends us
    load_onnxruntime()

    pipe, base = Connection(descriptor), _size()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    target: Any = None
    with contextlib.suppress(EOFError, OSError):
        while isinstance(target, Session) or (_size() < base + SPARE and pipe.poll(IDLE)):
            _limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)
            limits, (kind, name, args) = pipe.recv()
            _limit(resource.RLIMIT_AS, base + limits.memory)
            _limit(resource.RLIMIT_CPU, math.ceil(sum(os.times()[:2]) + limits.seconds))
            try:
                value = None
                if kind == "make":
                    target = None
                    target = name(*args)
                else:
                    value = getattr(target, name)(*args)
                answer = _packed(("done", value))
            except BaseException as error:
                answer = _packed(("memory", None) if is_out_of_memory(error) else ("raised", _plain(error)))
            value = args = None
            pipe.send_bytes(answer)


def _packed(answer: tuple[str, Any]) -> Any:
    from multiprocessing.reduction import ForkingPickler

    return ForkingPickler.dumps(answer)


def _plain(error: BaseException) -> BaseException:
    """The error, if the parent knows its type: Python's own or one of fastdl's."""
    known = type(error).__module__.split(".")[0] in ("builtins", "fastdl")
    return error if known else RuntimeError(str(error) or type(error).__name__)


def _limit(what: int, value: int) -> None:
    """Set the soft limit, as far as the hard one lets; a system that has no such limit sets none."""
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _size() -> int:
    """Bytes of address space that this process has now."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 2**30
