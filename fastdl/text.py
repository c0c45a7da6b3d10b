"""Text that comes from files of others, made safe to show."""

from __future__ import annotations

import unicodedata

INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # control, format (bidi too), surrogates, private, separators


def shown(text: str) -> str:
    r"""The text in one line, every character that would not be seen, or would steer a terminal, as \n, \x1b, \u202e…"""
    if text.isascii() and text.isprintable():
        return text
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) in INVISIBLE else c for c in text)


def shown_lines(text: str) -> str:
    """The same of a text whose line breaks are our own; what others wrote was made safe before it went in."""
    return "\n".join(map(shown, text.split("\n")))
