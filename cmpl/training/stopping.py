"""Signals that end training: the first one after the current step, a second one at once."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from pipelines.errors import InputError

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""SIGTERM, Ctrl-C and a closed terminal."""


class StopRequest:
    """Whether training was asked to stop. `note` is given the line that says so."""

    def __init__(self, *, note: Callable[[str], None]) -> None:
        self.is_asked = False
        self._note = note

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Within it, signals ask; a second one raises KeyboardInterrupt. Under nohup, a closed terminal does not ask.

        Outside of the main thread nothing is heard: whoever called has the signals.
        """
        try:
            under_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            heard = [number for number in STOPPING if not (under_nohup and number == signal.SIGHUP)]
            before = {number: signal.signal(number, self._ask) for number in heard}
        except ValueError:  # not the main thread
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.is_asked:
            raise KeyboardInterrupt
        self.is_asked = True
        with contextlib.suppress(OSError, InputError):  # nobody may be left to hear it
            self._note("stopping after this step, with a checkpoint; once more to stop at once")
