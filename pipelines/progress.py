"""How long work tells how far it is. Pipelines never draw; the command line does."""

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what is being done)."""


def no_progress(done: int, total: int, what: str) -> None:
    """A Progress that shows nothing."""
