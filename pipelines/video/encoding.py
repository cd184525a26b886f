"""How prepared videos are encoded: three forms, and x264's settings for each.

`python -m benchmarks.loaders.forms` measures what each form costs in bytes and quality, and what it saves in time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

import av
from av.container import OutputContainer

from pipelines.errors import InputError

STRIDE = 4
"""Distance of the P-pictures in aligned files; those between are B-pictures that nothing refers to."""
SIDE_MULTIPLE = 16


class Form(StrEnum):
    """Which pictures of a prepared file depend on which others."""

    INTRA = "intra"
    """Every picture a keyframe: a clip costs the pictures that it shows, whatever its start and stride."""
    ALIGNED = "aligned"
    """P BBB P: clips of stride 4 and 8 that start at multiples of 4 need no B-picture."""
    GOP = "gop"
    """Short closed GOPs of P-pictures: the smallest files, the slowest to decode."""

    @property
    def summary(self) -> str:
        """What it says of itself on a line."""
        return _SUMMARIES[self]


_SUMMARIES = {
    Form.INTRA: "every picture a keyframe",
    Form.ALIGNED: "P BBB P in closed GOPs",
    Form.GOP: "P-pictures in closed GOPs",
}
_GOPS = {Form.INTRA: 1, Form.ALIGNED: 16, Form.GOP: 16}
_CRFS = {Form.INTRA: 25, Form.ALIGNED: 20, Form.GOP: 20}
_FAST_TO_DECODE = {"tune": "fastdecode"}
"""CAVLC for CABAC, no deblocking, no weighted prediction."""
_OPTIONS = {Form.INTRA: {"preset": "veryfast"} | _FAST_TO_DECODE, Form.ALIGNED: _FAST_TO_DECODE, Form.GOP: {}}
_PARAMETERS = {
    # One quantizer for all pictures and blocks: so every video gets about the same PSNR, detailed ones too.
    Form.INTRA: "bframes=0:aq-mode=0:qcomp=1",
    Form.ALIGNED: "bframes=3:b-adapt=0:b-pyramid=none",
    Form.GOP: "bframes=0",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the videos are encoded.

    short_side: in pixels; smaller videos keep their size. gop: distance of keyframes in frames. crf: x264's constant
    rate factor, lower is better. Without gop or crf the form has its own, and these fields say which.
    """

    form: Form = Form.INTRA
    short_side: int = 256
    gop: int | None = None
    crf: int | None = None

    def __post_init__(self) -> None:
        if self.form not in list(Form):
            raise InputError(f"form: received {self.form!r}; accepted: {', '.join(Form)}")
        object.__setattr__(self, "form", Form(self.form))
        object.__setattr__(self, "gop", _GOPS[self.form] if self.gop is None else self.gop)
        object.__setattr__(self, "crf", _CRFS[self.form] if self.crf is None else self.crf)
        if self.short_side < SIDE_MULTIPLE:
            raise InputError(f"short_side: received {self.short_side}; accepted: {SIDE_MULTIPLE} pixels or more")
        if self.form is Form.INTRA and self.gop != 1:
            raise InputError(f"gop: received {self.gop}; accepted: 1 in files of form intra, or another form")
        if self.keyframe_distance < 1 or (self.form is Form.ALIGNED and self.keyframe_distance % STRIDE):
            accepted = f"a multiple of {STRIDE}" if self.form is Form.ALIGNED else "1 frame or more"
            raise InputError(f"gop: received {self.gop}; accepted: {accepted}")
        if not 0 <= int(self.crf or 0) <= 51:
            raise InputError(f"crf: received {self.crf}; accepted: 0 (lossless) to 51")

    @property
    def keyframe_distance(self) -> int:
        """Frames from a keyframe to the next."""
        return _GOPS[self.form] if self.gop is None else self.gop

    def x264_options(self) -> dict[str, str]:
        """Options of FFmpeg's libx264."""
        parameters = f"keyint={self.keyframe_distance}:min-keyint=1:scenecut=0:open-gop=0:{_PARAMETERS[self.form]}"
        # The files are the parallelism.
        return {"crf": str(self.crf), "threads": "1", "x264-params": parameters, **_OPTIONS[self.form]}


class Encoder:
    """x264, and the file it writes into. It is told of a constant rate, so that a long pause makes no frame dear; the
    packets get their times behind it."""

    def __init__(
        self,
        output: OutputContainer,
        frame: av.VideoFrame,
        *,
        rate: Fraction,
        time_base: Fraction,
        settings: Settings,
    ) -> None:
        self._output, self._time_base, self._rate, self._number = output, time_base, rate, 0
        self._stream = output.add_stream("libx264", rate=rate, options=settings.x264_options())
        self._stream.width, self._stream.height, self._stream.pix_fmt = frame.width, frame.height, "yuv420p"
        self._stream.time_base = time_base
        context = self._stream.codec_context
        context.color_range, context.colorspace = frame.color_range, frame.colorspace
        context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc

    def put(self, frame: av.VideoFrame | None, times: Sequence[int]) -> None:
        """Encodes the next frame, or with None what is left. `times` are those of all frames so far, in ticks."""
        if frame is not None:
            frame.pts, frame.time_base = self._number, 1 / self._rate
            frame.pict_type = 0  # else x264 would take over the source's
            self._number += 1
        for packet in self._stream.encode(frame):
            assert packet.pts is not None
            assert packet.dts is not None
            packet.pts, packet.dts = (times[number] if number >= 0 else number for number in (packet.pts, packet.dts))
            packet.duration, packet.time_base = 0, self._time_base
            self._output.mux(packet)
