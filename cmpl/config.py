"""Every setting of a run as frozen dataclasses: pure values.

Importing this module imports neither torch nor DALI. Making a configuration imports its method, whose fields it holds.
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
from cmpl.checks import one_of
from cmpl.methods.settings import MethodSettings
from cmpl.registries import BACKBONES, METHODS, method_class, method_settings, switched
from cmpl.step_config import CHOICES, SWITCHES, StepConfig, of_older_version
from pipelines.errors import InputError, nearest
from pipelines.registry import use_plugins

MAX_SEED = 2**32 - 1
MAX_SIDE = 4096
MAX_BATCH = 65536
Kernel = Annotated[int, Within(1, 63)]


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
    val: str | None = None
    """Training videos held out for validation: 20pct, or a number a class. None: 20pct where there is no list."""
    val_seed: Annotated[int, Within(0, MAX_SEED)] = 0
    """Which ones; apart from split_seed, so that all labeled subsets are evaluated on the same videos."""
    groups: str = "auto"
    """What is held out together: auto, by names; none; or a regular expression that finds the group in a path."""
    official_split: Annotated[int, Within(1, 100)] = 1
    """Which of the official splits into training and test (UCF-101: 1, 2, 3)."""
    path_column: str | None = None
    label_column: str | None = None
    """Titles of the columns of csv lists; None: usual ones are looked for."""
    outside_root: bool = False
    """Whether lists may name videos outside the data set's folder."""
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
    """Clips start at multiples of so many frames: 4 for files of `cmpl prepare --form aligned`."""
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
    """One network: a 3D-ResNet (Table A4), SlowFast-R50, TSM, or a backbone of a plug-in. Each takes what it knows."""

    architecture: str = "resnet3d"
    """resnet3d. slowfast: depth 50 alone, stems of its own; its clip is the fast pathway's, such as 32x2. tsm: depths
    10, 18 and 50, a 1x7x7 stem. Or a registered backbone, or `module:builder`."""
    depth: Annotated[int, Within(1, 1024)] = 50
    width: Annotated[float, Within(0, 64, low_excluded=True)] = 1.0
    stem_kernel: tuple[Kernel, Kernel, Kernel] = (5, 7, 7)
    dropout: Annotated[float, Within(0, 1)] = 0.5
    zero_init_residual: bool = True
    """Whether every residual block starts as its shortcut."""


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
    every_steps: Annotated[int, Within(0)] | None = None
    """Quick validation (one clip, one crop) every so many steps, and at the end, to keep the best checkpoint; 0: never.
    None: every epoch, but 5 to 20 times a run."""


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig(StepConfig):
    """How it is computed. None and "auto" are settled at the start and said aloud."""

    backend: str = "auto"
    """Who decodes: cpu (the workers, by FFmpeg), gpu (NVDEC). auto: one or both, as a short trial finds best."""
    device: str = "auto"
    workers: Annotated[int, Within(0, 1024)] | None = None
    """Workers of a rank; 0: none but the trainer's own process."""
    loader_threads: Annotated[int, Within(1, 1024)] | None = None
    torch_threads: Annotated[int, Within(1, 1024)] | None = None
    prefetch: Annotated[int, Within(1, 1024)] = 2
    """Batches made ahead."""
    held_mib: Annotated[int, Within(0, 1 << 20)] = 256
    """Memory of a worker, in MiB, for decoded pictures: where those of all videos of a stream fit, none is decoded
    twice. On a CPU alone; 0: none."""
    blocking_sync: str = "auto"
    """Whether threads sleep, and do not spin, while they wait for the GPU. auto: where NVDEC decodes; on; off."""
    amp: str = "auto"
    """Autocast: bf16 or off."""
    sync_batch_norm: bool = False
    ema_decay: Annotated[float, Within(0, 1, high_excluded=True)] = 0.0
    """Exponential moving average of the weights, for evaluation alone; 0: none."""
    log_every_steps: Annotated[int, Within(1)] = 20
    loggers: tuple[str, ...] = ("auto",)
    """Where metrics go beside metrics.jsonl: tensorboard, wandb, mlflow, csv, or one of a plug-in; none.
    auto: TensorBoard, where it is installed."""
    recorded_epochs: Annotated[int, Within(0, 1000)] = 20
    """Epochs, evenly spread, of which the networks' answers to each unlabeled video are kept (Fig. 6); 0: none."""
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
    """What the networks start from: weights of a 2D ResNet or of a video network, or a run; training/initialize.py."""
    init_share: Annotated[float, Within(0, 1)] = 0.75
    """Least share of the primary network, its head apart, that weights of another project must fill."""
    plugins: tuple[str, ...] = ()
    """Modules, or paths of .py files, that are imported first: they register what the fields below name."""
    data: DataConfig = field(default_factory=DataConfig)
    clip: ClipConfig = field(default_factory=ClipConfig)
    primary: NetworkConfig = field(default_factory=NetworkConfig)
    auxiliary: NetworkConfig = field(default_factory=lambda: NetworkConfig(width=0.25))
    method: MethodSettings = field(default_factory=lambda: method_settings("cmpl"))
    """How labels and pseudo-labels become a loss: the settings of the method called `method.name`."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)


SPLIT_SCHEMES = ("uniform", "category-wise")

FREE_TO_CHANGE = (
    "plugins",
    "init_share",  # asked before the first step alone
    "data.root",  # the videos are compared themselves: see training/identity.py
    "data.unlabeled_root",
    "evaluation.every_steps",
    "runtime.backend",
    "runtime.device",
    "runtime.workers",
    "runtime.loader_threads",
    "runtime.torch_threads",
    "runtime.prefetch",
    "runtime.held_mib",
    "runtime.blocking_sync",
    *(f"runtime.{name}" for name in SWITCHES),
    "runtime.log_every_steps",
    "runtime.loggers",
    "runtime.recorded_epochs",
    "runtime.checkpoint_every_steps",
    "runtime.checkpoint_every_minutes",
)
"""Fields that say where and how a run is computed, so that it may go on with others."""
COMPARED_IN_RUN = ("batch.labeled", "batch.unlabeled", "batch.accumulate", "optim.steps", "optim.epochs")
"""Fields that count through what they come to, over all ranks: see training/course.py."""


APPLIED_FIRST = ("plugins", "method.name")
"""Settings that decide which other fields there are."""


def with_settings(config: Config, settings: dict[str, str]) -> Config:
    """The configuration with `section.field` -> text applied, each text read as the field's type.

    Another `method.name` brings that method's fields; those of the same names keep their values. Raises InputError for
    an unknown field, naming the nearest, and for text that is not of the type.
    """
    for key in sorted(settings, key=lambda key: key not in APPLIED_FIRST):
        config = _with_setting(config, key, settings[key])
    return checked(config)


def _with_setting(config: Config, key: str, text: str) -> Config:
    *sections, name = key.split(".")
    if len(sections) > 1 or key not in flattened(config):
        raise InputError(f"--set {key}: {_no_field(config, key)}")
    owner = getattr(config, sections[0]) if sections else config
    value = parse_value(text, typing.get_type_hints(type(owner))[name], field_name=key)
    if sections:
        return changed(config, sections[0], **{name: value})
    config = dataclasses.replace(config, **{name: value})
    use_plugins(config.plugins)
    return config


def _no_field(config: Config, key: str) -> str:
    """Says that there is no such field, and what there is: of the method's fields, all of them."""
    if key.startswith("method."):
        fields = [f"method.{name}" for name in config.method.field_names()]
        near = nearest(key, fields) if key.count(".") == 1 else ""
        near = near if near.startswith("; did you mean") else f"; accepted: {', '.join(fields)}"
        return f"{config.method.name} has no such field{near}"
    return f"no such field{nearest(key, flattened(config))}"


