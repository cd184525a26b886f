"""Problems of videos, {path: reason}: most are set aside, damaged ones may be shown all the same."""

from collections.abc import Iterable, Mapping

SHOWN_DAMAGED = "damaged, but shown: the decoder filled gaps in its frames"
"""The reason of a video that is not set aside, though its decoder says that frames are not as they were encoded."""


def add_problems(known: dict[str, str], problems: Iterable[tuple[str, str]]) -> None:
    """Adds problems to {path: reason}. The first reason stays, but to be set aside goes over to be shown."""
    for path, reason in problems:
        if known.get(path, SHOWN_DAMAGED) == SHOWN_DAMAGED:
            known[path] = reason


def set_aside(problems: Mapping[str, str]) -> dict[str, str]:
    """Returns those of the videos {path: reason} that were not shown."""
    return {path: reason for path, reason in problems.items() if reason != SHOWN_DAMAGED}
