"""What a run says of itself before it begins, and of classes that are lost on the way."""

from collections import Counter
from collections.abc import Mapping, Sequence

from cmpl.config import Config, OptimConfig
from cmpl.recipes.presets import FULL, has_preset_length
from cmpl.registries import method_class
from cmpl.training.course import Schedule
from cmpl.training.plan import PAPER_BATCH, peak_learning_rate, videos_per_step
from cmpl.training.ranks import Ranks
from cmpl.training.reporter import Reporter
from pipelines.catalog.dataset import Dataset
from pipelines.catalog.pool import Pool
from pipelines.plan.planner import Planner
from pipelines.problems import set_aside


def introduce(
    config: Config,
    data: Dataset,
    plans: tuple[Planner, Planner],
    *,
    schedule: Schedule,
    unusable: dict[str, str],
    ranks: Ranks,
    reporter: Reporter,
) -> None:
    """Says what is about to happen, in a few lines."""
    classes = len(data.classes)
    reporter.note(
        f"{config.method.name} on {data.annotations.name}: {classes} classes, {len(plans[0].pool)} labeled and "
        f"{len(plans[1].pool)} unlabeled videos, {schedule.last_step} steps"
    )
    batch, uses_unlabeled = config.batch, method_class(config.method.name).uses_unlabeled
    videos = videos_per_step(config, num_ranks=ranks.num_ranks, uses_unlabeled=uses_unlabeled)
    and_unlabeled = f" + {batch.unlabeled} unlabeled" if uses_unlabeled else ""
    rate = peak_learning_rate(config, num_videos_per_step=videos)
    reporter.note(
        f"a step: {videos} videos ({ranks.num_ranks} rank{'s' if ranks.num_ranks > 1 else ''} x {batch.labeled} "
        f"labeled{and_unlabeled} x {batch.accumulate}), learning rate {rate:g}"
        f"{' (scaled with the batch)' if config.optim.scale_lr else ''}"
    )
    for line in _remarks(config, data, num_videos_per_step=videos):
        reporter.note(line)
    if schedule.first_step:
        reporter.note(
            f"continues a finished run with a fresh schedule: from step {schedule.first_step} the learning rate falls "
            f"once more from {rate:g} to 0, by step {schedule.last_step}"
        )
    if unusable:
        path, reason = next(iter(unusable.items()))
        reporter.note(
            f"{len(unusable)} unusable video{'s' if len(unusable) > 1 else ''} set aside, listed in problems.json; "
            f"the first: {path}: {reason}"
        )


def held_line(config: Config, plans: tuple[Planner, Planner]) -> str | None:
    """The line that says that workers keep the pictures of the stream they mostly read; None where they don't."""
    pool = plans[1 if method_class(config.method.name).uses_unlabeled else 0].pool
    most = config.runtime.held_mib
    held = pool.bytes_held(most=most << 20)
    if not held:
        return None
    return (
        f"each worker decodes a video once and keeps its pictures: {held / 2**20:.0f} MiB, within "
        f"runtime.held_mib={most}"
    )


def _remarks(config: Config, data: Dataset, *, num_videos_per_step: int) -> list[str]:
    """What was chosen for the user and may not be what he wants."""
    lines = []
    if config.preset:
        lines.append(
            f"preset {config.preset}: smaller networks and clips than the paper's; --preset {FULL} takes those"
        )
        if has_preset_length(config):
            lines.append(f"{config.optim.steps} steps are a first result; --steps or --epochs trains longer")
    if config.data.labeled == "all" and data.unlabeled is not None:
        lines.append("all labels are used, as there are unlabeled videos beside them; --labeled takes fewer")
    paper = OptimConfig().lr
    if config.optim.lr == paper and not config.optim.scale_lr and num_videos_per_step < PAPER_BATCH:
        scaled = paper * num_videos_per_step / PAPER_BATCH
        lines.append(
            f"learning rate {paper:g} is the paper's for {PAPER_BATCH} videos a step, and a step here has "
            f"{num_videos_per_step}: --scale-lr would take {scaled:.2g}, a larger batch.accumulate keeps the number"
        )
    return lines


def classes_lost(labeled: Pool, classes: Sequence[str], problems: Mapping[str, str]) -> dict[str, int]:
    """Classes of which no labeled video is left: name -> how many labeled videos it had. problems: path -> reason."""
    lost = set_aside(problems)
    if not lost:
        return {}
    labels = labeled.labels.tolist()
    left = {label for path, label in zip(labeled.paths, labels, strict=True) if path not in lost}
    return {classes[label]: number for label, number in sorted(Counter(labels).items()) if label not in left}


def remarks_on_classes(labeled: Pool, classes: Sequence[str], problems: Mapping[str, str]) -> list[str]:
    """A line for each of `classes_lost`."""
    return [
        f"class {name!r}: none of its {number} labeled videos can be decoded, so it is learned from no label"
        for name, number in classes_lost(labeled, classes, problems).items()
    ]
