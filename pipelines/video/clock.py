"""The times at which the frames of a video are shown again: their own, but for jumps of the time stamps."""

import itertools
import statistics
from collections import deque
from fractions import Fraction

import av

from pipelines.video.container import demux

MAX_STEP_SECONDS = 60
"""A longer pause between two frames is a jump of the time stamps, as of two recordings in one file."""
_NUM_RECENT = 101
"""Steps that the usual one is the median of."""
_NUM_FIRST = 300
"""Packets that the usual rate of a video is taken of."""


def usual_rate(container: av.container.InputContainer, stream: av.VideoStream) -> Fraction | None:
    """Returns the frames a second that the median distance of the first frames means. None without time stamps.

    A video's average rate is another one where it pauses: 20 seconds of stillness make 3 frames a second of 25.
    """
    if stream.time_base is None:
        return None
    packets = itertools.islice(demux(container, stream, last_frame=_NUM_FIRST), _NUM_FIRST)
    stamps = sorted({packet.pts for packet in packets if packet.pts is not None})
    if len(stamps) < 2:
        return None
    step = statistics.median(after - before for before, after in itertools.pairwise(stamps))
    return (1 / (Fraction(step) * stream.time_base)).limit_denominator(1001)


class Clock:
    """Gives each frame its time, in ticks of the stream's time base. Times begin at 0 and rise, whatever the stamps do.

    A frame follows the one before it by the difference of their time stamps. Where that is not above zero, longer than
    `MAX_STEP_SECONDS`, or where a stamp is missing, it follows by the usual step: the median of those before, or
    1 / `rate` seconds at the start. `num_jumps` counts the differences that were not taken.
    """

    def __init__(self, *, time_base: Fraction, rate: Fraction) -> None:
        self._most = max(1, int(MAX_STEP_SECONDS / time_base))
        self._first_step = max(1, round(1 / (rate * time_base)))
        self._recent: deque[int] = deque(maxlen=_NUM_RECENT)
        self._last_stamp: int | None = None
        self._now: int | None = None
        self.num_jumps = 0

    def time_of(self, stamp: int | None) -> int:
        """Returns the time of the next frame, in ticks. `stamp` is its time stamp, in the same ticks."""
        before, self._last_stamp = self._last_stamp, stamp
        if self._now is None:
            self._now = 0
            return 0
        step = None if stamp is None or before is None else stamp - before
        if step is not None and 0 < step <= self._most:
            self._recent.append(step)
        else:
            self.num_jumps += step is not None
            step = max(1, round(statistics.median(self._recent))) if self._recent else self._first_step
        self._now += step
        return self._now
