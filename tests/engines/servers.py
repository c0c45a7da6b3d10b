"""Servers that tests start: each on a port of its own, ended with the test, its log shown where it does not answer."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

PATIENCE = 90.0  # seconds for a server to begin


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextlib.contextmanager
def started(command: Sequence[str], health: str, cwd: Path, **environment: str) -> Iterator[int]:
    """The server's process, once `health` (a URL) answers."""
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(
            command, cwd=cwd, env=os.environ | environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            until = time.monotonic() + PATIENCE
            while not answers(health):
                if server.poll() is not None or time.monotonic() > until:
                    log.seek(0)
                    raise AssertionError(f"{command[0]} does not answer:\n{log.read()[-4000:]}")
                time.sleep(0.1)
            yield server.pid
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):  # of the processes that it started, too
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(server.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    server.wait(5)
                    if number == signal.SIGTERM:
                        time.sleep(0.2)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
