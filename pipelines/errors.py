"""Errors that a user can mend. Whoever raises one says which file or field, what came, and what would do."""

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """Bad input from outside: a file, an option, a configuration field.

    The command line prints the message alone, without a traceback.
    """


class VideoError(InputError):
    """One video cannot be used; the message is the reason, without the path."""


class FileError(VideoError):
    """A file cannot be used at all, whatever frames are asked for. Other VideoErrors may be of some frames alone."""


class LoaderError(InputError):
    """No more batches can be made, for a reason outside of the program: files, memory, a worker that was killed.

    problems: (path, reason) of the videos that were set aside on the way.
    """

    def __init__(self, message: str, *, problems: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


def nearest(name: str, choices: Iterable[str]) -> str:
    """'; did you mean X?' for a misspelled name, or the accepted names when none is near."""
    choices = sorted(choices)
    close = difflib.get_close_matches(name, choices, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; accepted: {', '.join(choices)}"
