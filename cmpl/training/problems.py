"""problems.json of a run: the videos set aside or damaged, written as soon as they are known."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from pipelines.errors import InputError
from pipelines.files import written_whole
from pipelines.problems import add_problems

PAUSE_FACTOR = 50
"""A write is followed by a pause this many times as long, so that writing takes at most 2 % of a run."""


class ProblemsFile:
    """The file's content, path of a video -> why it is set aside or how it is damaged, and when it is written.

    It only grows: what the file holds already stays, also what another process (`cmpl eval`) has added since.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._is_written, self._free_at = path, True, 0.0
        self.content = _read(path)

    def note(self, problems: Mapping[str, str], *, at_once: bool = False) -> None:
        """Adds problems, and writes the file whole where any is new.

        Soon after a write the next one waits for a later call, unless `at_once`. Raises OSError where the file cannot
        be written.
        """
        if problems:
            known = dict(self.content)
            add_problems(known, problems.items())
            self._is_written = self._is_written and known == self.content
            self.content = known
        if not self._is_written and (at_once or time.monotonic() >= self._free_at):
            self._write()

    def _write(self) -> None:
        begin = time.monotonic()
        there = _read(self._path)
        add_problems(there, self.content.items())
        self.content = there
        with written_whole(self._path) as draft:
            draft.write_text(json.dumps(self.content, indent=1) + "\n")
        end = time.monotonic()
        self._is_written, self._free_at = True, end + PAUSE_FACTOR * (end - begin)


class Note(Protocol):
    """Adds videos to a run's problems.json."""

    def __call__(self, problems: Mapping[str, str], *, at_once: bool = False) -> None: ...


def say_where_unwritable(note: Note, say: Callable[[str], None]) -> Note:
    """Returns a `note` that says, once, that the file cannot be written, in place of raising InputError."""
    is_said = False

    def tolerant(problems: Mapping[str, str], *, at_once: bool = False) -> None:
        nonlocal is_said
        try:
            note(problems, at_once=at_once)
        except InputError as error:
            if not is_said:
                say(str(error))
            is_said = True

    return tolerant


def _read(path: Path) -> dict[str, str]:
    """Reads the file; {} where there is none or it is damaged: its videos are met again."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {str(name): str(reason) for name, reason in content.items()} if isinstance(content, dict) else {}
