"""The `fastdl` command.

Exit codes: 0 done; 1 a file or data that cannot be used; 2 wrong usage; 3 not proven, or different;
130 stopped by Ctrl-C, 143 by SIGTERM. Nothing is half written in any of them.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType

from fastdl.commands import demo, fuse, info, inspect, quantize, verify
from fastdl.errors import FastdlError, FusionError
from fastdl.text import shown

COMMANDS = {
    "info": info,
    "demo": demo,
    "fuse": fuse,
    "verify": verify,
    "inspect": inspect,
    "quantize": quantize,
}
CODES = "exit codes: 0 done, 1 a file or data that cannot be used, 2 wrong usage, 3 not proven or different"
FAILED, NOT_PROVEN, INTERRUPTED, TERMINATED = 1, 3, 130, 143


def _parser() -> argparse.ArgumentParser:
    told = "Train dense networks on a CPU, fold, prove, serve."
    parser = argparse.ArgumentParser(prog="fastdl", description=told, epilog=CODES)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        summary = (command.__doc__ or "").splitlines()[0]
        one = commands.add_parser(name, help=summary, description=summary, epilog=CODES)
        command.arguments(one)
        one.set_defaults(run=command.run)
    return parser


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM raises SystemExit while it lasts, so that files half written are taken away."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code, after one line on standard error that says what was wrong."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot write must not cost the file
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        with _terminable():
            options.run(options)
    except (FastdlError, ValueError, OSError, MemoryError) as error:
        print(f"fastdl {options.command}: {shown(str(error))}", file=sys.stderr)
        return NOT_PROVEN if isinstance(error, FusionError) else FAILED
    except KeyboardInterrupt:
        print(f"fastdl {options.command}: stopped", file=sys.stderr)
        return INTERRUPTED
    return 0
