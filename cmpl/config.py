"""Every setting of a run as frozen dataclasses. Pure values: neither torch nor DALI is imported.

Defaults are the paper's Kinetics-400 setting with 1 % of labels (Sec. 4.1). `--set section.field=value` changes any
field; see `with_settings`.
"""

import dataclasses
import types
import typing
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Annotated, Any

from cmpl.bounds import Within, check_bounds, is_of_type
from pipelines.errors import InputError, nearest

MAX_SEED = 2**32 - 1
MAX_SIDE = 4096
MAX_BATCH = 65536


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which videos, and which of them are labeled."""

    dataset: str = "folder"
    root: str | None = None
    """Folder of the data set; None where the data set knows its own (demo)."""
    labeled: str = "1pct"
    """1pct, 10pct, all, a number of videos a class, or a file that lists them."""
    split_seed: Annotated[int, Within(0, MAX_SEED)] = 0
    """Which subset is drawn: 0, 1 and 2 are the three that results are averaged over."""
    split_scheme: str = "uniform"
    """uniform: as many of each class; category-wise: as many in all, in proportion to the classes (Appendix C)."""
    official_split: Annotated[int, Within(1, 100)] = 1
    """Which of the official splits into training and test (UCF-101: 1, 2, 3)."""
    unlabeled: str | None = None
    """Another data set whose training videos join the unlabeled pool: k400, ucf101, lists or folder (Table A1)."""
    unlabeled_root: str | None = None
    """Its folder; None: `root`, which may hold several data sets."""
    max_missing_share: Annotated[float, Within(0, 1)] = 0.05
    """A larger share of missing files is an error; a smaller one is counted and listed."""
    labeled_in_unlabeled: bool = True
    """Whether labeled videos stay in the unlabeled pool, as in FixMatch."""
    horizontal_flip: bool | None = None
    """None: as the data set says (a demo of left and right must not be mirrored)."""


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """What the networks see of a video (Sec. 3.3, 4.1)."""

    primary: str = "8x8"
    auxiliary: str = "16x4"
    max_offset_seconds: Annotated[float, Within(0, 3600)] = 10.0
    """t_s: largest distance between the starts of the two clips (Table 5)."""
    start_multiple: Annotated[int, Within(1, 1024)] = 1
    """Clips start at multiples of so many frames: 4 for files of `cmpl prepare --stride-aligned`."""
    short_videos: str = "loop"
    """Videos shorter than a clip: loop, or repeat-last."""
    crop_size: Annotated[int, Within(8, MAX_SIDE)] = 224
    short_side: Annotated[int, Within(8, MAX_SIDE)] = 256
    short_side_jitter: tuple[Annotated[int, Within(8, MAX_SIDE)], Annotated[int, Within(8, MAX_SIDE)]] = (256, 320)
    strong_ops: tuple[str, ...] = ()
    """RandAugment operations to draw from; empty: all 14."""
    strong_num_ops: Annotated[int, Within(0, 5)] = 2
    strong_magnitude: Annotated[float, Within(1, 10)] = 10.0
    cutout_fraction: Annotated[float, Within(0, 1)] = 0.5
    """Largest side of the Cutout square as a share of the crop's."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """One network: a 3D-ResNet (Table A4) or SlowFast-R50."""

    architecture: str = "resnet3d"
    """resnet3d, or slowfast: depth 50 alone, stems of its own; its clip is the fast pathway's, such as 32x2."""
    depth: int = 50
    width: float = 1.0
    stem_kernel: tuple[int, int, int] = (5, 7, 7)
    dropout: float = 0.5
    zero_init_residual: bool = True
    """Whether every residual block starts as its shortcut."""


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """How labels and pseudo-labels become a loss (Sec. 3, Appendix A)."""

    name: str = "cmpl"
    threshold: float = 0.9
    """tau: least confidence of a pseudo-label (Eq. 4, 5)."""
    unlabeled_weight: float = 5.0
    """lambda of Eq. 6: 5 with 1 % of labels, 2 with 10 %. s4l, videossl: w, 1 there; tcl: gamma, 9 there."""
    unlabeled_delay: float = 0.0
    """Share of training before the unlabeled losses are switched on."""
    scheme: str = "cross"
    """Pseudo-labelling scheme (Appendix A): cross, self-first, opposite-first, maximum or average."""
    auxiliary_supervised: bool = True
    auxiliary_unsupervised: bool = True
    """Table 6: which losses train the auxiliary network."""
    shared_weights: bool = False
    """Table 3, second row: the primary network is its own auxiliary."""
    batch_norm: str = "joint"
    """joint: one forward over labeled, weak and strong. weak-no-grad: weak clips apart, without gradients.
    separate: each of the three apart."""
    finetune_share: float = 0.2
    """tcl: the last share of training, in which pseudo-labels count."""
    finetune_weight: float = 1.0
    """tcl: gamma_ft, weight of the pseudo-labels there."""
    view_labels: str = "average"
    """mvpl: what teaches a view: average (all views' logits), or exclude-self (those of the others)."""
    flow: bool = False
    """mvpl: optical flow as a third view; by the optical-flow unit of NVIDIA GPUs, Turing and later."""
    teacher: str | None = None
    """videossl: file of a 2D ResNet's ImageNet weights with torchvision's names, .pth or .safetensors."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """SGD with a cosine schedule (Sec. 4.1)."""

    lr: Annotated[float, Within(0, 1e6)] = 0.1
    momentum: Annotated[float, Within(0, 1, high_excluded=True)] = 0.9
    scale_lr: bool = False
    """Scale `lr` by the videos of a step over the paper's 192, where batches are smaller or larger."""
    nesterov: bool = False
    weight_decay: Annotated[float, Within(0, 1)] = 1e-4
    """Not applied to BatchNorm's parameters."""
    clip_gradient_norm: Annotated[float, Within(0, low_excluded=True)] | None = None
    """Largest norm of all gradients together; none: as they are."""
    warmup: Annotated[float, Within(0, 1)] = 0.0
    """Share of training in which the learning rate rises linearly."""
    epochs: Annotated[float, Within(0, 1e6, low_excluded=True)] = 200.0
    """Passes over the unlabeled videos."""
    steps: Annotated[int, Within(1)] | None = None
    """Optimizer steps; given, it takes the place of `epochs`."""


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """Videos of one forward pass on one GPU, and how many passes make a step."""

    labeled: Annotated[int, Within(1, MAX_BATCH)] = 2
    unlabeled: Annotated[int, Within(1, MAX_BATCH)] = 10
    accumulate: Annotated[int, Within(1, MAX_BATCH)] = 1
    """Forward passes a step: 16 on one GPU is the paper's batch of 192."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Ten clips x three crops of the short side (Sec. 4.1)."""

    clips: Annotated[int, Within(1, 1000)] = 10
    crops: Annotated[int, Within(1, 100)] = 3
    short_side: Annotated[int, Within(8, MAX_SIDE)] = 256
    every_steps: Annotated[int, Within(0)] = 0
    """Quick validation (one clip, one crop) every so many steps, to keep the best checkpoint; 0: never."""


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
    """How it is computed. None and "auto" are settled at the start and said aloud."""

    backend: str = "auto"
    """Who decodes: cpu (PyAV) or gpu (NVDEC)."""
    device: str = "auto"
    workers: Annotated[int, Within(0, 1024)] | None = None
    """Workers of a rank; 0: the trainer's own process."""
    loader_threads: Annotated[int, Within(1, 1024)] | None = None
    torch_threads: Annotated[int, Within(1, 1024)] | None = None
    prefetch: Annotated[int, Within(1, 1024)] = 2
    """Batches made ahead."""
    amp: str = "auto"
    """Autocast: bf16 or off."""
    compile: bool = False
    sync_batch_norm: bool = False
    ema_decay: Annotated[float, Within(0, 1, high_excluded=True)] = 0.0
    """Exponential moving average of the weights, for evaluation alone; 0: none."""
    log_every_steps: Annotated[int, Within(1)] = 20
    checkpoint_every_steps: Annotated[int, Within(1)] = 1000
    checkpoint_every_minutes: Annotated[float, Within(0, 1e5)] = 10.0
    """A checkpoint also where so much time has passed since the last one; 0: by steps alone."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """One run."""

    recipe: str = "k400"
    preset: str | None = None
    """What the recipe was made smaller by: see recipes/presets.py."""
    seed: Annotated[int, Within(0, MAX_SEED)] = 0
    init: str | None = None
    """What the networks start from: a 2D ResNet's weights, inflated, or a run's; see training/initialize.py."""
    data: DataConfig = field(default_factory=DataConfig)
    clip: ClipConfig = field(default_factory=ClipConfig)
    primary: NetworkConfig = field(default_factory=NetworkConfig)
    auxiliary: NetworkConfig = field(default_factory=lambda: NetworkConfig(width=0.25))
    method: MethodConfig = field(default_factory=MethodConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)


METHODS = ("supervised", "s4l", "fixmatch", "videossl", "tcl", "mvpl", "cmpl")
ARCHITECTURES = ("resnet3d", "slowfast")
VIEW_LABELS = ("average", "exclude-self")
SPLIT_SCHEMES = ("uniform", "category-wise")
SCHEMES = ("cross", "self-first", "opposite-first", "maximum", "average")
BATCH_NORMS = ("joint", "weak-no-grad", "separate")

FREE_TO_CHANGE = (
    "data.root",  # the videos are compared themselves: see training/identity.py
    "data.unlabeled_root",
    "runtime.backend",
    "runtime.device",
    "runtime.workers",
    "runtime.loader_threads",
    "runtime.torch_threads",
    "runtime.prefetch",
    "runtime.compile",
    "runtime.log_every_steps",
    "runtime.checkpoint_every_steps",
    "runtime.checkpoint_every_minutes",
)
"""Fields that say where and how a run is computed, so that it may go on with others."""
COMPARED_IN_RUN = ("batch.labeled", "batch.unlabeled", "batch.accumulate", "optim.steps", "optim.epochs")
"""Fields that count through what they come to, over all ranks: see training/course.py."""


def with_settings(config: Config, settings: dict[str, str]) -> Config:
    """The configuration with `section.field` -> text applied, each text read as the field's type.

    Raises InputError for an unknown field, naming the nearest, and for text that is not of the type.
    """
    for key, text in settings.items():
        config = _with_setting(config, key, text)
    return checked(config)


def _with_setting(config: Config, key: str, text: str) -> Config:
    *sections, name = key.split(".")
    if len(sections) > 1 or key not in flattened(config):
        raise InputError(f"--set {key}: no such field{nearest(key, flattened(config))}")
    owner = getattr(config, sections[0]) if sections else config
    kind = typing.get_type_hints(type(owner))[name]
    changed = dataclasses.replace(owner, **{name: parse_value(text, kind, field_name=key)})
    return dataclasses.replace(config, **{sections[0]: changed}) if sections else changed


def parse_value(text: str, kind: Any, *, field_name: str) -> Any:
    """Text as a value of the type: bool, int, float, str, `X | None` ("none"), or a tuple ("256,320")."""
    options = typing.get_args(kind)
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        if text.lower() == "none":
            return None
        return parse_value(text, options[0], field_name=field_name)
    if typing.get_origin(kind) is tuple:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if options[-1] is not ... and len(parts) != len(options):
            raise InputError(f"--set {field_name}: received {text!r}; accepted: {len(options)} values with commas")
        return tuple(parse_value(part, options[0], field_name=field_name) for part in parts)
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise InputError(f"--set {field_name}: received {text!r}; accepted: true or false")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        wanted = {int: "a whole number", float: "a number"}[kind]
        raise InputError(f"--set {field_name}: received {text!r}; accepted: {wanted}") from None


def flattened(config: Config) -> dict[str, Any]:
    """{"seed": 0, "data.dataset": "folder", ...}: every field by the key that --set takes."""
    flat: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            flat |= {f"{item.name}.{inner.name}": getattr(value, inner.name) for inner in dataclasses.fields(value)}
        else:
            flat[item.name] = value
    return flat


def to_json(config: Config) -> dict[str, Any]:
    """The configuration as JSON values, section by section."""
    return dataclasses.asdict(config)


def from_json(values: dict[str, Any]) -> Config:
    """The configuration that `to_json` gave. Fields that a newer version knows keep their defaults.

    Raises InputError for an unknown field, and for a value that is not of its field's type.
    """
    sections: dict[str, Any] = {}
    hints = typing.get_type_hints(Config)
    for name, value in values.items():
        if name not in hints:
            raise InputError(f"config.json: unknown field {name!r}{nearest(name, hints)}")
        if dataclasses.is_dataclass(hints[name]):
            sections[name] = _section(hints[name], name, value)
        else:
            sections[name] = _typed(value, hints[name], name)
    return checked(Config(**sections))


def _section(kind: type, name: str, values: Any) -> Any:
    hints = typing.get_type_hints(kind)
    if not isinstance(values, dict):
        raise InputError(f"config.json: {name}: received {values!r}; accepted: an object of fields")
    for key in values:
        if key not in hints:
            raise InputError(f"config.json: unknown field {name}.{key}{nearest(key, hints)}")
    return kind(**{key: _typed(value, hints[key], f"{name}.{key}") for key, value in values.items()})


def _typed(value: Any, hint: Any, key: str) -> Any:
    value = tuple(value) if isinstance(value, list) else value
    if not is_of_type(value, hint):
        wanted = getattr(hint, "__name__", None) or str(hint)
        raise InputError(f"config.json: {key}: received {value!r}; accepted: {wanted}")
    return value


def differences(before: Config, after: Config, *, without: Collection[str] = ()) -> list[str]:
    """One line for each field that changes a run's numbers and differs: `optim.lr: 0.1 there, 0.2 now`.

    `without` names more fields to pass over.
    """
    old, new = flattened(before), flattened(after)
    free = {*FREE_TO_CHANGE, *without}
    if "/" in before.data.labeled and "/" in after.data.labeled:  # two lists: what they name is compared
        free.add("data.labeled")
    return [f"{key}: {old[key]} there, {new[key]} now" for key in old if old[key] != new[key] and key not in free]


def checked(config: Config) -> Config:
    """The same configuration; InputError names the first field that cannot be."""
    _one_of(config.method.name, METHODS, "method.name")
    _one_of(config.method.scheme, SCHEMES, "method.scheme")
    _one_of(config.data.split_scheme, SPLIT_SCHEMES, "data.split_scheme")
    _one_of(config.method.batch_norm, BATCH_NORMS, "method.batch_norm")
    _one_of(config.method.view_labels, VIEW_LABELS, "method.view_labels")
    for network in ("primary", "auxiliary"):
        _one_of(getattr(config, network).architecture, ARCHITECTURES, f"{network}.architecture")
        if getattr(config, network).architecture == "slowfast" and getattr(config, network).depth != 50:
            raise InputError(f"{network}.depth: received {getattr(config, network).depth}; slowfast accepts: 50")
    if config.method.name == "videossl" and config.method.teacher is None:
        raise InputError(
            "method.teacher: received none, but videossl learns from an ImageNet classifier; accepted: a file of a "
            "2D ResNet's weights with torchvision's names, such as resnet18-f37072fd.pth or resnet50-0676ba61.pth "
            "from download.pytorch.org/models"
        )
    _one_of(config.runtime.backend, ("auto", "cpu", "gpu"), "runtime.backend")
    _one_of(config.runtime.amp, ("auto", "bf16", "off"), "runtime.amp")
    for key in ("method.threshold", "method.unlabeled_delay", "method.finetune_share"):
        _within(config, key, low=0, high=1)
    for key in ("method.finetune_weight", "method.unlabeled_weight"):
        _within(config, key, low=0)
    check_bounds(config, prefix="")
    for section in ("data", "clip", "optim", "batch", "evaluation", "runtime"):
        check_bounds(getattr(config, section), prefix=f"{section}.")
    if config.optim.nesterov and config.optim.momentum == 0:
        raise InputError("optim.nesterov: received true with optim.momentum=0; accepted: false, or a momentum above 0")
    if config.method.name == "cmpl" and not (
        config.method.auxiliary_supervised or config.method.auxiliary_unsupervised
    ):
        raise InputError(
            "method.auxiliary_supervised and method.auxiliary_unsupervised: received false for both, so nothing "
            "would train the auxiliary network; accepted: at least one true, or method.name=fixmatch"
        )
    return config


def _one_of(value: str, accepted: tuple[str, ...], key: str) -> None:
    if value not in accepted:
        raise InputError(f"{key}: received {value!r}{nearest(value, accepted)}")


def _within(config: Config, key: str, *, low: float, high: float = float("inf")) -> None:
    value = flattened(config)[key]
    if value is not None and not low <= value <= high:
        accepted = f"{low} or more" if high == float("inf") else f"{low} to {high}"
        raise InputError(f"{key}: received {value}; accepted: {accepted}")
