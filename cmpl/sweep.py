"""The rows of a table of the paper over labeled subsets, one run each: which there are, and how they are trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cmpl import session
from cmpl.config import Config
from cmpl.recipes.measured import table_name
from cmpl.recipes.registry import ROWS
from cmpl.recipes.rows import Row
from cmpl.run_list import summary_of
from cmpl.training.reporter import OutputClosedError, Reporter
from cmpl.training.run_directory import RunDirectory
from pipelines.errors import InputError


@dataclass(frozen=True, kw_only=True)
class SweepRun:
    """One run of a sweep."""

    row: Row
    split_seed: int
    path: Path

    @property
    def name(self) -> str:
        """The row and its labeled subset."""
        return f"{self.row.name}, subset {self.split_seed}"


@dataclass(frozen=True, kw_only=True)
class SweepOutcome:
    """What became of a sweep's runs, each in one of the three, or not reached as a signal stopped the one before."""

    finished: tuple[SweepRun, ...]  # those from before included
    failed: tuple[tuple[SweepRun, str], ...]  # and why
    is_stopped: bool


def runs_of(study: str, *, num_subsets: int, out: Path, has_weights: bool) -> tuple[str, list[SweepRun]]:
    """The table's name, and its runs: row by row, subset by subset, each in `out/<recipe>/subset-<k>`.

    study: table3, 3, fig4. Rows that start from weights are left out unless there are such. Raises InputError for an
    unknown study.
    """
    name = table_name(study)
    rows = [row for row in ROWS.values() if row.table == name and (has_weights or not row.starts_from_weights)]
    return name, [
        SweepRun(row=row, split_seed=seed, path=out / row.name / f"subset-{seed}")
        for row in rows
        for seed in range(num_subsets)
    ]


def sweep(runs: Sequence[SweepRun], config_of: Callable[[SweepRun], Config], *, reporter: Reporter) -> SweepOutcome:
    """Trains the runs one after another. A finished one with the same configuration is passed over.

    A run that cannot be trained, that diverges, or that another process trains is named, and the next one begins. All
    ranks of torchrun train each run together.
    """
    finished, failed = [], []
    for number, run in enumerate(runs, 1):
        try:
            config = config_of(run)
            if is_done(run.path, config):
                reporter.note(f"{run.name}: finished before, in {run.path}")
                finished.append(run)
                continue
            reporter.note(f"{run.name} ({number} of {len(runs)}): {run.path}")
            outcome = session.train(config, path=run.path, reporter=reporter)
        except OutputClosedError:
            raise
        except InputError as error:
            reporter.note(f"{run.name}: not finished: {error}")
            failed.append((run, str(error)))
            continue
        if outcome.result is None:
            return SweepOutcome(finished=tuple(finished), failed=tuple(failed), is_stopped=True)
        finished.append(run)
    return SweepOutcome(finished=tuple(finished), failed=tuple(failed), is_stopped=False)


def is_done(path: Path, config: Config) -> bool:
    """Whether a run is finished there, by this configuration; no data set is opened.

    Raises InputError where a run of another configuration is there.
    """
    if not (path / "config.json").exists() or summary_of(path).state != "finished":
        return False
    run = RunDirectory(path)
    run.check(config)
    return run.config().optim == config.optim  # else it may be continued to more steps
