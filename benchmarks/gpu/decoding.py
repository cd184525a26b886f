"""Sections of the GPU suite on decoding: each yields what it finds, piece by piece."""

import time
from functools import partial

import numpy as np

from benchmarks.gpu.setup import Found, Suite, seconds_per_video


def decode_time(suite: Suite) -> Found:
    """Times decoding by the clip's start, of whole files and of cuts, and the processor time of cutting."""
    from pipelines.video.cut import cut

    shape, num_frames = suite.shape, 60 if suite.cpu else 300
    for kind, paths in suite.videos().items():
        for start in np.linspace(0, num_frames - shape.span_frames, 2 if suite.cpu else 5).astype(int).tolist():
            frames = shape.frames(start, num_video_frames=num_frames)
            cpu_before = time.process_time()
            cuts = [cut(path, frames, exact_seek=True) for path in paths]
            cut_seconds = (time.process_time() - cpu_before) / len(paths)
            yield (
                f"{kind}: start {start}",
                {
                    "whole_seconds": seconds_per_video([(path.read_bytes(), frames) for path in paths], suite),
                    "cut_seconds": seconds_per_video([(c.content, c.frames) for c in cuts], suite),
                    "cutting_cpu_seconds": cut_seconds,
                },
            )


def sizes(suite: Suite) -> Found:
    """Times decoding by width, 340 against multiples of 16: NVDEC's decoders are cached by size."""
    from benchmarks.loaders.videos import once, write_video

    shape = suite.shape
    codec = {"codec": "libvpx-vp9"} if suite.cpu else {"options": {"x264-params": "keyint=16:bframes=0:scenecut=0"}}
    widths, height = ((52, 64), 48) if suite.cpu else ((340, 336, 352), 256)
    for width in widths:
        paths = [suite.folder / f"size-{width}x{height}-{k}.mp4" for k in range(2 if suite.cpu else 8)]
        for k, path in enumerate(paths):
            once(path, partial(write_video, num_frames=70, size=(width, height), seed=k, **codec))
        items = [(path.read_bytes(), shape.frames(0, num_video_frames=70)) for path in paths]
        yield f"{width}x{height}", {"seconds_per_video": seconds_per_video(items, suite)}


def threads(suite: Suite) -> Found:
    """Times 1 to 16 decoding threads of DALI on cuts of the planned clips, in batches of 32; few threads come last, as
    they take longest.

    Yields frames a second, and their share of what NVDEC decodes where each thread, up to 8, has one long stream."""
    from benchmarks.decode_work import num_packets
    from pipelines.video.cut import cut

    num_frames, numbers = (60, (2, 1)) if suite.cpu else (300, (8, 16, 12, 7, 4, 2, 1))
    for kind, paths in suite.videos().items():
        jobs = suite.workload(paths, num_samples=4 if suite.cpu else 32).jobs()
        cuts = [cut(video.path, frames, exact_seek=video.exact_seek) for video, frames in jobs]
        items = [(made.content, made.frames) for made in cuts]
        frames_a_video = sum(num_packets(made.content) for made in cuts) / len(cuts)
        streams = [(path.read_bytes(), np.arange(num_frames, dtype=np.int32)) for path in paths]
        for number in numbers:
            videos_per_second = 1 / seconds_per_video(items, suite, num_threads=number, num_repeats=4)
            most = num_frames / seconds_per_video(streams[:number], suite, num_threads=number, num_repeats=3)
            rate = frames_a_video * videos_per_second
            yield (
                f"{kind}: {number}",
                {
                    "videos_per_second": videos_per_second,
                    "frames_per_second": rate,
                    "long_streams_frames_per_second": most,
                    "share": rate / most,
                },
            )
