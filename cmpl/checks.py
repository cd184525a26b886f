"""Checks of single settings, with one grammar for what is said of a bad one."""

from collections.abc import Iterable

from pipelines.errors import InputError, nearest


def one_of(key: str, value: str, accepted: Iterable[str]) -> None:
    """Raises InputError, naming the nearest, where `value` is none of `accepted`."""
    accepted = tuple(accepted)
    if value not in accepted:
        raise InputError(f"{key}: received {value!r}{nearest(value, accepted)}")
