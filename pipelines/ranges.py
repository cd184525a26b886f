"""Named ranges of time, for a profiler of this process. Without one they cost next to nothing."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

T = TypeVar("T")
Ranges = Callable[[str], AbstractContextManager[Any]]
_ranges: Ranges | None = None
_NONE = contextlib.nullcontext()


def range_of(name: str) -> AbstractContextManager[Any]:
    """A context manager: what happens in its block is of this name."""
    return _NONE if _ranges is None else _ranges(name)


def each_in_range(items: Iterable[T], name: str) -> Iterable[T]:
    """The items; the time that each takes to come is of this name."""
    return items if _ranges is None else _each(iter(items), name)


def _each(items: Iterator[T], name: str) -> Iterator[T]:
    while True:
        with range_of(name):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


@contextlib.contextmanager
def ranges_made_by(make: Ranges) -> Iterator[None]:
    """Has `make(name)` make the ranges of this process during the block, such as torch.profiler.record_function."""
    global _ranges
    before, _ranges = _ranges, make
    try:
        yield
    finally:
        _ranges = before
