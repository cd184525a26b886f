"""A validation list drawn from the training list, by seed and names, whole groups of videos at a time.

A group is what was cut from one recording: its videos look alike, so that a network that has learned from one of them
knows the others. Which videos are of a group is read from their names; see `groups_of`.
"""

import dataclasses
import hashlib
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from pipelines.datasets.annotations import Annotations, HoldOut, VideoList
from pipelines.errors import InputError

log = logging.getLogger(__name__)

DEFAULT_SHARE = "20pct"
GROUPING = ("auto", "none")
"""Values of `groups` beside a regular expression."""
_MARKED = re.compile(r"(.*_g\d+)_.*")
_NUMBERED = re.compile(r"(.*?)[\s_.(-]*\d+\D*")


def with_held_out(annotations: Annotations, hold_out: HoldOut) -> Annotations:
    """Returns the data set with a validation list out of its training list, and says so in the log.

    Without `hold_out.share`, a data set that has a validation list keeps it, and one that has none gives DEFAULT_SHARE.
    No group is on both sides: unlabeled videos of a group that is held out are left out. Every class keeps a training
    video. Raises InputError where there is nothing to draw, or `hold_out` cannot be.
    """
    own = annotations.val
    if hold_out.share is None and len(own):
        return annotations
    share, train = hold_out.share or DEFAULT_SHARE, annotations.train
    listed = [train] if annotations.unlabeled is None else [train, annotations.unlabeled]
    groups, pattern = groups_of([_names(videos) for videos in listed], train.labels, groups=hold_out.groups)
    chosen = drawn(train.labels, groups[0], share=share, seed=hold_out.seed, num_classes=len(annotations.classes))
    is_held = np.isin(np.arange(len(train)), chosen)
    if not (train.labels[chosen] >= 0).any():
        raise InputError(
            f"data.val: received {hold_out.share or 'none'}, and no video can be held out of {annotations.name}: "
            f"{'every class is of one group' if pattern else 'every class has one video'}; accepted: more videos, "
            "--set data.groups=none, or a validation list"
        )
    held = {groups[0][index] for index in chosen.tolist()}
    unlabeled, num_left_out = annotations.unlabeled, 0
    if unlabeled is not None:
        apart = np.array([group not in held for group in groups[1]], dtype=bool)
        num_left_out = int((~apart).sum())
        unlabeled = _taken(unlabeled, apart)
    val = _taken(train, is_held)
    _say(annotations, val, share=share, pattern=pattern, num_groups=len(held), num_left_out=num_left_out)
    return dataclasses.replace(annotations, train=_taken(train, ~is_held), val=val, unlabeled=unlabeled)


def _say(
    annotations: Annotations, val: VideoList, *, share: str, pattern: str, num_groups: int, num_left_out: int
) -> None:
    own = f"its own {len(annotations.val)} validation videos are not used" if len(annotations.val) else ""
    known = val.labels[val.labels >= 0]
    without = [
        name
        for label, name in enumerate(annotations.classes)
        if label not in known and (annotations.train.labels == label).any()
    ]
    parts = [
        f"{len(known)} of {len(annotations.train)} training videos are held out for validation ({share})",
        f"whole groups, {num_groups} of them, by names such as {pattern!r}" if pattern else "names show no groups",
        own or ("" if share != DEFAULT_SHARE else "as there is no validation list; --val takes another share"),
        f"none of class {without[0]!r}" + (f" and {len(without) - 1} more" if len(without) > 1 else "")
        if without
        else "",
        f"{num_left_out} unlabeled videos of those groups are left out" if num_left_out else "",
    ]
    log.warning("%s: %s", annotations.name, "; ".join(part for part in parts if part))


def _names(videos: VideoList) -> tuple[str, ...]:
    return videos.paths if videos.names is None else videos.names


def _taken(videos: VideoList, kept: np.ndarray) -> VideoList:
    """The videos of `kept` (N,) bool, in their order."""
    absent = set(videos.absent)
    indices = np.flatnonzero(kept).tolist()
    return VideoList(
        root=videos.root,
        paths=tuple(videos.paths[index] for index in indices),
        labels=videos.labels[kept],
        names=None if videos.names is None else tuple(videos.names[index] for index in indices),
        absent=tuple(place for place, index in enumerate(indices) if index in absent),
    )