def changed(config: Config, section: str, **values: Any) -> Config:
    """The configuration with fields of one section replaced.

    Another `name` of the method brings that method's fields; those of the same names keep their values.
    """
    before = getattr(config, section)
    if section == "method" and values.get("name", before.name) != before.name:
        before = switched(before, values["name"])
    return dataclasses.replace(config, **{section: dataclasses.replace(before, **values)})


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
    """The configuration that `to_json` gave; its plug-ins are imported first.

    Fields that a newer version knows keep their defaults. Raises InputError for an unknown field, a value that is not
    of its field's type, and a missing plug-in.
    """
    sections: dict[str, Any] = {}
    hints = typing.get_type_hints(Config)
    use_plugins(_typed(values.get("plugins", ()), hints["plugins"], "plugins"))
    for name, value in values.items():
        if name not in hints:
            raise InputError(f"config.json: unknown field {name!r}{nearest(name, hints)}")
        if name == "method":
            sections[name] = _method_section(value)
        elif dataclasses.is_dataclass(hints[name]):
            sections[name] = _section(hints[name], name, value)
        else:
            sections[name] = _typed(value, hints[name], name)
    return checked(Config(**sections))


def _section(kind: type, name: str, values: Any) -> Any:
    hints = typing.get_type_hints(kind)
    if not isinstance(values, dict):
        raise InputError(f"config.json: {name}: received {values!r}; accepted: an object of fields")
    if name == "runtime":
        values = of_older_version(values)
    for key in values:
        if key not in hints:
            raise InputError(f"config.json: unknown field {name}.{key}{nearest(key, hints)}")
    return kind(**{key: _typed(value, hints[key], f"{name}.{key}") for key, value in values.items()})


def _method_section(values: Any) -> MethodSettings:
    """A method's settings. Older runs list the fields of all built-in methods: those of the others are left out."""
    if not isinstance(values, dict):
        raise InputError(f"config.json: method: received {values!r}; accepted: an object of fields")
    kind = method_class(_typed(values.get("name", ""), str, "method.name")).Settings
    own = kind.field_names()
    if not set(values) <= set(own):
        of_built_in = {field for name in METHODS.built_in for field in method_class(name).Settings.field_names()}
        values = {name: value for name, value in values.items() if name in own or name not in of_built_in}
    return _section(kind, "method", values)


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
    both = (key for key in old if key in new and key not in free)  # another method has other fields
    return [f"{key}: {old[key]} there, {new[key]} now" for key in both if old[key] != new[key]]


def checked(config: Config) -> Config:
    """The same configuration; InputError names the first field that cannot be."""
    config.method.check()
    one_of("data.split_scheme", config.data.split_scheme, SPLIT_SCHEMES)
    for network in ("primary", "auxiliary"):
        BACKBONES.get(getattr(config, network).architecture, field=f"{network}.architecture")
    one_of("runtime.backend", config.runtime.backend, ("auto", "cpu", "gpu"))
    one_of("runtime.amp", config.runtime.amp, ("auto", "bf16", "off"))
    one_of("runtime.blocking_sync", config.runtime.blocking_sync, CHOICES)
    config.runtime.check_switches()
    check_bounds(config, prefix="")
    for section in ("data", "clip", "primary", "auxiliary", "optim", "batch", "evaluation", "runtime"):
        check_bounds(getattr(config, section), prefix=f"{section}.")
    if config.optim.nesterov and config.optim.momentum == 0:
        raise InputError("optim.nesterov: received true with optim.momentum=0; accepted: false, or a momentum above 0")
    return config
