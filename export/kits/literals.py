"""Text as a string literal of the language it goes into: class names may hold quotes, backslashes, `$` and any script.

Every function takes text without lone surrogates and gives the literal with its quotes.
"""

from __future__ import annotations

import json
from collections.abc import Callable


def c_literal(text: str) -> str:
    """A C or C++ literal in ASCII that holds the text in UTF-8.

    Octal escapes end after three digits, hexadecimal ones where the digits end; a `?` could begin a trigraph.
    """
    plain = set(range(0x20, 0x7F)) - set(b'"\\?')
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'


def kotlin_literal(text: str) -> str:
    """A Kotlin literal; `$` would begin a template."""

    def escaped(sign: str) -> str:
        if sign in '"\\$':
            return f"\\{sign}"
        if sign.isprintable():
            return sign
        units = sign.encode("utf-16-be")
        return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))

    return '"' + "".join(map(escaped, text)) + '"'


def swift_literal(text: str) -> str:
    """A Swift literal; an escaped backslash leaves no interpolation."""

    def escaped(sign: str) -> str:
        if sign in '"\\':
            return f"\\{sign}"
        return sign if sign.isprintable() else f"\\u{{{ord(sign):x}}}"

    return '"' + "".join(map(escaped, text)) + '"'


def javascript_literal(text: str) -> str:
    """A JavaScript literal in ASCII, safe within a page too."""
    return json.dumps(text).replace("<", "\\u003c")


def comment(text: object) -> str:
    """Text for one line of a comment in any of these languages: it neither ends the line nor the comment."""
    signs = "".join(sign if sign.isprintable() else "?" for sign in str(text))
    # A backslash at a line's end goes on in C; the two others end a comment.
    return signs.replace("\\", "/").replace("*/", "* /").replace("-->", "-- >")


#: Filters of the templates.
FILTERS: dict[str, Callable[..., str]] = {
    "c": c_literal,
    "comment": comment,
    "javascript": javascript_literal,
    "kotlin": kotlin_literal,
    "swift": swift_literal,
}
