"""What was trained on what, in words: facts of one run."""

from typing import Any, cast

from torch import nn

from cmpl import build
from cmpl.config import Config, NetworkConfig
from cmpl.models.counting import count_parameters
from cmpl.registries import method_class
from cmpl.report.values import NETWORKS, RunValues
from cmpl.training.identity import PARTS
from pipelines.errors import InputError

_NAMES = {"resnet3d": "3D-ResNet", "slowfast": "SlowFast-R", "tsm": "TSM-R"}


def about(run: RunValues) -> list[tuple[str, str]]:
    """(term, what) of a run; an empty `what` where it is not known."""
    config, method = run.config, run.config.method
    data = config.data
    facts = run.facts
    identity = "" if facts is None else f"{len(facts.identity.classes)} classes"
    counts = ", ".join(f"{run.count(part)} {part}" for part in PARTS if run.count(part))
    settings = [f"{name} {value:g}" for name, value in _weights(config).items()]
    steps = f"{run.last_step} of {run.num_steps or '?'} steps"
    epochs = (
        f"; passes over the unlabeled videos: {run.last_step / run.steps_an_epoch:.3g}" if run.steps_an_epoch else ""
    )
    batch = "" if facts is None else " + ".join(map(str, facts.course.videos_per_step))
    rows = [
        ("state", "finished" if run.is_finished else f"not finished: stands at {steps}"),
        ("data", ", ".join(part for part in (data.dataset, data.root or "", identity) if part)),
        ("videos", counts),
        ("labels", f"{data.labeled}, subset {data.split_seed} ({data.split_scheme})"),
        ("method", ", ".join([method.name, *settings])),
        *((network, network_words(run, network)) for network in NETWORKS),
        ("length", f"{steps}{epochs}"),
        ("videos a step", batch and f"{batch} (labeled + unlabeled, over all ranks)"),
        ("learning rate", f"{config.optim.lr:g}, weight decay {config.optim.weight_decay:g}"),
        ("starts from", config.init or ""),
    ]
    return [*rows, *_measured(run.result)]


def network_words(run: RunValues, network: str) -> str:
    """A network in words: what it is, what it sees, its size. Empty where the method has no such network."""
    config = run.config
    kind = method_class(config.method.name)
    if network == "auxiliary" and not kind.has_auxiliary_network:
        return ""
    if network == "auxiliary" and config.method.shares_networks:
        return f"the primary network itself, clips {config.clip.auxiliary}"
    settings: NetworkConfig = getattr(config, network)
    size = num_parameters(settings, num_classes=len(run.classes) or 1)
    words = f"{short_name(settings)}, clips {getattr(config.clip, network)}, {config.clip.crop_size} pixels"
    return f"{words}, {size / 1e6:.3g} M parameters" if size is not None else words


def short_name(settings: NetworkConfig) -> str:
    """A network's name as the paper writes it: 3D-ResNet50 x1/4."""
    name = _NAMES.get(settings.architecture)
    base = settings.architecture if name is None else f"{name}{settings.depth}"
    if settings.width == 1:
        return base
    part = 1 / settings.width
    return f"{base} x1/{part:g}" if part == round(part) else f"{base} x{settings.width:g}"


def num_parameters(settings: NetworkConfig, *, num_classes: int) -> int | None:
    """How many numbers a network learns; None where it cannot be built here (a plug-in that is gone)."""
    try:
        return count_parameters(cast(nn.Module, build.network_of(settings, num_classes=num_classes)))
    except InputError:
        return None


def _weights(config: Config) -> dict[str, float]:
    """The numbers of a method that the paper gives symbols: threshold (tau), weight (lambda)."""
    method = config.method
    found = {} if method.least_confidence is None else {"threshold": method.least_confidence}
    if method_class(method.name).uses_unlabeled:
        found["weight of unlabeled losses"] = method.unlabeled_weight
    return found


def _measured(result: dict[str, Any] | None) -> list[tuple[str, str]]:
    if result is None:
        return []
    views = f"clips x crops: {result.get('clips', '?')} x {result.get('crops', '?')}"
    rows = [("evaluated", f"{result.get('num_evaluated', '?')} videos; {views}")]
    for network in NETWORKS:
        score = result.get(network, {})
        if "confident_share" in score:
            right = score.get("confident_precision")
            words = f"{score['confident_share']:.1%} of its answers reach the threshold"
            rows.append(
                (f"confident, {network}", words + ("" if right is None else f", {right:.1%} of these are right"))
            )
    if "train_seconds" in result:
        rows.append(("time", f"{hours(result['train_seconds'])} of training"))
    return rows


def hours(seconds: float) -> str:
    """90 -> 1 min 30 s; 5400 -> 1 h 30 min."""
    minutes, rest = divmod(round(seconds), 60)
    whole, minutes = divmod(minutes, 60)
    return f"{whole} h {minutes} min" if whole else f"{minutes} min {rest} s"


def figures_of(result: dict[str, Any]) -> dict[str, float]:
    """network -> top-1 as a share."""
    return {network: float(result[network]["top1"]) for network in NETWORKS if network in result}


def percent(result: dict[str, Any] | None, network: str, figure: str) -> str:
    """A figure of a result in percent, or a dash."""
    if result is None or network not in result:
        return "-"
    return f"{100 * result[network][figure]:.1f}%"
