"""Keeps the batches that a GPU may still be reading."""

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
MAX_WAITING = 2
"""Batches kept besides the newest; the host waits for the device rather than keep more."""


class Event(Protocol):
    """A mark in a device's queue, as `torch.cuda.Event` is one."""

    def query(self) -> bool: ...  # whether the device has passed it
    def synchronize(self) -> None: ...  # waits until it has


class InFlight(Generic[T]):
    """Holds each batch until the device has passed what was queued before the next one was asked for.

    The host runs ahead of the GPU. A batch that it lets go of goes back to DALI at once, and DALI may write the next
    one there, while kernels that read it are still waiting in torch's queue. (On an H100 it did not, in 8 tries;
    nothing promises it.) `mark` puts an event into that queue.
    """

    def __init__(self, mark: Callable[[], Event], *, max_waiting: int = MAX_WAITING) -> None:
        self._mark, self._max_waiting = mark, max_waiting
        self._newest: T | None = None
        self._waiting: deque[tuple[T, Event]] = deque()

    def release(self) -> None:
        """Call before another batch is taken: all reads of the newest one are queued. Lets go of what was passed."""
        if self._newest is not None:
            self._waiting.append((self._newest, self._mark()))
            self._newest = None
        while self._waiting and (len(self._waiting) > self._max_waiting or self._waiting[0][1].query()):
            self._waiting[0][1].synchronize()
            self._waiting.popleft()

    def hold(self, batch: T) -> None:
        """Keeps the batch that is about to be handed out."""
        self._newest = batch

    def drain(self) -> None:
        """Waits until the device reads nothing any more, and lets go of everything."""
        self.release()
        for _, event in self._waiting:
            event.synchronize()
        self._waiting.clear()
