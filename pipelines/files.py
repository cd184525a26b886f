"""Files written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines.errors import InputError


@contextmanager
def written_whole(path: Path | str, *, field: str | None = None) -> Iterator[Path]:
    """Yields a draft's path beside `path`. After the block the draft is on the disk and takes the name `path`.

    A reader or a kill meets the old file or the new one, never half of one. Where the block raises, the draft is
    removed and the old file stays. The draft's name is this process's own: writers do not meet.
    Raises OSError where the file cannot be written; InputError instead where `field` names what the user can change.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield draft
        synced(draft)
        draft.replace(path)
        synced(path.parent)
    except BaseException as error:
        with suppress(OSError):  # where a file stands in for the folder there is no draft; the first error counts
            draft.unlink()
        if field is not None and isinstance(error, OSError):
            reason = error.strerror or type(error).__name__
            raise InputError(
                f"{field}: cannot write {path} ({reason}); accepted: a path that can be written"
            ) from error
        raise


def synced(path: Path) -> None:
    """Asks the disk to have a file or a folder before anything later is written."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
