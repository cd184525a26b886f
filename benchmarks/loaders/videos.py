"""Makes the files that loaders are compared on, the same ones on every machine.

Originals are like a Kinetics file: 340x256, 30 frames a second, ten seconds, x264's defaults (GOPs of up to 250
frames, B-frames). Prepared ones are the same videos in the forms of `pipelines.video.encoding`.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import av
import numpy as np

from pipelines.files import written_whole
from pipelines.video.encoding import Form, Settings
from pipelines.video.transcode import transcode

ORIGINAL = "original-like"
INTRA, ALIGNED, GOP = (f"prepared, {form}" for form in Form)
KINDS = (ORIGINAL, INTRA, ALIGNED, GOP)
FORMS = dict(zip(KINDS[1:], Form, strict=True))
SIZE = (340, 256)
"""Width, height of the originals."""
FPS, NUM_FRAMES = 30, 300
REFLECTION = 0.4
"""Strength of what no motion compensation predicts, and with it the bit rate."""
CUTS = (0.4, 0.75)
"""Where the scene changes, as shares of the video; x264 begins a GOP there."""


def make_videos(
    folder: Path,
    *,
    num_videos: int,
    num_frames: int = NUM_FRAMES,
    size: tuple[int, int] = SIZE,
    kinds: tuple[str, ...] = KINDS,
) -> dict[str, list[Path]]:
    """Makes the same videos in several kinds of files, {kind: paths}; keeps those that are there already."""
    width, height = size
    stem = f"{width}x{height}-{num_frames}"

    def path(kind: str, k: int) -> Path:
        return folder / f"{kind.replace(', ', '-')}-{stem}-{k}.mp4"

    def make(k: int) -> None:
        original = path(ORIGINAL, k)
        once(original, lambda target: write_video(target, num_frames=num_frames, size=size, seed=k))
        for kind in (kind for kind in kinds if kind in FORMS):
            settings = Settings(short_side=min(size), form=FORMS[kind])
            once(path(kind, k), partial(transcode, original, settings=settings))

    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(make, range(num_videos)))
    return {kind: [path(kind, k) for k in range(num_videos)] for kind in kinds}


def write_video(
    path: Path,
    *,
    num_frames: int,
    size: tuple[int, int],
    seed: int,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
) -> Path:
    """Encodes the frames of `scene` into an MP4 with the encoder's defaults, or with `options`."""
    width, height = size
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=FPS, options={"threads": "1", **(options or {})})
        if not isinstance(stream, av.VideoStream):
            raise ValueError(f"codec: received {codec!r}; accepted: a video codec")
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in scene(num_frames, size=size, seed=seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def scene(num_frames: int, *, size: tuple[int, int], seed: int) -> Iterator[np.ndarray]:
    """Draws frames (H, W, 3) uint8 that cost x264 about as many bits as Kinetics (0.5 Mb/s at 340x256).

    An unsteady camera passes a textured wall, seen through a reflection that moves otherwise, with two patches before
    it, a little noise and two cuts."""
    width, height = size
    rng = np.random.default_rng(seed)
    walls = [texture(rng, width=width + 128, height=height + 64) for _ in range(3)]
    glass = REFLECTION * (texture(rng, width=width + 128, height=height + 64) - 128)
    patches = [texture(rng, width=width // 4, height=height // 3) for _ in range(2)]
    noise = rng.normal(0, 1.5, (height, 2 * width, 3)).astype(np.float32)
    speeds, phases = rng.uniform(0.01, 0.06, (4, 2)), rng.uniform(0, 2 * np.pi, (4, 2))
    for t in range(num_frames):
        (pan, tilt), (drift, sway), *places = (0.5 + 0.5 * np.sin(speeds * t + phases)).tolist()
        y, x = int(tilt * 64), int(pan * 128)
        frame = walls[sum(t >= share * num_frames for share in CUTS)][y : y + height, x : x + width].copy()
        y, x = int(sway * 64), int(drift * 128)
        frame += glass[y : y + height, x : x + width]
        for patch, (across, down) in zip(patches, places, strict=True):
            y, x = int(down * (height - patch.shape[0])), int(across * (width - patch.shape[1]))
            frame[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
        shift = int(rng.integers(width))
        yield np.clip(frame + noise[:, shift : shift + width], 0, 255).astype(np.uint8)


def texture(rng: np.random.Generator, *, width: int, height: int) -> np.ndarray:
    """Draws noise of several scales, the coarse ones strong: (height, width, 3) float32."""
    image = np.full((height, width, 3), 128.0, dtype=np.float32)
    for cell in (64, 32, 16, 8, 4):
        coarse = rng.normal(0, 3 + cell / 2.5, (height // cell + 2, width // cell + 2, 3))
        image += coarse.repeat(cell, axis=0).repeat(cell, axis=1)[:height, :width]
    return image


def once(path: Path, make: Callable[[Path], object]) -> None:
    """Makes a file, whole or not at all, where there is none."""
    if not path.exists():
        with written_whole(path) as draft:
            make(draft)
