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
