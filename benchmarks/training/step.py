"""Times the training step of CMPL: BatchNorm's groupings, and a plain conv3d implementation.

Both networks, labeled + weak + strong, forward, backward and SGD, on clips that are there already. The arms of one
case take turns in one run. On a GPU under bf16 autocast at the paper's sizes, else in float32 at sizes for one thread.
"plain" is the same method with nn.Conv3d's own form and memory order. Rates are multiply-adds x 2 that the method needs
(a backward pass counts as two forward ones) over time, and over the rate of a large matrix product.

    python -m benchmarks.training.step [--json FILE] [--repeats 15] [--threads 1] [--compile]
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from benchmarks.environment import environment, save_json
from benchmarks.training.convolution import measure
from cmpl.methods.cross_model import CrossModel
from cmpl.methods.settings import BATCH_NORMS
from cmpl.methods.views import narrow_clips
from cmpl.models.counting import count_multiply_adds
from cmpl.models.resnet3d import ResNet3D
from cmpl.recipes.cost import passes_a_video
from cmpl.registries import method_settings
from cmpl.training.autotune import synchronize
from cmpl.training.optim import aligned_gradients, sgd
from cmpl.training.switches import Switches
from cmpl.training.wrapped import compile_networks, keep_gradients
from pipelines.batch import ClipBatch, LabeledBatch, SemiBatch, UnlabeledBatch


@dataclass(frozen=True, kw_only=True)
class Case:
    """Sizes of one step: (depth, width, frames) of the primary and the auxiliary network."""

    name: str
    networks: tuple[tuple[int, float, int], tuple[int, float, int]]
    stem_kernel: tuple[int, int, int]
    crop_size: int
    num_labeled: int
    num_unlabeled: int
    num_classes: int


def cases(*, on_gpu: bool) -> list[Case]:
    """Lists the demo and Kinetics-400: at the paper's sizes on a GPU (2 + 10 and 8 + 40 videos), small on a CPU."""
    demo = Case(
        name="demo",
        networks=((10, 1 / 4, 4), (10, 1 / 8, 8)),
        stem_kernel=(3, 5, 5),
        crop_size=28,
        num_labeled=4,
        num_unlabeled=20,
        num_classes=10,
    )
    paper = partial(Case, networks=((50, 1.0, 8), (50, 1 / 4, 16)), stem_kernel=(5, 7, 7), num_classes=400)
    if not on_gpu:
        small = paper(name="k400 at 64 pixels, 1 + 3", crop_size=64, num_labeled=1, num_unlabeled=3)
        return [demo, small]
    sizes = ((2, 10), (8, 40))
    return [demo] + [
        paper(name=f"k400, {n_l} + {n_u}", crop_size=224, num_labeled=n_l, num_unlabeled=n_u) for n_l, n_u in sizes
    ]


def batch_of(case: Case, *, device: torch.device, plain: bool) -> SemiBatch:
    """Makes clips of noise in the memory order of the pipeline, or in torch's own for the plain implementation."""

    def view(num_videos: int) -> ClipBatch:
        def clips(num_frames: int) -> Tensor:
            shape = (num_videos, num_frames, case.crop_size, case.crop_size, 3)
            made = torch.randint(0, 256, shape, dtype=torch.uint8, device=device).permute(0, 4, 1, 2, 3)
            return made.contiguous() if plain else made

        return ClipBatch(primary=clips(case.networks[0][2]), auxiliary=clips(case.networks[1][2]))

    labels = torch.arange(case.num_labeled, device=device) % case.num_classes
    truth = torch.arange(case.num_unlabeled, device=device) % case.num_classes
    return SemiBatch(
        labeled=LabeledBatch(standard=view(case.num_labeled), labels=labels),
        unlabeled=UnlabeledBatch(weak=view(case.num_unlabeled), strong=view(case.num_unlabeled), truth=truth),
    )


Step = Callable[[], Tensor]
"""Updates both networks once; gives the loss, on the device."""


