"""`cmpl sweep`: trains the rows of a table of the paper."""

import json
from pathlib import Path
from typing import Any

import click

from cli.options import config_of, experiment_options


@click.command()
@click.argument("study")
@experiment_options
@click.option("--init", metavar="FILE", help="Weights for the rows that start from such.")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Length of each training in optimizer steps.")
@click.option("--epochs", type=float, metavar="N", help="Length in passes over the unlabeled videos.")
@click.option("--workers", type=click.IntRange(min=0), metavar="N", help="Workers; 0: none but the trainer itself.")
@click.option("--subsets", type=click.IntRange(min=1), default=3, show_default=True, metavar="N")
@click.option("--out", default="runs", show_default=True, metavar="FOLDER", help="Runs go to FOLDER/<study>/<recipe>/.")
@click.option("--list", "only_list", is_flag=True, help="Name the runs and their states; train nothing.")
@click.option("--json", "as_json", is_flag=True, help="The table as JSON on stdout, all else on stderr.")
@click.pass_context
def command(
    ctx: click.Context,
    *,
    study: str,
    subsets: int,
    out: str,
    only_list: bool,
    as_json: bool,
    init: str | None,
    split_seed: int | None,
    **options: Any,
) -> None:
    """Train the rows of a table of the paper, and compare.

    STUDY is table1 to table6, tablea1 to tablea3, or fig1, fig4, fig5. Each row is trained on each labeled subset. Runs
    that are finished are passed over, so that the same command goes on. Under torchrun all ranks train one run after
    another; in a SLURM array (`sbatch --array=0-7`) each task takes every eighth run.

    \b
      cmpl sweep table3 --data-root /data/k400
      cmpl sweep table3 --dataset demo --subsets 1 --steps 200
    """
    from cli.display import console_of, is_first_rank, reporter_on, say
    from cli.table import show
    from cmpl.recipes.measured import compare, read_run
    from cmpl.run_list import summary_of
    from cmpl.sweep import SweepRun, runs_of, sweep
    from pipelines.errors import InputError
    from pipelines.shares import array_share

    if split_seed is not None:
        raise InputError(f"--split-seed: received {split_seed}; accepted: --subsets N, which takes 0 to N - 1")
    table, runs = runs_of(study, num_subsets=subsets, out=Path(out) / study, has_weights=init is not None)
    share = array_share()
    own = share.of(runs)
    console = console_of(stderr=as_json)
    if only_list:
        for run in own:
            state = summary_of(run.path).state if (run.path / "config.json").exists() else "not begun"
            say(console, f"{run.name}: {state}, {run.path}")
        return

    def config(run: SweepRun) -> Any:
        starts = init if run.row.starts_from_weights else None
        return config_of(**options, recipe=run.row.name, split_seed=run.split_seed, init=starts)

    if share.number > 1:
        say(console, f"part {share.index + 1} of {share.number}: {len(own)} of {len(runs)} runs")
    with reporter_on(console) as reporter:
        outcome = sweep(own, config, reporter=reporter)
    if not is_first_rank():
        ctx.exit(1 if outcome.failed else 0)
    done = [run for run in runs if (run.path / "result.json").exists()]
    lines, strangers = compare(table, [read_run(str(run.path)) for run in done])
    if as_json:
        click.echo(json.dumps({"table": table, "rows": lines, "elsewhere": strangers}, indent=1))
    else:
        show(table, lines, strangers)
    say(console, f"{len(done)} of {len(runs)} runs are finished")
    for run, why in outcome.failed:
        say(console, f"{run.name}: not finished: {why}")
    if outcome.is_stopped:
        say(console, "Stopped. The same command goes on from there.")
        ctx.exit(130)
    ctx.exit(1 if outcome.failed else 0)
