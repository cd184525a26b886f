"""Bounds of a configuration's numbers, written beside the fields: `lr: Annotated[float, Within(0, 10)]`."""

import math
import types
import typing
from dataclasses import dataclass
from typing import Any

from pipelines.errors import InputError


@dataclass(frozen=True)
class Within:
    """Numbers from `low` to `high`; either end itself may be left out. A tuple's numbers each, and None always, fit."""

    low: float
    high: float = math.inf
    low_excluded: bool = False
    high_excluded: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number lies within. No number (nan) and infinities never do."""
        above = value > self.low if self.low_excluded else value >= self.low
        below = value < self.high if self.high_excluded else value <= self.high
        return math.isfinite(value) and above and below

    def __str__(self) -> str:
        low, high = f"{self.low:.12g}", f"{self.high:.12g}"
        if self.high == math.inf:
            return f"more than {low}" if self.low_excluded else f"{low} or more"
        if self.low_excluded:
            return f"more than {low}, {'less than' if self.high_excluded else 'at most'} {high}"
        return f"{low} to {'less than ' if self.high_excluded else ''}{high}"


def check_bounds(section: Any, *, prefix: str) -> None:
    """Raises InputError for the first field of a dataclass that lies outside of its bounds."""
    for name, hint in typing.get_type_hints(type(section), include_extras=True).items():
        value = getattr(section, name)
        for bound in bounds_of(hint):
            numbers = value if isinstance(value, tuple) else (value,)
            for number in numbers:
                if number is not None and not bound.holds(number):
                    raise InputError(f"{prefix}{name}: received {number}; accepted: {bound}")


def bounds_of(hint: Any) -> list[Within]:
    """The bounds that a field's type carries, at any depth: `Annotated[int, Within(1)] | None` has one."""
    if typing.get_origin(hint) is typing.Annotated:
        return [extra for extra in hint.__metadata__ if isinstance(extra, Within)]
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) in (tuple, typing.Union):
        return [bound for part in typing.get_args(hint) for bound in bounds_of(part)][:1]
    return []


def is_of_type(value: Any, hint: Any) -> bool:
    """Whether a value read from JSON is of a field's type; a whole number is a float, too, and a truth is no number."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return any(is_of_type(value, option) for option in typing.get_args(hint))
    if hint is type(None):
        return value is None
    if typing.get_origin(hint) is tuple:
        options = typing.get_args(hint)
        if not isinstance(value, tuple) or (options[-1] is not ... and len(value) != len(options)):
            return False
        return all(is_of_type(item, options[0]) for item in value)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
