"""Lines that training says: on standard output, or to Python's `logging` where nobody looks at that."""

from __future__ import annotations

from typing import Any

LEVELS = "DEBUG", "INFO", "WARNING", "ERROR", "FATAL"
_interactive = True


def enable_interactive_logging() -> None:
    """Let fit, evaluate and callbacks print what they say, as they do from the start. Keras: config."""
    global _interactive
    _interactive = True


def disable_interactive_logging() -> None:
    """Let them log it instead, at level INFO of the logger "fastdl": no bars, and lines only where these are handled.

    Keras: config.disable_interactive_logging.
    """
    global _interactive
    _interactive = False


def is_interactive_logging_enabled() -> bool:
    """Whether they print. Keras: config.is_interactive_logging_enabled."""
    return _interactive


def set_logging_verbosity(level: str) -> None:
    """The least level that the logger "fastdl" passes on: DEBUG, INFO, WARNING, ERROR or FATAL. ValueError."""
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}, not {level!r}")
    _logger().setLevel(level)


def say(line: str) -> None:
    """Print the line, or log it."""
    if _interactive:
        print(line, flush=True)
    else:
        _logger().info(line)


def _logger() -> Any:
    import logging  # which takes as long as all else that `import fastdl` does beside numpy

    return logging.getLogger("fastdl")
