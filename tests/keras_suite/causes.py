"""Why a test failed, in a line that others which failed of the same have too."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

from keras_suite.missing import MissingName

KINDS = {
    "missing name": "a name that is not there",
    "missing argument": "an argument that is not there",
    "missing attribute": "an attribute or method that is not there",
    "no error": "SILENT: Keras raises an error, nothing was raised",
    "wrong": "SILENT: a number, a shape or a name that differs",
    "warning": "a warning or a log that did not come",
    "error": "an error where Keras has none, or of another type",
    "file": "the test's file could not be imported",
    "time": "took too long",
    "died": "the process ended",
}

SILENT = "no error", "wrong"


def of(info: Any, folder: Path) -> tuple[str, str]:
    """The kind, and the line."""
    error, text = info.value, " ".join(str(info.value).split())
    first = text[:160]
    if isinstance(error, MissingName):
        return "missing name", text
    if isinstance(error, TimeoutError):
        return "time", text
    if isinstance(error, TypeError) and re.search(
        r"unexpected keyword|has no argument|positional arguments? but|got multiple values", text
    ):
        return "missing argument", first
    if isinstance(error, AttributeError):
        return "missing attribute", re.sub(r"0x[0-9a-f]+", "…", first)
    if isinstance(error, AssertionError):
        return _assertion(text, error, folder)
    return "error", f"{type(error).__name__}: {first}"


def _assertion(text: str, error: BaseException, folder: Path) -> tuple[str, str]:
    if "not raised" in text:
        return "no error", text[:120]
    if "not triggered" in text or "no logs" in text:
        return "warning", text[:120]
    place = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if str(folder) in frame.filename:
            place = " ".join((frame.line or "").split())
    return "wrong", f"{text[:140]}   at: {place[:110]}"
