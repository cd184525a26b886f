"""What FFmpeg's command line makes of a display matrix: its rules, with FFmpeg's own filters."""

import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace

_ONE, _W = 1 << 16, 1 << 30
MATRICES = {
    name: (a * _ONE, b * _ONE, 0, c * _ONE, d * _ONE, 0, 0, 0, _W)
    for name, (a, b, c, d) in {
        "as stored": (1, 0, 0, 1),
        "turned clockwise": (0, 1, -1, 0),
        "upside down": (-1, 0, 0, -1),
        "turned against the clock": (0, -1, 1, 0),
        "left and right exchanged": (-1, 0, 0, 1),
        "top and bottom exchanged": (1, 0, 0, -1),
        "transposed": (0, 1, 1, 0),
        "transposed the other way": (0, -1, -1, 0),
    }.items()
}
"""The eight display matrices of whole quarter turns: (a, b, u, c, d, v, x, y, w)."""


def autorotate_filters(matrix: tuple[int, ...]) -> list[tuple[str, str]]:
    """Returns the filters that FFmpeg inserts for `-autorotate` (configure_input_video_filter, ffmpeg_filter.c)."""
    m = [value / _ONE for value in matrix]
    turned = -math.degrees(math.atan2(m[1] / math.hypot(m[1], m[4]), m[0] / math.hypot(m[0], m[3])))
    theta = -turned % 360
    if abs(theta - 90) < 1:
        return [("transpose", "cclock_flip" if m[3] > 0 else "clock")]
    if abs(theta - 180) < 1:
        return [(name, "") for name, value in (("hflip", m[0]), ("vflip", m[4])) if value < 0]
    if abs(theta - 270) < 1:
        return [("transpose", "clock_flip" if m[3] < 0 else "cclock")]
    assert theta < 1
    return [("vflip", "")] if m[4] < 0 else []


def autorotated(path: Path, *, stretch: Fraction | int = 1) -> np.ndarray:
    """Returns all frames (F, H, W, 3) uint8 as FFmpeg shows them; whole `stretch` repeats a stored pixel's columns."""
    frames = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            stored = frame.side_data.get("DISPLAYMATRIX")
            matrix = MATRICES["as stored"] if stored is None else np.frombuffer(bytes(stored), np.int32).tolist()
            rgb = frame.to_ndarray(format="rgb24", src_colorspace=Colorspace.ITU601).repeat(int(stretch), axis=1)
            frames.append(_filtered(rgb, autorotate_filters(tuple(matrix))))
    return np.stack(frames)


def _filtered(rgb: np.ndarray, filters: list[tuple[str, str]]) -> np.ndarray:
    graph, frame = av.filter.Graph(), av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    frame.time_base = Fraction(1, 25)
    size = {"width": frame.width, "height": frame.height}
    source = graph.add_buffer(**size, format=av.VideoFormat("rgb24"), time_base=frame.time_base)
    graph.link_nodes(source, *(graph.add(*step) for step in filters), graph.add("buffersink")).configure()
    graph.vpush(frame)
    return graph.vpull().to_ndarray(format="rgb24")
