"""Makes docs/ARCHITECTURE.md: one line a module, from the first line of each module's docstring.

    python docs/make_architecture.py

The standard library alone is used, and no module is imported. A test compares the file with what this script makes.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "ARCHITECTURE.md"
COMMAND = "python docs/make_architecture.py"

FOLDERS = {
    "pipelines": "The data side: numpy, PyAV and DALI; torch only at the hand-off. It knows neither `cmpl` nor `cli`.",
    "pipelines/video": "From bytes to frames: what lies in a video file, and which packets some frames need.",
    "pipelines/datasets": "What a data set says before any video is opened: one kind of annotation a file.",
    "pipelines/catalog": "What was probed of every video, once, and what a stream draws from.",
    "pipelines/plan": "All randomness, as values. No pixel is touched here.",
    "pipelines/views": "Pixels on a CPU, as the plan says. The slow twin of each step is in `tests/support`.",
    "pipelines/loading": "Workers, DALI's graphs and the hand-off to torch. A loader's position is the step.",
    "cmpl": "The method side. Of the data side it sees typed batches; only `build.py` sees all of it.",
    "cmpl/loggers": "Where metrics go beside metrics.jsonl: one service a file.",
    "cmpl/methods": "One file a method. A method takes a batch and gives a loss and its terms.",
    "cmpl/models": "Networks, and how they are counted and initialized.",
    "cmpl/recipes": "A published experiment is a recipe: what it changes, its expected top-1 and its cost.",
    "cmpl/training": "All around the step: loop, ranks, precision, learning rate, checkpoints, metrics.",
    "cli": "The commands, one file each: read the options, make one call, show the result.",
    "benchmarks": "What is measured, by question: [commands and figures](../benchmarks/README.md).",
    "benchmarks/bench_loader": "What `cmpl bench-loader` runs.",
    "benchmarks/loaders": "This project's loader beside other ways to load the same clips.",
    "benchmarks/training": "The cost of a training step, and what the methods reach on the demo.",
    "benchmarks/gpu": "What a GPU has to be asked, in one command.",
    "tests/support": "Helpers that tests share, slow twins included. Nothing that trains imports it.",
}
"""Folder -> one sentence. A folder without one takes the first line of its `__init__.py`, if that has any."""

PACKAGES = ("pipelines", "cmpl", "cli", "benchmarks", "tests/support")

HEAD = f"""# Architecture

Made by `{COMMAND}` from the first docstring line of each module. Do not edit it by hand.

Imports run one way: `pipelines <- cmpl <- benchmarks <- cli`. A test checks it.
`--help` imports neither torch nor DALI, and workers do not import torch.

## The path of a clip

1. **Plan.** Choose a video, two clips, crops and operations: a pure function of (seed, stream, epoch, index).
   No randomness comes later. So any step can be made again alone, on any number of ranks and workers.
2. **Read.** Find the packets that the frames of both clips need, from keyframe to last frame. Read only those.
3. **Decode.** Decode the frames of both clips once: NVDEC on a GPU, FFmpeg in a worker on a CPU.
4. **View.** Make each clip's weak and strong view from those frames: DALI's operators on a GPU, numpy in a CPU's
   worker. Both do what one plan says, and tests compare both with one slow numpy twin.
5. **Hand off.** Give torch a typed batch, channels last, without a copy on the GPU.
6. **Learn.** The method turns the batch into a loss and its terms, in the paper's symbols. The trainer does all else.

DALI serves GPUs alone. Without a GPU the workers write whole batches into shared memory, and DALI is not imported.
Carrying a sample costs less than half of what it cost through DALI
([measured](../benchmarks/README.md#carrying-views-from-workers)).
"""


def first_line(path: Path) -> str:
    """Returns a module's first docstring line, with the lines below if the sentence goes on; may be empty."""
    try:
        docstring = ast.get_docstring(ast.parse(path.read_text()))
    except SyntaxError:
        return ""
    if not docstring:
        return ""
    line = docstring.splitlines()[0].strip()
    return line if line.endswith((".", "?")) else " ".join(docstring.split("\n\n")[0].split())


def modules_of(root: Path) -> dict[str, list[Path]]:
    """Maps each folder that has modules, relative to `root`, to them by name. Leaves out `__init__.py`."""
    found: dict[str, list[Path]] = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py"), key=lambda p: (p.parent.as_posix(), p.name)):
            if path.name != "__init__.py":
                found.setdefault(path.parent.relative_to(root).as_posix(), []).append(path)
    return found


def architecture(root: Path = ROOT) -> str:
    """Writes the text of docs/ARCHITECTURE.md for the modules under `root`."""
    parts = [HEAD]
    for folder, paths in modules_of(root).items():
        sentence = FOLDERS.get(folder) or first_line(root / folder / "__init__.py")
        level = "##" if folder in PACKAGES else "###"
        parts.append(
            "\n".join(
                [f"{level} {folder}/", "", *([sentence, ""] if sentence else []), "| module | what |", "|---|---|"]
            )
        )
        parts[-1] += "".join(
            f"\n| `{path.relative_to(root).as_posix()}` | {first_line(path).replace('|', chr(92) + '|')} |"
            for path in paths
        )
        parts[-1] += "\n"
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(architecture())
