"""Checks of single settings, with one grammar for what is said of a bad one."""

from collections.abc import Iterable

from pipelines.errors import InputError, nearest


def one_of(key: str, value: str, accepted: Iterable[str]) -> None:
    """Raises InputError, naming the nearest, where `value` is none of `accepted`."""
    accepted = tuple(accepted)
    if value not in accepted:
        raise InputError(f"{key}: received {value!r}{nearest(value, accepted)}")


def within(key: str, value: float | None, *, low: float, high: float = float("inf")) -> None:
    """Raises InputError where `value` is less than `low` or more than `high`; None passes."""
    if value is not None and not low <= value <= high:
        accepted = f"{low} or more" if high == float("inf") else f"{low} to {high}"
        raise InputError(f"{key}: received {value}; accepted: {accepted}")
