"""A trainer of a linear network on batches made by hand."""

import torch

from cmpl.config import with_settings
from cmpl.methods.supervised import Supervised
from cmpl.recipes.demo import demo
from cmpl.training.identity import Identity
from cmpl.training.loop import Trainer
from cmpl.training.plan import plan_of
from cmpl.training.ranks import Ranks
from cmpl.training.reporter import Reporter
from cmpl.training.run_directory import RunDirectory
from cmpl.training.runtime import settle
from cmpl.training.switches import Switches, settle_switches
from pipelines.batch import ClipBatch, LabeledBatch, SemiBatch
from tests.support.tiny import Linear, clips


class Loader:
    """Batches of `batch_size` consecutive videos out of an endless row."""

    wait_seconds = 0.0

    def __init__(self, micro_step: int, batch_size: int) -> None:
        self.micro_step, self.batch_size, self.problems = micro_step, batch_size, {}

    def __next__(self) -> SemiBatch:
        return self.take()

    def take(self) -> SemiBatch:
        first = self.micro_step * self.batch_size
        self.micro_step += 1
        videos = torch.cat([clips(1, 2, first + i) for i in range(self.batch_size)])
        labels = torch.tensor([(first + i) % 4 for i in range(self.batch_size)])
        return SemiBatch(labeled=LabeledBatch(standard=ClipBatch(primary=videos), labels=labels))

    def close(self) -> None:
        pass


def trainer(path, *, num_steps: int = 6, validate=None, switches: Switches | None = None, **settings: str) -> Trainer:
    config = with_settings(demo(), {"method.name": "supervised", "optim.lr": "0.01"} | settings)
    run = RunDirectory(path)
    run.claim(config)
    runtime = settle(config.runtime)
    return Trainer(
        Supervised(primary=Linear(0)),
        plan=plan_of(config, num_steps=num_steps, num_ranks=1, uses_unlabeled=False),
        identity=Identity(classes=("a", "b", "c", "d")),
        loader_at=lambda micro_step: Loader(micro_step, config.batch.labeled),
        validate=validate,
        run=run,
        runtime=runtime,
        switches=switches or settle_switches(config, runtime=runtime, ranks=Ranks()),
        ranks=Ranks(),
        reporter=Reporter(),
    )