def groups_of(lists: Sequence[Sequence[str]], labels: np.ndarray, *, groups: str) -> tuple[list[list[str]], str]:
    """Returns the group of each name, list by list, and an example of a group's name ("" where names show none).

    labels: (N,) classes of the first list. groups: `none`, each video is its own group; a regular expression, whose
    first group (or whole match) is searched in a path; or `auto`: a mark such as `_g01_` in UCF-101, else what stands
    before the last number. That counts only where it tells recordings apart: where most videos are of a class in which
    at least two such beginnings have two videos each. So `walk_001`, `walk_002` are no group.
    Raises InputError for what is no regular expression.
    """
    if groups == "none":
        return [list(names) for names in lists], ""
    if groups != "auto":
        try:
            wanted = re.compile(groups)
        except re.error as error:
            accepted = "auto, none, or a regular expression"
            raise InputError(f"data.groups: received {groups!r} ({error}); accepted: {accepted}") from error
        keys = [[_searched(wanted, name) for name in names] for names in lists]
    else:
        keys = [[_marked(name) for name in names] for names in lists]
        if not any(keys[0]):
            keys = [[_before_number(name) for name in names] for names in lists]
            if not _tells_apart(keys[0], labels):
                return [list(names) for names in lists], ""
    shown = Counter(key for part in keys for key in part if key)
    example = next((key for key in keys[0] if key and shown[key] > 1), "")
    found = [
        [f"group {key}" if key else name for key, name in zip(part, names, strict=True)]
        for part, names in zip(keys, lists, strict=True)
    ]
    return found, example


def _searched(pattern: re.Pattern[str], path: str) -> str:
    match = pattern.search(path)
    return "" if match is None else (match[1] if pattern.groups else match[0]) or ""


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0] or path.rpartition("/")[2]


def _marked(path: str) -> str:
    match = _MARKED.fullmatch(_stem(path))
    return match[1] if match else ""


def _before_number(path: str) -> str:
    match = _NUMBERED.fullmatch(_stem(path))
    return match[1] if match else ""


def _tells_apart(keys: Sequence[str], labels: np.ndarray) -> bool:
    """Whether most videos are of a class with two groups or more of at least two videos each."""
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for key, label in zip(keys, labels.tolist(), strict=True):
        if label >= 0:
            counts[label][key] += 1
    several = [sum(of_class.values()) for of_class in counts.values() if _num_groups(of_class) > 1]
    return 2 * sum(several) > sum(map(Counter.total, counts.values()))


def _num_groups(of_class: Mapping[str, int]) -> int:
    return sum(1 for key, number in of_class.items() if key and number > 1)


def drawn(labels: np.ndarray, groups: Sequence[str], *, share: str, seed: int, num_classes: int) -> np.ndarray:
    """Returns ascending indices (int64) of the videos to hold out: whole groups, in an order of seed and names alone.

    labels: (N,) classes, -1 where unknown: such a video goes with its group. share: `20pct` of each class, or a number
    of videos a class. A group is taken where it brings the classes nearer to their shares. A class that got none takes
    its smallest group. Every class keeps a training video. Raises InputError for another `share`.
    """
    labels = np.asarray(labels)
    sizes = np.bincount(labels[labels >= 0], minlength=num_classes)
    missing = np.minimum(_wanted(share, sizes), np.maximum(sizes - 1, 0))
    left = sizes.copy()
    members: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    counts = {
        group: np.bincount(of_class[of_class >= 0], minlength=num_classes)
        for group, indices in members.items()
        if len(of_class := labels[indices]) and (of_class >= 0).any()
    }
    ordered = sorted(counts, key=lambda group: _rank(group, seed))
    taken: set[str] = set()

    def take(group: str) -> None:
        nonlocal missing, left
        taken.add(group)
        missing, left = missing - counts[group], left - counts[group]

    def keeps_all(group: str) -> bool:
        return bool(((left > counts[group]) | (counts[group] == 0)).all())

    for group in ordered:
        nearer = np.abs(missing - counts[group]).sum() < np.abs(missing).sum()
        if nearer and keeps_all(group):
            take(group)
    for label in np.flatnonzero((left == sizes) & (missing > 0)).tolist():
        fitting = [g for g in ordered if counts[g][label] and g not in taken and keeps_all(g)]
        if fitting and left[label] == sizes[label]:
            take(min(fitting, key=lambda group: int(counts[group].sum())))
    return np.array(sorted(index for group in taken for index in members[group]), dtype=np.int64)


def _wanted(share: str, sizes: np.ndarray) -> np.ndarray:
    """(K,) videos to hold out of each class."""
    percent = re.fullmatch(r"(\d+|\d*\.\d+)pct", share)
    if percent and 0 < (fraction := Fraction(percent[1]) / 100) < 1:
        return np.array([max(1, int(fraction * size + Fraction(1, 2))) for size in sizes.tolist()], dtype=np.int64)
    if share.isdecimal() and int(share) > 0:
        return np.full(len(sizes), int(share))
    raise InputError(
        f"data.val: received {share!r}; accepted: a share below 100pct, such as {DEFAULT_SHARE}, or a number of videos "
        "a class"
    )


def _rank(group: str, seed: int) -> tuple[bytes, str]:
    key = seed.to_bytes(8, "little") + b"val"
    return hashlib.blake2b(group.encode("utf-8", "surrogateescape"), key=key, digest_size=16).digest(), group
