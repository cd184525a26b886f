"""Draws docs/methods.svg, the methods on the demo, from benchmarks/results/method_check_cpu.json.

    python docs/draw_methods.py

A bar is a mean over labeled subsets, a dot one subset, a thin line joins the same subset in all arms. On the right the
paired differences: a dot a subset, a bar from one standard error below the mean to one above. The standard library
alone is used.
"""

import json
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "benchmarks" / "results" / "method_check_cpu.json"
TARGET = ROOT / "docs" / "methods.svg"

ARMS = {
    "supervised": ("labels alone", "#94a3b8"),
    "fixmatch": ("FixMatch", "#64748b"),
    "elsewhere": ("control: FixMatch, label from elsewhere", "#0f766e"),
    "cmpl": ("CMPL", "#c2410c"),
}
DIFFERENCES = (
    ("fixmatch", "supervised", "FixMatch - labels alone"),
    ("cmpl", "fixmatch", "CMPL - FixMatch"),
    ("elsewhere", "fixmatch", "control - FixMatch"),
    ("cmpl", "elsewhere", "CMPL - control"),
)
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 860, 330, 48, 76, 270
ARM_WIDTH, BAR, RIGHT, SCALE_WIDTH, ROW = 92, 46, 640, 200, 44
FONT = "font-family='Helvetica, Arial, sans-serif'"


def text(x: float, y: float, words: str, *, size: int = 12, anchor: str = "middle", color: str = "#1f2937") -> str:
    """Draws one line of text; `y` is its baseline in pixels."""
    return f"<text x='{x:g}' y='{y:g}' font-size='{size}' text-anchor='{anchor}' fill='{color}'>{escape(words)}</text>"


def values_of(result: dict[str, Any], arm: str) -> dict[int, float]:
    """Top-1 by subset of an arm at the steps of the recipe. Raises ValueError where there are none."""
    name = f"{arm}@{result['config']['optim']['steps']}"
    if not (values := {row["subset"]: row["top1"] for row in result["rows"] if row["arm"] == name}):
        raise ValueError(f"{SOURCE.name}: received no run of {name}; accepted: a record of all arms")
    return values


def bars(result: dict[str, Any]) -> Iterator[str]:
    """Draws the arms: axis, means, subsets."""

    def height(top1: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * top1

    for tenths in range(0, 11, 2):
        y = height(tenths / 10)
        yield f"<path d='M{LEFT} {y:g}h{ARM_WIDTH * len(ARMS)}' stroke='#e5e7eb'/>"
        yield text(LEFT - 6, y + 4, f"{tenths * 10} %", size=11, anchor="end", color="#6b7280")
    places: dict[int, list[tuple[float, float]]] = {}
    for place, (arm, (name, color)) in enumerate(ARMS.items()):
        values, x = values_of(result, arm), LEFT + ARM_WIDTH * (place + 0.5)
        for row, words in enumerate(wrapped(name)):
            yield text(x, BOTTOM + 17 + 13 * row, words, size=11)
        if not values:
            continue
        mean = sum(values.values()) / len(values)
        yield f"<rect x='{x - BAR / 2:g}' y='{height(mean):.1f}' width='{BAR}' height='{BOTTOM - height(mean):.1f}'"
        yield f" fill='{color}'><title>{escape(f'{name}: {mean:.3f}')}</title></rect>"
        yield text(x, BOTTOM - 8, f"{mean:.0%}", size=13, color="white")
        for subset, top1 in values.items():
            places.setdefault(subset, []).append((x, height(top1)))
    for points in places.values():
        line = " ".join(f"{x:g},{y:.1f}" for x, y in points)
        yield f"<polyline points='{line}' fill='none' stroke='#111827' stroke-width='0.6' opacity='0.5'/>"
        yield "".join(f"<circle cx='{x:g}' cy='{y:.1f}' r='2.5' fill='#111827'/>" for x, y in points)


def wrapped(name: str, *, longest: int = 15) -> list[str]:
    """The name in lines of at most so many letters, where its words allow it."""
    lines = [""]
    for word in name.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > longest:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def differences(result: dict[str, Any]) -> Iterator[str]:
    """Draws the paired differences, one a row; nothing where no two arms have a subset in common."""
    pairs = []
    for a, b, name in DIFFERENCES:
        one, other = values_of(result, a), values_of(result, b)
        if both := sorted(one.keys() & other.keys()):
            pairs.append((name, {subset: one[subset] - other[subset] for subset in both}))
    if not pairs:
        return
    largest = max(abs(value) for _, values in pairs for value in values.values())
    reach = max(0.1, -(-largest // 0.1) * 0.1)

    def across(value: float) -> float:
        return RIGHT + SCALE_WIDTH / 2 * (1 + value / reach)

    yield f"<path d='M{across(0):g} {TOP - 8}v{ROW * len(pairs) + 8}' stroke='#6b7280'/>"
    for value in (-reach, 0.0, reach):
        yield text(across(value), TOP + ROW * len(pairs) + 14, f"{100 * value:+.0f}", size=11, color="#6b7280")
    yield text(across(0), TOP + ROW * len(pairs) + 30, "points of top-1, paired by subset", size=11, color="#6b7280")
    for row, (name, values) in enumerate(pairs):
        y, mean = TOP + ROW * (row + 0.5), sum(values.values()) / len(values)
        yield text(RIGHT - 12, y + 4, name, anchor="end")
        if len(values) > 1:
            deviation = (sum((value - mean) ** 2 for value in values.values()) / (len(values) - 1)) ** 0.5
            error = deviation / len(values) ** 0.5
            low, high = across(max(-reach, mean - error)), across(min(reach, mean + error))
            yield f"<rect x='{low:.1f}' y='{y - 7:g}' width='{high - low:.1f}' height='14' fill='#fdba74'/>"
        yield "".join(f"<circle cx='{across(v):.1f}' cy='{y:g}' r='2.5' fill='#111827'/>" for v in values.values())
        yield f"<path d='M{across(mean):.1f} {y - 9:g}v18' stroke='#c2410c' stroke-width='2'/>"


def draw(result: dict[str, Any]) -> str:
    """Draws the chart as SVG. An arm without a run has no bar."""
    config = result["config"]
    num_subsets = len({row["subset"] for row in result["rows"]})
    sizes = f"{config['data']['labeled']} labeled and 60 unlabeled videos a class, {config['optim']['steps']} steps"
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' {FONT}>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='white'/>",
        text(LEFT, 26, "The methods on the demo: top-1 on 250 videos", size=16, anchor="start"),
        text(LEFT, 46, f"{sizes}, {num_subsets} labeled subsets", size=12, anchor="start", color="#6b7280"),
        *bars(result),
        *differences(result),
    ]
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    TARGET.write_text(draw(json.loads(SOURCE.read_text())))
