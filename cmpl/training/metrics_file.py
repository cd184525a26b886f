"""metrics.jsonl: one JSON object a line, in the order of steps. Reading it needs no torch."""

import json
from pathlib import Path
from typing import Any

NAME = "metrics.jsonl"


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl, up to the first that is not whole: one cut off by a kill. None without it."""
    path = folder / NAME
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            break
        if not isinstance(line, dict) or not isinstance(line.get("step"), int):
            break
        lines.append(line)
    return lines
