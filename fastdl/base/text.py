"""Text that comes from files of others, made safe to show, and tables as plain text."""

from __future__ import annotations

import html
import io
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # control, format (bidi too), surrogates, private, separators


def shown(text: str) -> str:
    r"""The text in one line, every character that would not be seen, or would steer a terminal, as \n, \x1b, \u202e…"""
    if text.isascii() and text.isprintable():
        return text
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) in INVISIBLE else c for c in text)


def shown_lines(text: str) -> str:
    """The same of a text whose line breaks are our own; what others wrote was made safe before it went in."""
    return "\n".join(map(shown, text.split("\n")))


def rendered(*parts: RenderableType, width: int = 110) -> str:
    """Tables and texts as plain lines, the same in a terminal, a notebook and a file, with and without colours."""
    from rich.console import Console

    text = io.StringIO()
    console = Console(file=text, width=width, color_system=None, force_terminal=False, force_jupyter=False)
    console.print(*parts, sep="\n", highlight=False)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def preformatted(text: str) -> str:
    """The lines as HTML, for notebooks."""
    return f'<pre style="line-height: 1.2">{html.escape(shown_lines(text))}</pre>'


class InNotebooks:
    """Base of what prints as a table: a notebook shows the same."""

    def _repr_html_(self) -> str:
        return preformatted(str(self))
