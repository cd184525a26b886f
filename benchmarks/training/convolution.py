"""Times 3D convolutions as conv3d and as 2D ones.

    python -m benchmarks.training.convolution [--repeats 15] [--json FILE]

Times forward + backward of every kind of layer of Table A4 and of whole networks. The forms of one case take
turns in one run. On a GPU under bf16 autocast at the paper's sizes, else in fp32 at sizes for one thread.
Where torch's conv3d leaves channels_last_3d (under 16 clips on one thread, 1 x 1 in space),
the way back is part of its time; 'conv3d, not channels-last' is the network that never was in that layout.
On a CPU "torch's gradients" is 'auto' without those of `cmpl.models.gradients`.

Shapes: B clips, C channels, T frames, H x W pixels.
"""

import copy
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.environment import environment, save_json, summarize
from cmpl.models.convolution import Convolution, frames_as_images, images_as_frames
from cmpl.models.resnet3d import ResNet3D
from cmpl.training.autotune import synchronize

NUM_WARMUPS = 3
TORCHS_GRADIENTS = "torch's gradients"

Row = dict[str, Any]  # ready for JSON


@dataclass(frozen=True, kw_only=True)
class LayerCase:
    group: str
    in_channels: int
    out_channels: int
    kernel: tuple[int, int, int]
    spatial_stride: int
    input_shape: tuple[int, int, int]  # B, T, side


@dataclass(frozen=True, kw_only=True)
class NetCase:
    name: str
    depth: int
    width: float
    stem_kernel: tuple[int, int, int]
    input_shape: tuple[int, int, int]  # B, T, side


