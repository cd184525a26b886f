"""A small run on real files, in this process or as a script of its own."""

from pathlib import Path

from cmpl.config import Config, with_settings
from cmpl.recipes.demo import demo
from cmpl.training.checkpoint import checkpoints
from cmpl.training.reporter import Reporter

ROOT = Path(__file__).parents[2]
NUM_STEPS = 14
SMALL = {
    "data.dataset": "folder",
    "optim.steps": str(NUM_STEPS),
    "method.threshold": "0.3",
    "primary.dropout": "0.5",
    "batch.labeled": "2",
    "batch.unlabeled": "3",
    "evaluation.clips": "2",
    "evaluation.crops": "1",
    "evaluation.every_steps": "0",
    "runtime.workers": "0",
    "runtime.torch_threads": "1",
    "runtime.log_every_steps": "2",
    "runtime.checkpoint_every_steps": "3",
}


class Heard(Reporter):
    """Remembers what is said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def config_of(folder: Path, **more: str) -> Config:
    """The configuration of the small run, with other settings where given."""
    return with_settings(demo("2"), SMALL | {"data.root": str(folder)} | more)


def weights(run: Path) -> bytes:
    """The newest checkpoint's weights, as they lie on the disk."""
    return (checkpoints(run / "checkpoints")[-1] / "model.safetensors").read_bytes()


RUN_IT = """
import os, sys, time
from pathlib import Path
if __name__ == "__main__":  # workers import this file again: they stay small
    from tests.support.runs import config_of
    from cmpl.session import train
    from cmpl.training.reporter import Reporter
    class Waiting(Reporter):
        def step(self, report):
            time.sleep(float(os.environ.get("SECONDS_A_REPORT", "0")))
    outcome = train(config_of(Path(sys.argv[1]), **eval(sys.argv[3])), path=Path(sys.argv[2]), reporter=Waiting())
    sys.exit(0 if outcome.result else 7)
"""
"""A script: `run_it.py FOLDER RUN SETTINGS` trains; it ends with 7 where a signal stopped it. With SECONDS_A_REPORT it
waits at each report, so that a signal finds it at work however fast the machine is."""
