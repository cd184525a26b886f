"""Decoders of other libraries, each called as its documentation advises.

Legend: F frames asked for, H x W pixels. A decoder takes a Video and ascending, distinct presentation indices and
gives (F, H, W, 3) uint8 RGB. Libraries are imported only when used.
"""

import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Generic, TypeVar

import av
import numpy as np

from pipelines.video.frames import decode_frames

Clip = TypeVar("Clip")  # an array or a tensor (F, H, W, 3) uint8
OURS = "cmpl"
SEEK_GAP_FRAMES = 32
"""One variant seeks where two frames asked for are further apart than this; the other decodes on."""


@dataclass(frozen=True, kw_only=True)
class Video:
    """A file, with what a data set's list says of it."""

    path: str
    fps: float
    exact_seek: bool


@dataclass(frozen=True, kw_only=True)
class Library(Generic[Clip]):
    """A library that decodes clips. Its documentation leaves open which of `choices` to take; the fastest is taken."""

    decode: Callable[..., Clip]
    package: str
    advice: str
    choices: tuple[dict[str, str], ...] = field(default_factory=lambda: ({},))
    own_threads: bool = True
    """True if it can also decode one video on several threads."""

    def problem(self) -> str | None:
        """Says why it cannot be used here; None where it can."""
        if importlib.util.find_spec(self.package.partition(".")[0]) is None:
            return f"{self.package} is not installed"
        try:
            importlib.import_module(self.package)
        except (ImportError, OSError, RuntimeError) as error:
            return f"{self.package} cannot be imported: {str(error).strip().splitlines()[0][:120]}"
        return None


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Settings of a loader: N processes of one thread or one process of N threads, and its own options."""

    loader: str
    num_workers: int = 1
    num_threads: int = 1
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return ", ".join([f"{self.num_workers} x {self.num_threads}", *(f"{k}={v}" for k, v in self.options)])

    def decode(self, video: Video, frames: np.ndarray) -> np.ndarray:
        """Decodes the frames in the order asked for, with repetitions. Every library decodes each frame once."""
        wanted, slots = np.unique(frames, return_inverse=True)
        clip = LIBRARIES[self.loader].decode(video, wanted, num_threads=self.num_threads, **dict(self.options))
        return clip if len(wanted) == len(frames) and (wanted == frames).all() else clip[slots]


def setups(loader: str, *, num_cores: int) -> list[Setup]:
    """Lists the settings to try: as many processes as cores and, where the library can, as many threads."""
    shapes = [(num_cores, 1)] + ([(1, num_cores)] if LIBRARIES[loader].own_threads and num_cores > 1 else [])
    return [
        Setup(loader=loader, num_workers=workers, num_threads=threads, options=tuple(choice.items()))
        for workers, threads in shapes
        for choice in LIBRARIES[loader].choices
    ]


def decode_ours(video: Video, frames: np.ndarray, *, num_threads: int) -> np.ndarray:
    """Decodes by this project, in one thread."""
    return decode_frames(video.path, frames, exact_seek=video.exact_seek)


def decode_pyav(video: Video, frames: np.ndarray, *, num_threads: int, seek: str) -> np.ndarray:
    """Decodes by PyAV as its cookbook does: seek back to a keyframe, decode on, convert the frames that are wanted."""
    images = np.empty(0)
    with av.open(video.path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = num_threads
        stream.codec_context.thread_type = "AUTO" if num_threads > 1 else "NONE"
        start, tick, slot = stream.start_time or 0, _tick(stream), 0
        for run in _runs(frames, seek):
            container.seek(start + int((int(run[0]) + 0.5) / video.fps / tick), stream=stream, backward=True)
            left = set(run.tolist())
            for frame in container.decode(stream):
                index = round(((frame.pts or 0) - start) * tick * Fraction(video.fps))
                if index in left:
                    picture = frame.to_ndarray(format="rgb24")
                    images = np.empty((len(frames), *picture.shape), np.uint8) if not slot else images
                    images[slot], slot = picture, slot + 1
                    left.remove(index)
                    if not left:
                        break
    return images


def _tick(stream: av.VideoStream) -> Fraction:
    """Seconds of one time stamp. Raises ValueError where the file does not say."""
    if stream.time_base is None:
        raise ValueError(f"time_base: received None from stream {stream.index}; accepted: a fraction")
    return stream.time_base


def _runs(frames: np.ndarray, seek: str) -> list[np.ndarray]:
    """Splits the frames into groups; before each group the decoder seeks."""
    gaps = np.flatnonzero(np.diff(frames) > SEEK_GAP_FRAMES) + 1
    return np.split(frames, gaps) if seek == "each clip" else [frames]


def decode_opencv(video: Video, frames: np.ndarray, *, num_threads: int, seek: str) -> np.ndarray:
    """Decodes by OpenCV: `grab` decodes each frame, `retrieve` converts only those that are wanted."""
    import cv2

    cv2.setNumThreads(num_threads)
    capture = cv2.VideoCapture(video.path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, num_threads])
    images, slot, position = np.empty(0), 0, 0
    for run in _runs(frames, seek):
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(run[0]))
        position = int(run[0])
        for index in run.tolist():
            while position <= index:
                if not capture.grab():
                    raise RuntimeError(f"{video.path}: ends at frame {position}")
                position += 1
            _, picture = capture.retrieve()
            images = np.empty((len(frames), *picture.shape), np.uint8) if not slot else images
            cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=images[slot])
            slot += 1
    capture.release()
    return images


def decode_decord(video: Video, frames: np.ndarray, *, num_threads: int) -> np.ndarray:
    """Decodes by decord: `get_batch` seeks by itself and converts only what it returns."""
    import decord

    return decord.VideoReader(video.path, ctx=decord.cpu(0), num_threads=num_threads).get_batch(frames).asnumpy()


def decode_torchcodec(
    video: Video, frames: np.ndarray, *, num_threads: int, seek_mode: str = "approximate"
) -> np.ndarray:
    """Decodes by torchcodec on the CPU: the batch method, approximate seeking (exact on files of constant rate)."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(
        video.path, dimension_order="NHWC", num_ffmpeg_threads=num_threads, seek_mode=seek_mode, device="cpu"
    )
    return decoder.get_frames_at(frames.tolist()).data.numpy()


