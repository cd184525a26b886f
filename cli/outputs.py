"""An output that takes no more: a full disk, a reader that left."""

import contextlib
import os
import sys
from typing import IO, NoReturn

import click


def let_go(file: IO[str]) -> None:
    """Sends what Python still holds for a file nowhere: written at the exit, it would change the exit code."""
    with contextlib.suppress(OSError):  # a file in memory has no number
        number = file.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def settle_stdout() -> None:
    """Writes what Python still holds. Where that cannot be, says so on stderr and ends with exit code 2; within the
    handling of another failure that one counts."""
    failure = sys.exc_info()[1]
    try:
        sys.stdout.flush()
    except OSError as error:
        if failure is None or (isinstance(failure, SystemExit) and not failure.code):
            cannot_be_written(error)
        let_go(sys.stdout)


def cannot_be_written(error: OSError) -> NoReturn:
    """Says so on stderr and ends with exit code 2."""
    let_go(sys.stdout)
    click.echo(f"Error: output: cannot be written ({error.strerror})", err=True)
    sys.exit(2)
