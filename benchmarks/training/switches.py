"""Times the training step of CMPL with each of its switches alone, and with all that a GPU gets.

Arms take turns: first those that compile nothing, then those that do, each group beside the plain step. Each says the
loss of its first step, too: it should be the plain one's, but for rounding. An arm that fails is named and costs the
others nothing. On a CPU compiling takes minutes, and `--compile` asks for it.

    python -m benchmarks.training.switches [--json FILE] [--repeats 15] [--threads 1] [--compile]
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.environment import environment, save_json
from benchmarks.training.convolution import measure
from benchmarks.training.step import Case, Step, cases, step_of
from cmpl.training.switches import Switches

ON_A_GPU = Switches(cudnn_benchmark=True, fused_sgd=True, narrow_clips=True)
"""What a GPU gets without a trial."""


def arms(*, on_gpu: bool, compiled: bool) -> dict[str, Switches]:
    """Lists the arms that compile nothing, or those that do; both begin with the step that has no switch on."""
    base, found = ON_A_GPU if on_gpu else Switches(), {"none": Switches()}
    if compiled:
        found["compile"] = base.decided(compile=True, cuda_graphs=False)
        if on_gpu:
            found["compile, cuda_graphs"] = base.decided(compile=True, cuda_graphs=True)
        return found
    found["fused_sgd"] = Switches(fused_sgd=True)
    if on_gpu:
        found |= {
            "narrow_clips": Switches(narrow_clips=True),
            "cudnn_benchmark": Switches(cudnn_benchmark=True),
            "these three": ON_A_GPU,
        }
    return found


def run_case(
    case: Case, *, num_repeats: int, compiled: bool, device: torch.device, batch_norm: str = "joint"
) -> Iterator[dict[str, Any]]:
    """Yields a row an arm: its times and first loss, or its problem. The failed ones come first."""
    steps: dict[str, Step] = {}
    losses = {}
    for name, switches in arms(on_gpu=device.type == "cuda", compiled=compiled).items():
        torch.manual_seed(0)
        try:
            step = step_of(case, batch_norm=batch_norm, device=device, switches=switches)
            losses[name] = float(step())  # compiles
            steps[name] = step
        except Exception as error:  # a compiler's, a driver's or memory's: the other arms go on
            reason = (str(error).strip().splitlines() or [""])[0][:300]
            yield {"case": case.name, "arm": name, "problem": f"{type(error).__name__}: {reason}"}
    for name, summary in measure(steps, num_repeats=num_repeats, device=device).items():
        yield {"case": case.name, "arm": name, "first_loss": losses[name], **summary}


@click.command()
@click.option("--repeats", "num_repeats", default=15, show_default=True, help="Timed steps of every arm.")
@click.option("--threads", "num_threads", default=1, show_default=True, help="Torch's threads on the CPU.")
@click.option("--compile", "compiled", is_flag=True, help="Also arms with torch.compile; on a GPU always.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the result here.")
def main(num_repeats: int, num_threads: int, compiled: bool, json_path: Path | None) -> None:
    """Time the training step of CMPL with each of its switches alone, and with all that a GPU gets."""
    torch.set_num_threads(num_threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu, rows = device.type == "cuda", []
    for case in cases(on_gpu=on_gpu):
        for which in (False, True) if compiled or on_gpu else (False,):
            for row in run_case(case, num_repeats=num_repeats, compiled=which, device=device):
                rows.append(row)
                click.echo(f"{row['case']:>26}  {row['arm']:<22} {_short(row)}")
    if json_path:
        save_json(json_path, {"environment": environment(), "device": device.type, "rows": rows})


def _short(row: dict[str, Any]) -> str:
    if "problem" in row:
        return str(row["problem"])
    spread = f"{row['lower_quartile_seconds'] * 1e3:.1f}-{row['upper_quartile_seconds'] * 1e3:.1f}"
    return f"{row['median_seconds'] * 1e3:8.1f} ms ({spread}), first loss {row['first_loss']:.6f}"


if __name__ == "__main__":
    main()
