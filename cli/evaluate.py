"""`cmpl eval`: evaluates a checkpoint of a run."""

import json
import os
from pathlib import Path

import click

from cli.options import checkpoint_option, clips_option, crops_option, device_option, plugin_option
from pipelines.registry import use_plugins


@click.command()
@click.argument("run", required=False)
@clips_option
@crops_option
@click.option(
    "--clip-stride",
    type=click.Choice(("1", "2", "4", "8")),
    default="1",
    show_default=True,
    help="Show every so many frames of a clip, each in place of those after it (Fig. 5).",
)
@click.option("--data-root", metavar="FOLDER", help="Where the data set lies now.  [default: as in training]")
@click.option("--other-videos", is_flag=True, help="Also on other validation videos than the run's, of its classes.")
@checkpoint_option
@device_option
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout, all else on stderr.")
def command(
    *,
    run: str | None,
    clips: int | None,
    crops: int | None,
    clip_stride: str,
    data_root: str | None,
    other_videos: bool,
    checkpoint: str,
    device: str,
    plugins: tuple[str, ...],
    as_json: bool,
) -> None:
    """Evaluate a run: top-1 and top-5 over clips and crops.

    RUN is a run's folder; without it, the newest under runs/. The run's own plug-ins are imported by themselves. The
    result and what was found of each video are kept in its folder `evaluations`, as .json and .csv.
    """
    use_plugins(plugins)
    from cli.display import console_of, reporter_on, show_result
    from cli.train import answers_of, next_lines
    from cmpl.evaluation import evaluate_run
    from cmpl.training.run_directory import newest_run

    path = Path(run) if run else newest_run(Path("runs"))
    console = console_of(stderr=as_json)
    with reporter_on(console) as reporter:
        result = evaluate_run(
            path,
            clips=clips,
            crops=crops,
            which=checkpoint,
            reporter=reporter,
            device=device,
            data_root=os.path.abspath(os.path.expanduser(data_root)) if data_root else None,
            other_videos=other_videos,
            clip_stride=int(clip_stride),
        )
    if as_json:
        click.echo(json.dumps({"run": str(path), **result}, indent=1))
    else:
        show_result(console, result, title=f"{path}, {checkpoint} checkpoint (step {result['step']})")
        console.print(next_lines(answers_of(path)), markup=False, highlight=False, soft_wrap=True)
