"""Where cmpl keeps what it can make again: the demo data set, manifests."""

import os
from collections.abc import Callable
from pathlib import Path

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what is being done); pipelines never draws, the command line does."""


def no_progress(done: int, total: int, what: str) -> None:
    """A Progress that shows nothing."""


def cache_root() -> Path:
    """`$CMPL_CACHE`, else `$XDG_CACHE_HOME/cmpl`, else `~/.cache/cmpl`. Not created here."""
    if "CMPL_CACHE" in os.environ:
        return Path(os.environ["CMPL_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "cmpl"