def step_of(
    case: Case, *, batch_norm: str, device: torch.device, plain: bool = False, switches: Switches | None = None
) -> Step:
    """Makes a function that updates both networks once, with the trainer's own parts in the trainer's order."""
    switches = switches or Switches()
    networks = [
        ResNet3D(
            depth=depth,
            width=width,
            num_classes=case.num_classes,
            stem_kernel=case.stem_kernel,
            convolution="conv3d" if plain else "auto",
        ).to(device)
        for depth, width, _ in case.networks
    ]
    settings = CrossModel.Settings(threshold=0.0, batch_norm=batch_norm)
    method = CrossModel(primary=networks[0], auxiliary=networks[1], settings=settings)
    if plain:
        method.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch's stubs lack it
    if switches.compile:
        compile_networks(method, cuda_graphs=switches.cuda_graphs)
    if switches.cuda_graphs:
        keep_gradients(method)
    batch = batch_of(case, device=device, plain=plain)
    optimizer = sgd(method, lr=1e-4, momentum=0.9, nesterov=False, weight_decay=1e-4, fused=switches.fused_sgd)

    def step() -> Tensor:
        torch.backends.cudnn.benchmark = switches.cudnn_benchmark  # arms take turns
        optimizer.zero_grad(set_to_none=not switches.cuda_graphs)
        if switches.cuda_graphs:
            torch.compiler.cudagraph_mark_step_begin()
        autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")
        with autocast, narrow_clips(switches.narrow_clips):
            loss, _ = method(batch, unlabeled_weight=5.0)
        loss.backward()
        if switches.fused_sgd:
            aligned_gradients(method)
        optimizer.step()
        return loss.detach()

    return step


def needed_flops(case: Case) -> float:
    """Counts the floating-point operations of a step whose weak views need no gradient."""
    labeled, unlabeled = passes_a_video(method_settings("cmpl", batch_norm="weak-no-grad"))
    passes = labeled * case.num_labeled + unlabeled * case.num_unlabeled
    return sum(
        2 * passes * count_multiply_adds(network, num_frames=num_frames, crop_size=case.crop_size)
        for network, num_frames in (
            (ResNet3D(depth=d, width=w, num_classes=case.num_classes, stem_kernel=case.stem_kernel), t)
            for d, w, t in case.networks
        )
    )


def peak_flops_per_second(device: torch.device) -> float:
    """Measures the rate of a large matrix product: bf16 on a GPU, float32 on a CPU; the median of ten."""
    size, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (1024, torch.float32)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    samples = []
    for _ in range(13):
        synchronize(device)
        begin = time.perf_counter()
        a @ b
        synchronize(device)
        samples.append(time.perf_counter() - begin)
    return 2 * size**3 / statistics.median(samples[3:])


def run(
    measured: Sequence[Case], *, num_repeats: int, compiled: bool, device: torch.device, plain: bool = True
) -> dict[str, Any]:
    """Measures every arm of these cases, with rates; without `plain` all but the plain implementation."""
    peak, rows = peak_flops_per_second(device), []
    for case in measured:
        steps = {mode: step_of(case, batch_norm=mode, device=device) for mode in BATCH_NORMS}
        if plain:
            steps["joint, plain conv3d"] = step_of(case, batch_norm="joint", device=device, plain=True)
        if compiled:
            steps["weak-no-grad, compiled"] = step_of(
                case, batch_norm="weak-no-grad", device=device, switches=Switches(compile=True)
            )
        flops = needed_flops(case)
        for name, summary in measure(steps, num_repeats=num_repeats, device=device).items():
            rate = flops / summary["median_seconds"]
            rows.append({"case": case.name, "arm": name, **summary, "tflops": rate / 1e12, "of_peak": rate / peak})
    return {"environment": environment(), "device": device.type, "peak_tflops": peak / 1e12, "rows": rows}


@click.command()
@click.option("--repeats", "num_repeats", default=15, show_default=True, help="Timed steps of every arm.")
@click.option("--threads", "num_threads", default=1, show_default=True, help="Torch's threads on the CPU.")
@click.option("--compile", "compiled", is_flag=True, help="Also an arm with torch.compile.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the result here.")
def main(num_repeats: int, num_threads: int, compiled: bool, json_path: Path | None) -> None:
    """Time the training step of CMPL: BatchNorm's groupings, and a plain conv3d implementation."""
    torch.set_num_threads(num_threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    result = run(cases(on_gpu=device.type == "cuda"), num_repeats=num_repeats, compiled=compiled, device=device)
    click.echo(f"matrix product: {result['peak_tflops']:.2f} TFLOP/s")
    for row in result["rows"]:
        spread = f"{row['lower_quartile_seconds'] * 1e3:.1f}-{row['upper_quartile_seconds'] * 1e3:.1f}"
        click.echo(
            f"{row['case']:>26}  {row['arm']:<22} {row['median_seconds'] * 1e3:8.1f} ms ({spread}) "
            f"{row['tflops']:.3f} TFLOP/s, {row['of_peak']:.0%} of a matrix product"
        )
    if json_path:
        save_json(json_path, result)


if __name__ == "__main__":
    main()
