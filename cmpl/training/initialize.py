"""Starts networks from weights: a run's, a 2D ResNet's, inflated in time, or a video network's of another project."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from cmpl.models.foreign_names import Translation, translation_of
from cmpl.models.weights import ACCEPTED, read_tensors
from cmpl.training.checkpoint import checkpoints, chosen_checkpoint, first_not_finite, module_tensors
from cmpl.training.identity import class_differences
from pipelines.errors import InputError

NAMES_SHOWN = 4
LEAST_SHARE = 0.75
ABSENT, OTHER_SHAPE = "not in the file", "another shape"
NO_CLASSES = "a head whose file does not name its classes"
OF_PRIMARY = "weights of another project go to the primary network alone"
COUNTERS = "num_batches_tracked"
"""Statistics of BatchNorm that some files lack and no network misses."""


@dataclass(frozen=True, kw_only=True)
class Initialized:
    """What became of every tensor of a network (or of both): by the model's names, each once."""

    source: str
    loaded: tuple[str, ...]
    kept: dict[str, str]  # name -> why it keeps its fresh value
    unused: tuple[str, ...]  # names of the file
    shapes: dict[str, str] = field(default_factory=dict)  # name -> both shapes, where they are the reason
    reading: str = ""  # whose names they are, and what stands before them; "" for this project's own

    def lines(self) -> list[str]:
        """The same for people: counts, and what was not loaded, by name."""
        reasons: dict[str, list[str]] = {}
        for name, why in self.kept.items():
            reasons.setdefault(why, []).append(name)
        total = len(self.loaded) + len(self.kept)
        named = f", by the names of {self.reading}" if self.reading else ""
        lines = [f"initialized from {self.source}: {len(self.loaded)} of {total} tensors loaded{named}"]
        for why, names in reasons.items():
            lines.append(f"  fresh ({why}): {_shown([' '.join(filter(None, (n, self.shapes.get(n)))) for n in names])}")
        return [*lines, f"  in the file, not used: {_shown(self.unused)}"] if self.unused else lines


@dataclass(frozen=True, kw_only=True)
class _Given:
    """Tensors of a file under the method's names."""

    tensors: dict[str, Tensor]
    names: dict[str, str]  # name here -> name in the file
    translation: Translation | None  # None: a run's

    @property
    def is_foreign(self) -> bool:
        return self.translation is not None and not self.translation.is_own


def initialize(
    method: nn.Module, source: str, *, classes: Sequence[str] = (), least_share: float = LEAST_SHARE
) -> Initialized:
    """Starts a method's networks from `source`, in place, and says of every tensor what was done.

    A run's tensors are taken by name, into both networks where the file has both. Those of a ResNet of another project
    (see `models.foreign_names`) go to the primary: 2D kernels, and kernels of one frame, are repeated over time and
    divided by its length (I3D). A head stays fresh where the run's classes are not `classes`, in their order, where
    their number differs, and where the file is of another project.
    Raises InputError for a file that cannot be read, that holds numbers that are not finite, weights of a run of
    another width or depth, and weights of another project that fill less than `least_share` of the primary.
    """
    file, known = _newest_checkpoint(source)
    tensors = read_tensors(file)
    if spoiled := first_not_finite(tensors):
        raise InputError(f"init: received {file}, whose {spoiled} holds numbers that are not finite; accepted: weights")
    own = module_tensors(method)
    given = _given(tensors, own)
    others = class_differences(known, classes) if known and classes else []
    loaded, kept = [], {}
    with torch.no_grad():
        for name, value in own.items():
            why = _misfit(name, value, given)
            if why is None and others and _is_of_head(name):
                why = f"other {others[0]}"
            if why is None:
                value.copy_(_fitting(given.tensors[name], value))
                loaded.append(name)
            else:
                kept[name] = why
    if not any(name.endswith("weight") for name in loaded):
        raise InputError(
            f"init: received {source}, of whose {len(tensors)} tensors none fits; {_both(tensors, own)}; accepted: "
            f"{ACCEPTED}"
        )
    if given.is_foreign:
        _check_share(source, loaded, kept, own=own, given=given, least=least_share)
    else:
        _check_same_network(source, kept, own=own, given=given.tensors)
    taken = set(loaded)
    return Initialized(
        source=source,
        loaded=tuple(loaded),
        kept=kept,
        unused=tuple(given.names[name] for name in given.tensors if name not in taken),
        shapes={name: _shapes(given.tensors[name], own[name]) for name, why in kept.items() if why == OTHER_SHAPE},
        reading=_reading(given.translation),
    )


def _shapes(found: Tensor, wanted: Tensor) -> str:
    return f"{tuple(found.shape)} there, {tuple(wanted.shape)} here"


def _reading(translation: Translation | None) -> str:
    if translation is None or translation.is_own:
        return ""
    return translation.naming.project + (f" after {translation.prefix!r}" if translation.prefix else "")


