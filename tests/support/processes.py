"""Processes that others started, as Linux lists them."""

from pathlib import Path


def descendants(pid: int) -> set[int]:
    """Processes that `pid` started, and theirs."""
    found: set[int] = set()
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found |= {child} | descendants(child)
    return found


def is_running(pid: int) -> bool:
    """Whether a process is there and more than a zombie that nobody has buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
