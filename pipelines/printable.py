"""Text from outside, such as file names, made safe to show on a terminal."""

import logging
import re

_LONG_WORD = re.compile(r"\S{4097,}")
"""No path of Linux is longer than 4096 bytes."""


def printable(text: str) -> str:
    """Returns the text with all that does not print written as escapes; line ends and tabs stay.

    A name may hold what clears a screen or changes a window's title, or bytes that are no UTF-8. Of a word that is too
    long for a name its beginning is left.
    """
    text = _LONG_WORD.sub(lambda word: f"{word[0][:100]}... ({len(word[0])} characters)", text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as Python reads it out of a file name
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


class PrintableFormatter(logging.Formatter):
    """Writes log records as printable text."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the record's line."""
        return printable(super().format(record))