def _check_share(
    source: str,
    loaded: Sequence[str],
    kept: dict[str, str],
    *,
    own: dict[str, Tensor],
    given: _Given,
    least: float,
) -> None:
    """Raises InputError where too little of the primary, its head apart, was filled."""
    trunk = [name for name in own if name.startswith("primary.") and not _is_of_head(name)]
    total = sum(own[name].numel() for name in trunk)
    filled = sum(own[name].numel() for name in loaded if name in trunk)
    if filled >= least * total:
        return
    reasons = [
        f"{name} ({_shapes(given.tensors[name], own[name]) if why == OTHER_SHAPE else why})"
        for name, why in kept.items()
        if name in trunk and not name.endswith(COUNTERS)
    ]
    found = {given.names[name]: value for name, value in given.tensors.items()}
    raise InputError(
        f"init: received {source}, which fills {filled / total:.0%} of the primary network; not {_shown(reasons)}; "
        f"{_both(found, own)}; "
        f"accepted: at least {least:.0%} (init_share), as in weights of the same primary.depth, primary.width and "
        "primary.stem_kernel"
    )


def _both(tensors: dict[str, Tensor], own: dict[str, Tensor]) -> str:
    found, wanted = ([f"{name} {tuple(values[name].shape)}" for name in values] for values in (tensors, own))
    return f"found {_shown(found)}; wanted {_shown(wanted)}"


def _check_same_network(source: str, kept: dict[str, str], *, own: dict[str, Tensor], given: dict[str, Tensor]) -> None:
    """Raises InputError where a network would be put together from another run's parts."""
    for name, why in kept.items():
        network = name.partition(".")[0]
        missing = why == ABSENT and any(other.startswith(f"{network}.") for other in given)
        if not _is_of_head(name) and (why == OTHER_SHAPE or missing) and not name.endswith(COUNTERS):
            found = f"shape {tuple(given[name].shape)}" if name in given else "no such tensor"
            raise InputError(
                f"init: received {source}, a network of another width or depth: {found} for {name}; accepted: "
                f"{tuple(own[name].shape)}, as in weights of the same {network}.depth and {network}.width"
            )


def _newest_checkpoint(source: str) -> tuple[str, tuple[str, ...]]:
    """A run's folder -> its newest good checkpoint, and its class names; any other source as it is."""
    folder = Path(source).expanduser() / "checkpoints"
    if not checkpoints(folder):
        return source, ()
    path, checkpoint, _ = chosen_checkpoint(folder, "last")
    return str(path), tuple(map(str, checkpoint.state.get("classes", ())))


def _given(tensors: dict[str, Tensor], own: dict[str, Tensor]) -> _Given:
    """A file's tensors by the method's names. A lone network's are the primary's; what no name fits keeps its own."""
    if any(name.startswith("primary.") for name in tensors):
        return _named(tensors, {}, translation=None)
    wanted = [name.removeprefix("primary.") for name in own if name.startswith("primary.")]
    if len(set(wanted).intersection(tensors)) == len(wanted):
        return _named(tensors, {name: f"primary.{name}" for name in tensors}, translation=None)
    reading = translation_of(list(tensors), wanted)
    return _named(tensors, {name: f"primary.{made}" for name, made in reading.names.items()}, translation=reading)


def _named(tensors: dict[str, Tensor], names: dict[str, str], *, translation: Translation | None) -> _Given:
    here = {name: names.get(name, name) for name in tensors}
    return _Given(
        tensors={here[name]: value for name, value in tensors.items()},
        names={made: name for name, made in here.items()},
        translation=translation,
    )


def _fitting(value: Tensor, own: Tensor) -> Tensor:
    """A kernel (O, I, kh, kw), or one of a single frame, repeated over a 3D one's T and divided by it; others as is."""
    if own.ndim != 5:
        return value
    volume = value.unsqueeze(2) if value.ndim == 4 else value
    num_frames = own.shape[2]
    return volume if volume.shape[2] == num_frames else volume.expand(-1, -1, num_frames, -1, -1) / num_frames


def _misfit(name: str, own: Tensor, given: _Given) -> str | None:
    """Why a tensor cannot be taken, or None where it can."""
    value = given.tensors.get(name)
    if value is None:
        return OF_PRIMARY if given.is_foreign and not name.startswith("primary.") else ABSENT
    expected, found = tuple(own.shape), tuple(value.shape)
    if len(expected) == 5 and given.is_foreign:
        if len(found) == 4:
            found = (*found[:2], 1, *found[2:])
        if len(found) == 5 and found[2] == 1:
            found = (*found[:2], expected[2], *found[3:])
    if found != expected:
        if _is_of_head(name) and found[0] != expected[0]:
            return f"another number of classes: {found[0]} there, {expected[0]} here"
        return OTHER_SHAPE
    if _is_of_head(name) and given.is_foreign:
        return NO_CLASSES
    return None


def _is_of_head(name: str) -> bool:
    return name.split(".")[1:2] == ["head"]


def _shown(names: Iterable[str]) -> str:
    names = list(names)
    rest = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
