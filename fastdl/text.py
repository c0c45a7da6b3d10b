"""Text that comes from files of others, made safe to show."""

from __future__ import annotations

import unicodedata

KEPT = "\n"
INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # control, format (bidi too), surrogates, private, separators


def shown(text: str) -> str:
    r"""The text with every character that would not be seen, or would steer a terminal, written as \x1b, \u202e…"""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in KEPT or unicodedata.category(c) not in INVISIBLE else ascii(c)[1:-1] for c in text)
