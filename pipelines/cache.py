"""Where cmpl keeps what it can make again: the demo data set, manifests."""

import os
from pathlib import Path


def cache_root() -> Path:
    """`$CMPL_CACHE`, else `$XDG_CACHE_HOME/cmpl`, else `~/.cache/cmpl`. Not created here."""
    if "CMPL_CACHE" in os.environ:
        return Path(os.environ["CMPL_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "cmpl"
