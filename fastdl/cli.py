"""The `fastdl` command.

Exit codes: 0 done, or help where no command is given; 1 a file or data that cannot be used; 2 wrong usage; 3 not
proven, or different; stopped by: 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP, 141 a reader of the output that has left before
the work was done. Nothing is half written in any of them: `train` that is stopped while nets are trained writes all of
its files of the best nets until then, or, when it is stopped once more, none.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from fastdl.base.files import must_wait
from fastdl.base.text import shown
from fastdl.base.version import VERSION
from fastdl.commands import COMMANDS
from fastdl.commands import _common as common
from fastdl.errors import DataWarning, DivergenceWarning, FastdlError, FusionError

CODES = "exit codes: 0 done, 1 a file or data that cannot be used, 2 wrong usage, 3 not proven or different"
FAILED, USAGE, NOT_PROVEN, NO_READER = 1, 2, 3, 141

# For terminals that cannot write these; all else that they cannot write is spelled out, as \u043d.
PLAIN_LETTERS = str.maketrans("━─┃│┏┳┓┡╇┩├┼┤└┴┘→×µ…", "--||++++++++++++>xu.")


def _parser() -> argparse.ArgumentParser:
    told = "Train dense networks on a CPU, fold, prove, serve."
    parser = argparse.ArgumentParser(prog="fastdl", description=told, epilog=CODES)
    parser.add_argument("--version", action="version", version=f"fastdl {VERSION}")
    parser.set_defaults(run=lambda _: common.show(parser.format_help().rstrip()))
    commands = parser.add_subparsers(dest="command", metavar="command")
    for name, command in COMMANDS.items():
        summary = (command.__doc__ or "").splitlines()[0]
        one = commands.add_parser(name, help=summary, description=summary, epilog=CODES)
        command.arguments(one)
        one.set_defaults(run=command.run)
    return parser


@contextlib.contextmanager
def _stoppable(caught: list[int]) -> Iterator[None]:
    """Signals that ask to stop raise KeyboardInterrupt while it lasts, so that files half written are taken away.

    caught: their numbers; a library that is being loaded may turn the exception into one of its own.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if must_wait(number):
            return
        caught.append(number)
        raise KeyboardInterrupt

    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):  # nohup's stays
                before[number] = signal.signal(number, stop)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _one_line_warnings(command: str) -> Iterator[None]:
    """fastdl's own warnings as one line each; those of libraries about numbers that we judge ourselves not at all."""
    import numpy as np

    def show(message: Warning | str, *rest: Any, **options: Any) -> None:
        _say(command, f"warning: {' '.join(str(message).splitlines())}")

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", module=r"fastdl(\.|$)")
        for category in (DataWarning, DivergenceWarning):  # whose line is the caller's
            warnings.simplefilter("default", category)
        warnings.showwarning = show  # catch_warnings puts back what was there
        yield


def _substitute(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    part = error.object[error.start : error.end].translate(PLAIN_LETTERS)
    return part.encode("ascii", "backslashreplace").decode(), error.end


def _prepare_streams() -> None:
    """A name that the terminal cannot write, or a stream that is closed, must not cost the file."""
    codecs.register_error("fastdl", _substitute)
    for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None:  # else the next file that is opened would take its place, and what is printed
            with contextlib.suppress(OSError):
                os.fstat(number)
                continue
            os.open(os.devnull, os.O_RDWR)
        elif number and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="fastdl")


def _say(command: str, text: str) -> None:
    with contextlib.suppress(OSError):  # there is nobody left to tell
        print(f"{' '.join(['fastdl', *command.split()])}: {shown(text)}", file=sys.stderr)


def _flush() -> None:
    """Write out what was printed. A reader that has left, as `head` does, has what it wanted: no error."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):  # else Python tries again when it ends, and complains
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise


def _told(error: Exception) -> str:
    """The error in one line: of the system's, the file first and no number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).splitlines()) or type(error).__name__


def _failure(command: str, error: BaseException) -> int:
    """The exit code for an error, which is told in one line; what is none of ours is raised again."""
    if isinstance(error, BrokenPipeError):  # in the midst of the work
        _flush()
        return NO_READER
    # our own ImportErrors say what to install
    known = FastdlError | common.UsageError | ValueError | OSError | MemoryError | ImportError
    if not isinstance(error, known) or isinstance(error, ModuleNotFoundError):
        raise error
    _say(command, _told(error))
    return USAGE if isinstance(error, common.UsageError) else NOT_PROVEN if isinstance(error, FusionError) else FAILED


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code, after one line on standard error that says what was wrong."""
    command, caught = "", list[int]()
    try:
        with _stoppable(caught):
            _prepare_streams()
            options = _parser().parse_args(arguments)
            command = options.command or ""
            with _one_line_warnings(command):
                options.run(options)
                _flush()
            if caught:  # the command ended its work early, and kept what it had
                return 128 + caught[0]
    except BaseException as error:
        if not caught and not isinstance(error, KeyboardInterrupt):
            return _failure(command, error)
        _say(command, "stopped")
        return 128 + (caught or [signal.SIGINT])[0]
    return 0
