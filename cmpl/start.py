"""Compares what is asked for with what a run's folder holds, before anything is written."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cmpl import build
from cmpl.config import Config
from cmpl.memory import fitting_split, split
from cmpl.training.checkpoint import Checkpoint
from cmpl.training.course import continued, fitted, fresh_course
from cmpl.training.identity import Identity, Listing, Row, class_differences, differences, identity_of
from cmpl.training.plan import steps_of
from cmpl.training.ranks import Ranks, gather
from cmpl.training.reporter import Reporter
from cmpl.training.run_directory import RunDirectory, RunFacts
from cmpl.training.runtime import Runtime
from pipelines.catalog.dataset import Dataset
from pipelines.catalog.manifest import Manifest
from pipelines.errors import InputError


@dataclass(frozen=True, kw_only=True, eq=False)
class Start:
    """Where a call of `train` stands before it begins."""

    asked: Config  # as the user gave it
    config: Config  # with as many forward passes a step as the run's videos a step, and the memory, take
    facts: RunFacts
    listing: Listing
    is_continued: bool  # beyond an earlier end
    result: dict[str, Any] | None  # of a finished run that is asked for no more


def start_of(asked: Config, data: Dataset, *, run: RunDirectory, ranks: Ranks, reporter: Reporter) -> Start:
    """Compares what is asked for with what the run's folder says. Raises InputError where they contradict."""
    listing = listing_of(asked, data)
    identity = identity_of(data.classes, build.geometry_of(asked), listing)
    if len({values.videos["unlabeled"].sha256 + values.videos["labeled"].sha256 for values in gather(identity)}) > 1:
        raise InputError("data: received other videos on one rank than on another; accepted: the same on all")
    num_unlabeled = identity.videos["unlabeled"].number

    def steps(config: Config) -> int:
        return steps_of(config, num_unlabeled_videos=num_unlabeled, num_ranks=ranks.num_ranks)

    fresh = RunFacts(
        identity=identity,
        course=fresh_course(asked, num_ranks=ranks.num_ranks, num_steps=steps(asked)),
    )
    begun = run.has_begun()
    if not begun:
        return Start(asked=asked, config=asked, facts=fresh, listing=listing, is_continued=False, result=None)
    known, stored = run.facts(), run.config()
    if known is None:
        reporter.note(f"{run.path}: names no videos, as runs of older versions do; from here on it names those of now")
        result = run.result()
        return Start(asked=asked, config=asked, facts=fresh, listing=listing, is_continued=False, result=result)
    run.check_identity(known.identity, identity, listing)
    config = fitted(
        asked,
        stored=stored.batch,
        videos_per_step=known.course.videos_per_step,
        num_ranks=ranks.num_ranks,
    )
    if config.batch.accumulate != stored.batch.accumulate:
        labeled, unlabeled = known.course.videos_per_step
        reporter.note(
            f"batch.accumulate: {config.batch.accumulate} in place of {stored.batch.accumulate}, so that a step of "
            f"{ranks.num_ranks} rank{'s' if ranks.num_ranks > 1 else ''} keeps its {labeled} + {unlabeled} videos"
        )
    result = run.result()
    finished_at = None if result is None else result.get("steps")
    last = known.course.current.last_step
    course = continued(known.course, num_steps=steps(config), is_finished=finished_at == last)
    is_finished = finished_at == course.current.last_step
    return Start(
        asked=asked,
        config=config,
        facts=replace(known, course=course),
        listing=listing,
        is_continued=course.current.first_step > 0,
        result=result if is_finished else None,
    )


def fit_into_memory(start: Start, data: Dataset, *, runtime: Runtime, ranks: Ranks, reporter: Reporter) -> Start:
    """The same start with its forward passes split where they do not fit the memory, at least as much as the run's were
    before. Raises InputError where even the smallest pass does not fit."""
    config = start.config
    try:
        needed, why = fitting_split(config, num_classes=len(data.classes), runtime=runtime, ranks=ranks)
    except (RuntimeError, NotImplementedError) as error:  # a plug-in's network that cannot be tried without numbers
        reporter.note(f"memory is not estimated: {str(error).splitlines()[0]}")
        needed, why = 1, ""
    before = start.facts.course.split
    common = math.gcd(config.batch.labeled, config.batch.unlabeled)
    factor = max(needed, before if common % before == 0 else 1)
    if factor == 1:
        return start
    batch = split(config.batch, factor)
    reporter.note(
        f"a forward pass is split into {factor} ({why or 'as the run began'}): {batch.labeled} + {batch.unlabeled} "
        f"videos x {batch.accumulate} a step, as many videos as before; BatchNorm sees fewer at once"
    )
    course = replace(start.facts.course, split=factor)
    return replace(start, config=replace(config, batch=batch), facts=replace(start.facts, course=course))


def claim(run: RunDirectory, start: Start) -> None:
    """Makes the folder the run's. Where a finished run is continued, its result keeps the name of its step."""
    if run.has_begun():
        run.moved(start.asked)
    run.claim(start.asked, start.facts, start.listing)
    if start.is_continued:
        run.keep_result()


def check_evaluated(
    run: RunDirectory, checkpoint: Checkpoint, config: Config, data: Dataset, *, other_videos: bool, reporter: Reporter
) -> None:
    """Raises InputError where the networks' outputs mean other classes than the data's labels, and, unless other videos
    are welcome, where the validation videos are not the run's."""
    listing = listing_of(config, data)
    now = identity_of(data.classes, build.geometry_of(config), listing)
    if "classes" not in checkpoint.state:
        raise InputError(f"checkpoint of step {checkpoint.step}: names no classes; accepted: one of `cmpl train`")
    known = Identity.from_json(checkpoint.state)
    if changed := class_differences(known.classes, now.classes):
        raise InputError(
            f"{run.path}: the data's classes are not those of the run: {changed[0]}; accepted: the same names in the "
            "same order (a classes.txt gives the order)"
        )
    before = run.listing() if known.videos != now.videos else None
    changed = differences(known, now, parts=("validation",), listings=(before, listing))
    if changed and not other_videos:
        raise InputError(
            f"{run.path}: not the run's validation: {'; '.join(changed)}; accepted: the same videos, or --other-videos "
            "to evaluate on these"
        )
    for line in changed:
        reporter.note(f"not the run's validation: {line}")


def listing_of(config: Config, data: Dataset) -> Listing:
    """Every video of a run on an opened data set, in the order that the plans count in."""
    return {
        "labeled": _rows((data.train, data.labeled)),
        "unlabeled": _rows(*data.unlabeled_selections(with_labeled=config.data.labeled_in_unlabeled)),
        "validation": _rows(data.evaluation_selection()),
    }


def _rows(*selections: tuple[Manifest, np.ndarray]) -> list[Row]:
    return [
        Row(manifest.paths[index], num_bytes, label)
        for manifest, indices in selections
        for index, num_bytes, label in zip(
            indices.tolist(),
            manifest.facts["size_bytes"][indices].tolist(),
            manifest.labels[indices].tolist(),
            strict=True,
        )
    ]
