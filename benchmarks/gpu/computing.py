"""Sections of the GPU suite on the training step: each yields what it finds, piece by piece."""

from benchmarks.gpu.setup import Found, Suite


def step(suite: Suite) -> Found:
    """Runs `benchmarks.training.step`."""
    import torch

    from benchmarks.training.step import cases, run

    device = torch.device("cpu" if suite.cpu else "cuda")
    for plain in (False, True):  # which may take seconds a step
        for case in cases(on_gpu=not suite.cpu)[: 1 if suite.cpu else None]:
            num_repeats = 1 if suite.cpu else 10
            result = run([case], num_repeats=num_repeats, compiled=False, device=device, plain=plain)
            yield f"{case.name}{', and plain' if plain else ''}", result["rows"]
            yield "peak_tflops", result["peak_tflops"]


def switches(suite: Suite) -> Found:
    """Runs `benchmarks.training.switches`: smallest case first, and arms that compile after those that do not."""
    import torch

    from benchmarks.training.step import cases
    from benchmarks.training.switches import run_case

    device = torch.device("cpu" if suite.cpu else "cuda")
    for case in cases(on_gpu=not suite.cpu)[: 1 if suite.cpu else None]:
        for compiled in (False, True):
            for row in run_case(case, num_repeats=1 if suite.cpu else 10, compiled=compiled, device=device):
                yield f"{case.name}: {row['arm']}{' (compiling)' if compiled else ''}", row


def kernels(suite: Suite) -> Found:
    """Asks torch's profiler which kernels and operators a step at the paper's sizes spends its time in."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from benchmarks.training.step import cases, step_of
    from benchmarks.training.switches import ON_A_GPU
    from cmpl.training.autotune import synchronize
    from cmpl.training.switches import Switches

    device = torch.device("cpu" if suite.cpu else "cuda")
    case = cases(on_gpu=not suite.cpu)[0 if suite.cpu else 1]
    step = step_of(case, batch_norm="joint", device=device, switches=Switches() if suite.cpu else ON_A_GPU)
    for _ in range(1 if suite.cpu else 5):
        step()
    synchronize(device)
    activity = ProfilerActivity.CPU if suite.cpu else ProfilerActivity.CUDA
    with profile(activities=[activity]) as found:
        step()
        synchronize(device)
    name = "self_cpu_time_total" if suite.cpu else "self_device_time_total"
    spent = sorted(((getattr(event, name), event) for event in found.key_averages()), key=lambda pair: -pair[0])
    whole = sum(microseconds for microseconds, _ in spent)
    yield f"{case.name}: milliseconds", whole / 1e3
    for microseconds, event in spent[:25]:
        yield event.key[:160], {"calls": event.count, "milliseconds": microseconds / 1e3, "share": microseconds / whole}


def convolution(suite: Suite) -> Found:
    """Runs `benchmarks.training.convolution`: each kind of layer as conv3d and as a 2D convolution."""
    import torch

    from benchmarks.training.convolution import rows

    torch.backends.cudnn.benchmark = True
    device = torch.device("cpu" if suite.cpu else "cuda")
    for number, row in enumerate(rows(num_repeats=1 if suite.cpu else 7, device=device)):
        yield str(number), row
        if suite.cpu and number == 3:
            return