def decode_spdl(video: Video, frames: np.ndarray, *, num_threads: int) -> np.ndarray:
    """Decodes by SPDL: `sample_decode_video` parts the packets at keyframes and decodes the parts that are needed."""
    import spdl.io

    config = spdl.io.decode_config(decoder_options={"threads": str(num_threads)})
    pictures = spdl.io.sample_decode_video(spdl.io.demux_video(video.path), frames.tolist(), decode_config=config)
    return np.asarray(spdl.io.to_numpy(spdl.io.convert_frames(pictures)))


_SEEKS = ({"seek": "once"}, {"seek": "each clip"})

LIBRARIES: dict[str, Library[np.ndarray]] = {
    OURS: Library(decode=decode_ours, package="av", advice="one thread a video", own_threads=False),
    "decord": Library(decode=decode_decord, package="decord", advice="get_batch; num_threads"),
    "OpenCV": Library(decode=decode_opencv, package="cv2", advice="grab, retrieve; N_THREADS", choices=_SEEKS),
    "PyAV plain": Library(decode=decode_pyav, package="av", advice="seek, decode; thread_type AUTO", choices=_SEEKS),
    "SPDL": Library(decode=decode_spdl, package="spdl.io", advice="sample_decode_video", own_threads=False),
    "torchcodec": Library(
        decode=decode_torchcodec,
        package="torchcodec",
        advice="get_frames_at; approximate or exact; num_ffmpeg_threads",
        choices=({"seek_mode": "approximate"}, {"seek_mode": "exact"}),
    ),
}
"""Decoders of one video on the CPU."""
GPU_OR_SOURCE_ALONE = {
    "agibot-videodataset": "decodes on NVIDIA GPUs alone: without libnvcuvid it cannot be imported",
    "FFCV": "no wheel: it is built against the headers of OpenCV and libjpeg-turbo",
    "PyNvVideoCodec": "decodes on NVIDIA GPUs alone",
}
"""Libraries that take no part on a CPU, and why."""


def reference_frames(video: Video, frames: np.ndarray) -> np.ndarray:
    """Decodes every frame in order and picks those asked for: the reference of the comparison."""
    with av.open(video.path) as container:
        pictures: Iterator[np.ndarray] = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
        kept = {index: picture for index, picture in enumerate(pictures) if index in set(frames.tolist())}
    return np.stack([kept[index] for index in frames.tolist()])


def begin_worker(setup: Setup) -> None:
    """Prepares a worker: imports everything before time is taken, and lets no library add threads."""
    os.environ["OMP_NUM_THREADS"] = str(setup.num_threads)
    LIBRARIES[setup.loader].problem()
    if LIBRARIES[setup.loader].package == "torchcodec":
        import torch

        torch.set_num_threads(setup.num_threads)
