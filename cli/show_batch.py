"""`cmpl show-batch`: a contact sheet of one planned batch.

Legend: B videos, T frames, S side in pixels.
"""

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import config_of, experiment_options
from cmpl.config import Config
from cmpl.registries import method_class
from pipelines.errors import InputError
from pipelines.progress import Progress

if TYPE_CHECKING:
    import numpy as np

    from pipelines.batch import ClipBatch, UnlabeledBatch
    from pipelines.plan.planner import ClipPlan

MIN_WIDTH, MAX_WIDTH = 1200, 2400
"""Pixels: narrower sheets are enlarged, wider ones are reduced, both by a whole factor."""
MAX_ENLARGED = 4
"""Else the sheet of one network alone would be very tall."""
GAP, GAP_VIDEOS = 2, 8
"""Pixels between views and between videos."""
SEPARATOR = (40, 90, 200)


@click.command()
@experiment_options
@click.option("--step", type=click.IntRange(min=0), metavar="N", default=0, help="Step whose batch is shown, from 0.")
@click.option("--out", metavar="FILE", default="batch.png", show_default=True, help="Image file to write.")
def command(*, step: int, out: str, **options: Any) -> None:
    """Draw a planned batch: weak views above strong ones, as a PNG.

    One pair of rows for each unlabeled video of the batch, exactly as training would see it: the primary network's
    frames on the left, the auxiliary network's on the right.
    """
    config = config_of(**options)
    from cli.display import console_of, reporter_on, say

    console = console_of()
    if not Path(out).absolute().parent.is_dir():
        raise InputError(f"--out: received {out!r}, in a folder that does not exist; accepted: a file to write")
    with reporter_on(console) as reporter:
        views, lines = planned_batch(config, step=step, progress=reporter.progress)
    picture = sheet(views)
    Path(out).write_bytes(png(picture))
    for line in lines:
        say(console, line)
    say(console, f"{out}: {picture.shape[1]} x {picture.shape[0]} pixels, weak above strong, primary left")


def planned_batch(config: Config, *, step: int, progress: Progress) -> tuple["UnlabeledBatch", list[str]]:
    """The unlabeled batch of a micro-step and, in words, what was planned for each of its videos.

    Raises InputError for a method without unlabeled videos.
    """
    import dataclasses

    from cmpl import build
    from cmpl.training.ranks import Ranks
    from cmpl.training.runtime import settle

    if not method_class(config.method.name).uses_unlabeled:
        raise InputError(
            f"--method: received {config.method.name!r}, which has no unlabeled videos; accepted: any other"
        )
    runtime = settle(dataclasses.replace(config.runtime, workers=0))
    data = build.open_data(config, progress=progress)
    plans = build.planners(config, data)
    loader = build.loader_of(config, plans, runtime=runtime, ranks=Ranks(), first_micro_step=step)
    batch = next(loader).unlabeled
    assert batch is not None
    assert loader.unlabeled is not None  # the method has unlabeled videos
    planner = plans[1]
    lines: list[str] = []
    for row, (position, video) in enumerate(zip(loader.unlabeled.positions, loader.unlabeled.videos, strict=True), 1):
        plan = planner.plan(position)
        attempt = 0
        while plan.video != video:
            attempt += 1
            plan = planner.plan(position, attempt=attempt)
        label = int(planner.pool.labels[plan.video])
        name = data.classes[label] if label >= 0 else "class unknown"
        lines += [f"{row}. {planner.pool.paths[plan.video]} ({name})", *plan_lines(plan)]
    return batch, lines


def plan_lines(plan: "ClipPlan") -> list[str]:
    """Describes what was drawn for one video: the weak box, then each network's frames, box and operations."""
    lines = [f"     weak: {_box(plan.weak)}"]
    for name, view in zip(("primary", "auxiliary"), plan.views, strict=False):
        strong = view.strong
        operations = [f"{op} {value:.3g}" if value else op for op, value in strong.photometric]
        if strong.inverse_affine != (1, 0, 0, 0, 1, 0):
            operations.insert(0, "affine " + " ".join(f"{number:.2f}" for number in strong.inverse_affine))
        y, x, height, width = strong.cutout
        operations += [f"cutout {height} x {width} at row {y}, column {x}"] if height and width else []
        frames = " ".join(map(str, view.frames.tolist()))
        lines.append(f"     {name}: frames {frames}; strong: {_box(view.box)}, {', '.join(operations) or 'identity'}")
    return lines


def _box(box: tuple[float, float, float, float]) -> str:
    top, left, bottom, right = (round(side) for side in box)
    mirrored = " mirrored" if left > right else ""
    return f"rows {top}-{bottom}, columns {min(left, right)}-{max(left, right)}{mirrored}"


def sheet(batch: "UnlabeledBatch") -> "np.ndarray":
    """(height, width, 3) uint8: for each video weak above strong, primary left of auxiliary."""
    import numpy as np

    weak, strong = _rows(batch.weak), _rows(batch.strong)
    height, width = weak.shape[1:3]
    scale = max(1, min(MAX_ENLARGED, MIN_WIDTH // width))
    pairs = np.full((len(weak), 2 * height * scale + GAP + GAP_VIDEOS, width * scale, 3), SEPARATOR, dtype=np.uint8)
    enlarged = [view.repeat(scale, axis=1).repeat(scale, axis=2) for view in (weak, strong)]
    pairs[:, : height * scale] = enlarged[0]
    pairs[:, height * scale + GAP : 2 * height * scale + GAP] = enlarged[1]
    picture = pairs.reshape(-1, width * scale, 3)[:-GAP_VIDEOS]
    return _reduced(picture, factor=-(-picture.shape[1] // MAX_WIDTH))


def _rows(clips: "ClipBatch") -> "np.ndarray":
    """A view of both networks and, if any, its flow as rows of frames (B, S, width, 3) uint8, parted by lines."""
    import numpy as np

    rows: list[np.ndarray] = []
    for clip in (clips.primary, clips.auxiliary, clips.flow):
        if clip is None:
            continue
        b, _, t, s, _ = clip.shape
        frames = clip.permute(0, 3, 2, 4, 1).reshape(b, s, t * s, 3).cpu().numpy()  # (B, 3, T, S, S) -> side by side
        line = np.full((b, s, GAP, 3), SEPARATOR, dtype=np.uint8)
        rows += [line, frames] if rows else [frames]
    return np.concatenate(rows, axis=2)


def _reduced(picture: "np.ndarray", *, factor: int) -> "np.ndarray":
    """Means of factor x factor pixels; what is left over at the edges is dropped."""
    if factor == 1:
        return picture
    height, width = (side // factor for side in picture.shape[:2])
    blocks = picture[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    return blocks.mean(axis=(1, 3)).round().astype("uint8")


def png(picture: "np.ndarray") -> bytes:
    """(height, width, 3) uint8 as a PNG file."""
    import av

    codec = av.CodecContext.create("png", "w")
    codec.height, codec.width = picture.shape[:2]
    codec.pix_fmt, codec.time_base = "rgb24", Fraction(1, 1)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    return b"".join(bytes(packet) for part in (frame, None) for packet in codec.encode(part))