def layer_cases(*, on_gpu: bool) -> list[LayerCase]:
    """Lists the distinct layers of the demo's two networks and of R50 at widths 1/4 and 1."""
    cases = []

    def add(
        group: str, channels: tuple[int, int], kernel: tuple[int, int, int], stride: int, shape: tuple[int, int, int]
    ) -> None:
        cases.append(
            LayerCase(
                group=group,
                in_channels=channels[0],
                out_channels=channels[1],
                kernel=kernel,
                spatial_stride=stride,
                input_shape=shape,
            )
        )

    for num_frames, c in ((4, 16), (8, 8)):
        group = f"demo, {c} channels"
        add(group, (3, c), (3, 5, 5), 2, (24, num_frames, 28))
        add(group, (c, 2 * c), (3, 3, 3), 2, (24, num_frames, 7))
        add(group, (2 * c, 2 * c), (1, 3, 3), 1, (24, num_frames, 4))
        add(group, (c, 2 * c), (1, 1, 1), 2, (24, num_frames, 7))
    num_clips, crop = (8, 224) if on_gpu else (2, 112)
    for c in (16, 64):
        group, side = f"R50, {c} channels", crop // 4
        add(group, (3, c), (5, 7, 7), 2, (num_clips, 8, crop))
        add(group, (c, c), (3, 3, 3), 1, (num_clips, 8, side))
        for m in (c, 4 * c):  # res2 and res4
            shape = (num_clips, 8, side * c // m)
            add(group, (4 * m, m), (3, 1, 1), 1, shape)
            add(group, (m, m), (1, 3, 3), 1, shape)
            add(group, (m, 4 * m), (1, 1, 1), 1, shape)
        add(group, (4 * c, 8 * c), (1, 1, 1), 2, (num_clips, 8, side))
    # torch leaves oneDNN for its own kernels below 16 clips on one thread, so once with more.
    add("R50, 16 channels, 16 clips", (64, 16), (3, 1, 1), 1, (16, 8, 14))
    add("R50, 16 channels, 16 clips", (16, 64), (1, 1, 1), 1, (16, 8, 14))
    return cases


def net_cases(*, on_gpu: bool) -> list[NetCase]:
    demo, paper = (3, 5, 5), (5, 7, 7)
    r50, quarter = ((8, 8, 224), (8, 16, 224)) if on_gpu else ((2, 8, 64), (2, 16, 64))
    return [
        NetCase(name="R10 x1/4 (demo)", depth=10, width=1 / 4, stem_kernel=demo, input_shape=(24, 4, 28)),
        NetCase(name="R10 x1/8 (demo)", depth=10, width=1 / 8, stem_kernel=demo, input_shape=(24, 8, 28)),
        NetCase(name="R50 x1/4", depth=50, width=1 / 4, stem_kernel=paper, input_shape=quarter),
        NetCase(name="R50", depth=50, width=1, stem_kernel=paper, input_shape=r50),
    ]


def layer_steps(case: LayerCase, *, device: torch.device) -> dict[str, Callable[[], None]]:
    b, t, side = case.input_shape
    clips = _clips((b, case.in_channels, t, side, side), device=device)
    clips.requires_grad_(case.in_channels != 3)  # the first layer owes its input no gradient
    steps = {}
    for convolution in ("conv3d", "2d", "auto"):
        layer = Convolution(
            case.in_channels,
            case.out_channels,
            kernel=case.kernel,
            spatial_stride=case.spatial_stride,
            convolution=convolution,
        ).to(device)
        if layer.kind == "volume":  # every form is conv3d; its rival is the sum over time
            steps["conv3d"] = _step(layer, clips)
            steps["sum of 2d"] = _step(layer, clips, function=functools.partial(_sum_of_2d, layer))
            break
        name = f"auto ({layer.form(clips)})" if convolution == "auto" else convolution
        steps[name] = _step(layer, clips)
    if device.type == "cpu":
        steps[TORCHS_GRADIENTS] = _step(_with_torchs_gradients(layer), clips)
    return steps


def net_steps(case: NetCase, *, device: torch.device) -> dict[str, Callable[[], None]]:
    b, t, side = case.input_shape
    clips = _clips((b, 3, t, side, side), device=device)

    def net(convolution: str) -> nn.Module:
        return ResNet3D(
            depth=case.depth,
            width=case.width,
            num_classes=10,
            stem_kernel=case.stem_kernel,
            convolution=convolution,
        ).to(device)

    nets = {convolution: net(convolution) for convolution in ("conv3d", "2d", "auto")}
    steps = {name: _step(module, clips) for name, module in nets.items()}
    plain = net("conv3d")
    plain.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch's stubs lack it
    steps["conv3d, not channels-last"] = _step(plain, clips.contiguous())
    if device.type == "cpu":
        steps["auto, bf16 autocast"] = _step(nets["auto"], clips, bf16=True)
        steps[TORCHS_GRADIENTS] = _step(_with_torchs_gradients(nets["auto"]), clips)
    return steps


def _with_torchs_gradients(module: nn.Module) -> nn.Module:
    """Copies a module, with its gradients left to torch."""
    made = copy.deepcopy(module)
    for layer in made.modules():
        if isinstance(layer, Convolution):
            layer.own_gradients = False
    return made


def measure(steps: Mapping[str, Callable[[], object]], *, num_repeats: int, device: torch.device) -> dict[str, Row]:
    """Times every form; in each repeat each form runs once, in turn. Returns summaries by form."""
    samples: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(NUM_WARMUPS + num_repeats):
        for name, step in steps.items():
            synchronize(device)
            start = time.perf_counter()
            step()
            synchronize(device)
            if repeat >= NUM_WARMUPS:
                samples[name].append(time.perf_counter() - start)
    return {name: summarize(seconds) for name, seconds in samples.items()}


def rows(*, num_repeats: int, device: torch.device) -> Iterator[Row]:
    on_gpu = device.type == "cuda"
    for layer in layer_cases(on_gpu=on_gpu):
        for form, times in measure(layer_steps(layer, device=device), num_repeats=num_repeats, device=device).items():
            yield {"what": "layer", "case": vars(layer), "form": form, **times}
    for net in net_cases(on_gpu=on_gpu):
        for form, times in measure(net_steps(net, device=device), num_repeats=num_repeats, device=device).items():
            yield {"what": "net", "case": vars(net), "form": form, **times}


def _clips(shape: tuple[int, ...], *, device: torch.device) -> Tensor:
    return torch.randn(shape, device=device).to(memory_format=torch.channels_last_3d)


def _step(
    module: nn.Module, clips: Tensor, *, function: Callable[[Tensor], Tensor] | None = None, bf16: bool = False
) -> Callable[[], None]:
    """Makes a function that runs a module, or another function of its weights, forward and backward."""
    weights, function = list(module.parameters()), function or module
    bf16 = bf16 or clips.is_cuda
    with torch.no_grad(), torch.autocast(clips.device.type, dtype=torch.bfloat16, enabled=bf16):
        gradient = torch.randn_like(function(clips))

    def step() -> None:
        for tensor in (clips, *weights):
            tensor.grad = None
        with torch.autocast(clips.device.type, dtype=torch.bfloat16, enabled=bf16):
            output = function(clips)
        output.backward(gradient)

    return step


def _sum_of_2d(layer: Convolution, clips: Tensor) -> Tensor:
    """Computes a T x H x W kernel as T 2D convolutions of shifted frames: an alternative form of 'volume' layers."""
    t, reach = clips.shape[2], layer.kernel_size[0] // 2
    padded = F.pad(clips.permute(0, 2, 3, 4, 1), (0, 0, 0, 0, 0, 0, reach, reach)).permute(0, 4, 1, 2, 3)

    def convolved(shift: int) -> Tensor:
        shifted = padded[:, :, shift : shift + t].contiguous(memory_format=torch.channels_last_3d)
        weight = layer.weight[:, :, shift]
        return F.conv2d(frames_as_images(shifted), weight, None, layer.stride[1:], layer.padding[1:])

    images = functools.reduce(torch.add, map(convolved, range(layer.kernel_size[0])))
    return images_as_frames(images, num_frames=t)


def _line(row: Row) -> str:
    case = row["case"]
    if row["what"] == "net":
        name = f"{case['name']} {case['input_shape']}"
    else:
        kernel = "x".join(map(str, case["kernel"]))
        channels = f"{case['in_channels']}->{case['out_channels']}"
        name = f"{kernel}/{case['spatial_stride']} {channels} {case['input_shape']}"
    spread = f"[{row['lower_quartile_seconds'] * 1e3:.2f}, {row['upper_quartile_seconds'] * 1e3:.2f}]"
    return f"{name:44} {row['form']:26} {row['median_seconds'] * 1e3:9.2f} ms {spread}"


@click.command()
@click.option("--repeats", "num_repeats", default=15, show_default=True, help="Timed runs of every form.")
@click.option("--threads", "num_threads", default=1, show_default=True, help="Torch's threads on the CPU.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the result here.")
def main(num_repeats: int, num_threads: int, json_path: Path | None) -> None:
    """Time 3D convolutions as conv3d and as 2D ones: every kind of layer, and whole networks."""
    torch.set_num_threads(num_threads)
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    measured = []
    for row in rows(num_repeats=num_repeats, device=device):
        click.echo(_line(row))
        measured.append(row)
    if json_path:
        record = {
            "benchmark": "convolution",
            "unit": "seconds, forward + backward",
            "precision": "bf16 autocast" if device.type == "cuda" else "fp32 unless the form says otherwise",
            "device": device.type,
            "num_warmups": NUM_WARMUPS,
            "environment": environment(),
            "rows": measured,
        }
        save_json(json_path, record)


if __name__ == "__main__":
    main()
