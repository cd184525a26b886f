"""The demo data set: small videos made on the spot, in the layout of the `folder` data set.

    <root>/train/<class>/<class>_000.mp4 ...    <root>/val/<class>/...    <root>/checksums.json

Ten classes, told apart by how they look and by how they move; a video is two shots (`demo_scenes`). Most files are
H.264 in MP4 at 15 frames a second, with a keyframe at the start of each shot; one in ten is MPEG-4 in AVI at 12.5, with
the codec of UCF-101, and one in twenty is half to three quarters as long as the rest. No video may be mirrored: `right`
would become `left`.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import io
import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np

from pipelines.cache import cache_root
from pipelines.datasets.annotations import Annotations, ReadOptions
from pipelines.datasets.demo_scenes import MOTIONS, SPLITS, render_video, scene_rng
from pipelines.datasets.folder import read_folder
from pipelines.errors import InputError
from pipelines.files import written_whole
from pipelines.progress import Progress, no_progress

DEMO_VERSION = 5
"""Counts up whenever a pixel or an encoder setting changes: an older folder is then taken for another."""

CHECKSUMS_NAME = "checksums.json"
NUM_VIDEOS_PER_WORKER_MIN = 16
"""Below this a further process costs more than it saves."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoSize:
    """How much to make. Sides are in pixels; NVDEC takes none below 48."""

    num_classes: int = 10
    num_train_per_class: int = 60
    num_val_per_class: int = 25
    num_frames: int = 40
    width: int = 54
    height: int = 48

    def __post_init__(self) -> None:
        if not 2 <= self.num_classes <= len(MOTIONS):
            raise InputError(f"num_classes: received {self.num_classes}; accepted: 2 to {len(MOTIONS)}")
        for name in ("num_train_per_class", "num_val_per_class"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: received {getattr(self, name)}; accepted: 1 or more")
        if self.num_frames < 8:
            raise InputError(f"num_frames: received {self.num_frames}; accepted: 8 or more")
        for name in ("width", "height"):
            side = getattr(self, name)
            if side < 48 or side % 2:  # 4:2:0 halves both sides; NVDEC takes no side below 48
                raise InputError(f"{name}: received {side} pixels; accepted: even numbers from 48")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoVideo:
    """One video of the data set, by its place in it; class, codec and length follow from the numbers."""

    class_index: int
    split: str
    number: int

    @property
    def is_avi(self) -> bool:
        """One in ten of every class, not the same numbers in each."""
        return (self.number + 3 * self.class_index) % 10 == 0

    @property
    def is_short(self) -> bool:
        """One in twenty of every class."""
        return (self.number + 7 * self.class_index) % 20 == 1

    @property
    def path(self) -> str:
        """Relative to the root, with forward slashes."""
        name = MOTIONS[self.class_index]
        return f"{self.split}/{name}/{name}_{self.number:03d}.{'avi' if self.is_avi else 'mp4'}"


def demo_videos(size: DemoSize) -> list[DemoVideo]:
    """Every video of a data set of this size, train first, class by class."""
    counts = dict(zip(SPLITS, (size.num_train_per_class, size.num_val_per_class), strict=True))
    return [
        DemoVideo(class_index=class_index, split=split, number=number)
        for split in SPLITS
        for class_index in range(size.num_classes)
        for number in range(counts[split])
    ]


def read(root: Path | None, options: ReadOptions) -> Annotations:
    """Reads the data set `demo` for `registry`."""
    return read_demo(root, progress=options.progress)


def read_demo(
    root: Path | None = None,
    *,
    size: DemoSize = DemoSize(),
    seed: int = 0,
    num_workers: int | None = None,
    progress: Progress = no_progress,
) -> Annotations:
    """The demo data set, made first if it is not there; arguments and errors as of `ensure_demo`."""
    root = ensure_demo(root, size=size, seed=seed, num_workers=num_workers, progress=progress)
    return dataclasses.replace(read_folder(root, horizontal_flip=False), name="demo")


def ensure_demo(
    root: Path | None = None,
    *,
    size: DemoSize = DemoSize(),
    seed: int = 0,
    num_workers: int | None = None,
    progress: Progress = no_progress,
) -> Path:
    """The folder of the data set, made if it is not there; an interrupted making goes on where it was.

    `root` defaults to a folder of the cache named after size and seed. `num_workers` processes render and
    encode, one a core unless told. What is there is checked by names and
    lengths of files. Raises InputError if `root` holds anything else, or if files are missing, cut short or added.
    """
    identity = _identity(size, seed)
    if num_workers is not None and num_workers < 1:
        raise InputError(f"num_workers: received {num_workers}; accepted: 1 or more")
    if root is None:
        root = cache_root() / f"demo-v{DEMO_VERSION}-{_digest(identity)}"
    if not _is_there(root, identity):
        with _locked(root):
            if not _is_there(root, identity):  # another process may have made it while this one waited
                _make(root, size=size, seed=seed, num_workers=num_workers, progress=progress)
    return root


def encode_video(frames: np.ndarray, *, as_avi: bool) -> bytes:
    """A file of the (T, H, W, 3) uint8 RGB frames: H.264 in MP4 at 15 fps, or MPEG-4 in AVI at 12.5.

    The same frames give the same bytes from the same FFmpeg: one thread, no time stamps, no version strings.
    """
    buffer = io.BytesIO()
    kind, codec, fps = ("avi", "mpeg4", Fraction(25, 2)) if as_avi else ("mp4", "libx264", Fraction(15))
    with av.open(buffer, "w", format=kind, options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec, rate=fps)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        if as_avi:
            stream.codec_context.codec_tag = "XVID"
            # A constant quantizer of 4, in FFmpeg's unit of 1/118.
            stream.options = {"flags": "+qscale+bitexact", "global_quality": str(4 * 118)}
        else:
            # In pictures this small x264's macroblock tree depends on memory it did not write. Without the
            # tree, quality 26 is as near to the picture as 23 is with it. `veryfast` halves the making of the
            # data set; its files are as large and as near to the picture as the default preset's.
            # A second shot begins within x264's least distance of keyframes, which is lowered.
            parameters = "mbtree=0:min-keyint=2"
            stream.options = {"preset": "veryfast", "crf": "26", "flags": "+bitexact", "x264-params": parameters}
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def render_demo_video(video: DemoVideo, *, size: DemoSize, seed: int) -> np.ndarray:
    """(T, H, W, 3) uint8 RGB frames, a pure function of the arguments."""
    rng = scene_rng(seed, class_index=video.class_index, split=video.split, number=video.number)
    num_frames = size.num_frames
    if video.is_short:
        num_frames = int(rng.integers(num_frames // 2, 3 * num_frames // 4, endpoint=True))
    return render_video(rng, class_index=video.class_index, num_frames=num_frames, width=size.width, height=size.height)


def _identity(size: DemoSize, seed: int) -> dict:
    if not 0 <= seed < 2**63:
        raise InputError(f"seed: received {seed}; accepted: 0 to 2^63 - 1")
    return {"version": DEMO_VERSION, "seed": seed, "size": dataclasses.asdict(size)}


def _digest(identity: dict) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]


def _make(root: Path, *, size: DemoSize, seed: int, num_workers: int | None, progress: Progress) -> None:
    """Make all files in a folder beside, then give it its name: a folder of that name is complete."""
    identity = _identity(size, seed)
    # Named after what is made, so that what an interrupted making of another seed left is not taken for it.
    beside = root.with_name(f"{root.name}.{_digest(identity)}.partial")
    videos = demo_videos(size)
    for folder in {(beside / video.path).parent for video in videos}:
        folder.mkdir(parents=True, exist_ok=True)
        for draft in folder.glob(".*.part"):  # left by a making that was killed; this process holds the lock
            draft.unlink()
    files = {}
    results = _made_videos(videos, folder=beside, size=size, seed=seed, num_workers=num_workers)
    for done, (path, entry) in enumerate(results, start=1):
        files[path] = entry
        progress(done, len(videos), "making the demo videos")
    record = {**identity, "files": files}
    with written_whole(beside / CHECKSUMS_NAME) as draft:
        draft.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    beside.rename(root)


def _made_videos(
    videos: list[DemoVideo], *, folder: Path, size: DemoSize, seed: int, num_workers: int | None
) -> Iterator[tuple[str, dict]]:
    """`_make_video` of each, in order, by as many processes as pay."""
    make = partial(_make_video, folder=folder, size=size, seed=seed)
    num_workers = num_workers or len(os.sched_getaffinity(0))
    num_workers = min(num_workers, max(1, len(videos) // NUM_VIDEOS_PER_WORKER_MIN))
    if num_workers == 1:
        yield from map(make, videos)
        return
    # Spawned, since the parent may hold threads and a GPU that do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, mp_context=context) as pool:
        yield from pool.map(make, videos, chunksize=4)


def _make_video(video: DemoVideo, *, folder: Path, size: DemoSize, seed: int) -> tuple[str, dict]:
    """Write the file unless an earlier, interrupted making did; its path and its entry in checksums.json."""
    path = folder / video.path
    if path.exists():
        data = path.read_bytes()
    else:
        data = encode_video(render_demo_video(video, size=size, seed=seed), as_avi=video.is_avi)
        with written_whole(path) as draft:
            draft.write_bytes(data)
    return video.path, {"num_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """One process of this machine at a time makes `root`; the others wait."""
    root.parent.mkdir(parents=True, exist_ok=True)
    with open(root.with_name(root.name + ".lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_there(root: Path, identity: dict) -> bool:
    """Tells if the whole data set is at `root`; False if nothing is. Raises InputError on anything else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    record = _read_record(root)
    found = {name: record[name] for name in identity}
    if found != identity:
        raise InputError(f"root: {root} holds another demo data set, {found}; wanted {identity}")
    _check_names_and_sizes(root, record)
    return True


def _read_record(root: Path) -> dict:
    try:
        record = json.loads((root / CHECKSUMS_NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"root: {root} has no {CHECKSUMS_NAME}; accepted: an empty folder or a demo data set"
        ) from None
    except ValueError as error:
        raise _damage(root, f"{CHECKSUMS_NAME} is not JSON: {error}") from None
    if not isinstance(record, dict) or not {"version", "seed", "size", "files"} <= record.keys():
        raise _damage(root, f"{CHECKSUMS_NAME} lacks a field of version, seed, size, files")
    return record


def _check_names_and_sizes(root: Path, record: dict) -> None:
    """Raise InputError unless the files below train/ and val/ are those of the record, by name and length."""
    wanted = {path: entry["num_bytes"] for path, entry in record["files"].items()}
    found = {
        path.relative_to(root).as_posix(): path.stat().st_size
        for split in SPLITS
        for path in (root / split).rglob("*")
        if path.is_file() and not path.name.startswith(".")  # readers pass over hidden files too
    }
    if missing := sorted(wanted.keys() - found.keys()):
        raise _damage(root, f"missing {_some(missing)}")
    if added := sorted(found.keys() - wanted.keys()):
        raise _damage(root, f"not of the data set: {_some(added)}")
    if resized := sorted(path for path in wanted if wanted[path] != found[path]):
        raise _damage(root, f"another length in {_some(resized)}")


def _damage(root: Path, what: str) -> InputError:
    return InputError(f"root: the demo data set at {root} is damaged ({what}); delete the folder to have it made anew")


def _some(paths: list[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
