"""How this run's steps are computed: the switches of `StepConfig`, decided for a device. Said aloud once."""

from dataclasses import dataclass, replace

from cmpl.config import Config
from cmpl.methods.method import Method
from cmpl.step_config import SWITCHES
from cmpl.training.ranks import Ranks
from cmpl.training.runtime import Runtime
from pipelines.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Switches:
    """Each switch decided, but for those `on_trial`, which are off until a trial of the step decides them."""

    compile: bool = False
    cuda_graphs: bool = False
    cudnn_benchmark: bool = False
    fused_sgd: bool = False
    narrow_clips: bool = False
    bucket_views: bool = False
    static_graph: bool = False
    on_trial: tuple[str, ...] = ()

    def line(self) -> str:
        """What is on, what a trial will decide, and what is off, by the names that --set takes."""
        on = [name for name in SWITCHES if getattr(self, name)]
        off = [name for name in SWITCHES if name not in (*on, *self.on_trial)]
        parts = (("on", on), ("by a trial", self.on_trial), ("off", off))
        return "step: " + "; ".join(f"{what}: {', '.join(names)}" for what, names in parts if names)

    def decided(self, *, compile: bool, cuda_graphs: bool) -> "Switches":
        """The same with what a trial found."""
        return replace(self, compile=compile, cuda_graphs=cuda_graphs, on_trial=())


def settle_switches(config: Config, *, runtime: Runtime, ranks: Ranks, method: type[Method] = Method) -> Switches:
    """Decides the switches for a device, a number of ranks and a method.

    On a CPU compile is off, as a run there ends in the same bits however often it was stopped; torch.compile's sums
    come in another order. Raises InputError for a switch that is on where it cannot be.
    """
    is_cuda = runtime.device.type == "cuda"
    _refuse_what_cannot_be(config, runtime=runtime, method=method)
    wanted = config.runtime
    compile, graphs = wanted.compile, wanted.cuda_graphs
    may_compile = is_cuda and method.calls_networks_whole
    if graphs == "auto":
        graphs = "trial" if may_compile and compile != "off" else "off"
    if compile == "auto":
        compile = "on" if graphs == "on" else "trial" if may_compile else "off"
    several = ranks.num_ranks > 1
    return Switches(
        compile=compile == "on",
        cuda_graphs=graphs == "on",
        cudnn_benchmark=_is_on(wanted.cudnn_benchmark, auto=is_cuda),
        fused_sgd=_is_on(wanted.fused_sgd, auto=True),
        narrow_clips=_is_on(wanted.narrow_clips, auto=is_cuda and runtime.amp),
        bucket_views=several and _is_on(wanted.bucket_views, auto=True),
        static_graph=several and _is_on(wanted.static_graph, auto=False),
        on_trial=tuple(name for name, value in (("compile", compile), ("cuda_graphs", graphs)) if value == "trial"),
    )


def _is_on(wanted: str, *, auto: bool) -> bool:
    return auto if wanted == "auto" else wanted == "on"


def _refuse_what_cannot_be(config: Config, *, runtime: Runtime, method: type[Method]) -> None:
    wanted, is_cuda = config.runtime, runtime.device.type == "cuda"
    for name in ("cuda_graphs", "cudnn_benchmark"):
        if getattr(wanted, name) == "on" and not is_cuda:
            raise InputError(f"runtime.{name}: received 'on', but the device is {runtime.device}; accepted: auto, off")
    if wanted.sync_batch_norm and not is_cuda:
        raise InputError(
            "runtime.sync_batch_norm: received true on a CPU; accepted: false, torch has it for GPUs alone"
        )
    if wanted.narrow_clips == "on" and not runtime.amp:
        raise InputError(
            "runtime.narrow_clips: received 'on' without autocast; accepted: auto, off, or runtime.amp=bf16"
        )
    if wanted.cuda_graphs == "on" and wanted.compile == "off":
        raise InputError("runtime.cuda_graphs: received 'on' with runtime.compile=off; accepted: auto, off")
    for name in ("compile", "cuda_graphs"):
        if getattr(wanted, name) == "on" and not method.calls_networks_whole:
            raise InputError(
                f"runtime.{name}: received 'on', but {config.method.name} calls parts of its network, which are not "
                "compiled; accepted: auto, off"
            )
    if wanted.static_graph == "on" and not method.trains_all_parameters:
        raise InputError(
            f"runtime.static_graph: received 'on', but {config.method.name} does not say that every step trains the "
            "same parameters; accepted: auto, off"
        )
    if wanted.static_graph == "on" and config.batch.accumulate > 1:  # torch 2.13 fails in the first step
        raise InputError(
            f"runtime.static_graph: received 'on' with batch.accumulate={config.batch.accumulate}; accepted: auto, "
            "off, or one forward pass a step"
        )
