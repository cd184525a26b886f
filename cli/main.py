"""The group of commands. A command's module is imported when it is called, so that `--help` stays quick.

Processes that DALI spawns import this module again: it must stay light and do nothing on import.
"""

import errno
import importlib
import logging
from typing import Any

import click

from cli.outputs import cannot_be_written, settle_stdout
from pipelines.errors import InputError, nearest
from pipelines.printable import PrintableFormatter, printable

COMMANDS = {
    "train": ("cli.train", "Train on few labeled and many unlabeled videos, then evaluate."),
    "eval": ("cli.evaluate", "Evaluate a run: top-1 and top-5 over clips and crops."),
    "sweep": ("cli.sweep", "Train the rows of a table of the paper, and compare."),
    "runs": ("cli.runs", "List runs: state, scores and time."),
    "diff": ("cli.diff", "Show what differs between two runs."),
    "predict": ("cli.predict", "Name the classes of any videos."),
    "export": ("cli.export", "Write a run's network as a file that other programs run."),
    "report": ("cli.report", "Write a page about runs: curves, confusion, classes, videos."),
    "figure": ("cli.figure", "Draw a figure of the paper from runs."),
    "split": ("cli.split", "Draw the labeled subset of a data set and write it as a list."),
    "prepare": ("cli.prepare", "Encode a data set anew so that it decodes fast at random places."),
    "recipes": ("cli.recipes", "List the paper's experiments, or show what one changes."),
    "table": ("cli.table", "Set measured results beside a table of the paper."),
    "models": ("cli.models", "List the networks with their parameters and multiply-adds."),
    "show-batch": ("cli.show_batch", "Draw a planned batch: weak views above strong ones, as a PNG."),
    "bench-loader": ("cli.bench_loader", "Measure the loader and the training step, and say which limits."),
    "doctor": ("cli.doctor", "Say what is installed and what training would use here, and why."),
}
"""Name -> (module that holds `command`, its first line of help)."""


OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EPIPE, errno.EIO)
"""Errors of the system that no program can mend: a full or unwritable disk, a closed pipe."""


class UserError(click.ClickException):
    """What the user gave cannot be; told without a traceback."""

    exit_code = 2


class LazyGroup(click.Group):
    """Lists its commands without importing them, and turns a user's errors into messages."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Ends with exit code 2 also where the last lines cannot be written."""
        try:
            return super().main(*args, **options)
        except OSError as error:  # of --help: a command's own are heard in `invoke`
            if error.errno not in OF_THE_MACHINE:
                raise
            cannot_be_written(error)
        finally:
            settle_stdout()

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return importlib.import_module(COMMANDS[name][0]).command if name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS:
            ctx.fail(f"No such command {args[0]!r}{nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Exit code 2 for InputError and for what the machine lacks, 130 for Ctrl-C, all without a traceback."""
        if logging.lastResort is not None:  # the handler of warnings, as nothing else is set up
            logging.lastResort.setFormatter(PrintableFormatter())
        try:
            return super().invoke(ctx)
        except InputError as error:
            raise UserError(printable(str(error))) from error
        except OSError as error:
            if error.errno not in OF_THE_MACHINE:
                raise
            what = f"{error.filename}: " if error.filename else ""
            raise UserError(printable(f"{what}{error.strerror}")) from error
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(130)


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cmpl", prog_name="cmpl")
def main() -> None:
    """Semi-supervised action recognition by Cross-Model Pseudo-Labeling: two networks teach each other.

    Start with `cmpl train --dataset demo`: it makes its own videos and needs no GPU.
    """


if __name__ == "__main__":
    main()
