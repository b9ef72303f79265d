"""Characters of data text that nobody sees, made visible, wherever it is shown."""

from __future__ import annotations

import unicodedata

#: Kinds of character that show nothing, or change how others are shown.
_UNSEEN = frozenset(("Cf", "Cc", "Co", "Cs", "Zs"))


def visible(text: object) -> str:
    """The text letter for letter, with invisible and direction-changing characters named.

    A zero-width space becomes `‹U+200B›`; breaks, tabs and the no-break space become a space.
    """
    shown = str(text)
    if shown.isprintable():  # nearly every text, and far sooner said than letter by letter
        return shown
    return "".join(_visible(character) for character in shown)


def shortened(text: object, width: int) -> str:
    """`visible` text of at most `width` characters.

    What is too long loses its middle: names that begin alike often differ at the end.
    """
    shown = visible(text)
    if len(shown) <= width:
        return shown
    tail = width // 3
    return f"{shown[: width - tail - 1].rstrip()}…{shown[len(shown) - tail :].lstrip()}"


def _visible(character: str) -> str:
    """The character itself, or a marker that names it when nobody could see it."""
    if character in "\n\r\t\u2028\u2029\u00a0":
        return " "
    if character != " " and unicodedata.category(character) in _UNSEEN:
        return f"‹U+{ord(character):04X}›"
    return character
