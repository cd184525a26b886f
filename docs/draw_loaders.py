"""Draws docs/loaders.svg, the loader beside others, from benchmarks/results/loaders_cpu.json.

    python docs/draw_loaders.py

A bar is a median over rounds, its thin line the quartiles. Rates are those of one core's processor time, which other
work on a machine changes least, where the result has them. The standard library alone is used.
"""

import json
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "benchmarks" / "results" / "loaders_cpu.json"
TARGET = ROOT / "docs" / "loaders.svg"

PANELS = {"decode": "Frames decoded", "whole": "Whole samples: weak and strong views"}
LOADERS = {
    "cmpl": ("this project", "#c2410c"),
    "torchcodec": ("torchcodec", "#475569"),
    "SPDL": ("SPDL", "#546882"),
    "OpenCV": ("OpenCV", "#6b7f99"),
    "decord": ("decord", "#94a3b8"),
    "PyAV plain": ("PyAV", "#c3ccd8"),
}
WIDTH, HEIGHT = 860, 400
PANEL_WIDTH, PANEL_GAP, LEFT, TOP, BOTTOM = 385, 30, 40, 92, 340
BAR_GAP, GROUP_GAP = 3, 20
STEP = 10
FONT = "font-family='Helvetica, Arial, sans-serif'"


def text(x: float, y: float, words: str, *, size: int = 12, anchor: str = "middle", color: str = "#1f2937") -> str:
    """Draws one line of text; `y` is its baseline in pixels."""
    return f"<text x='{x:g}' y='{y:g}' font-size='{size}' text-anchor='{anchor}' fill='{color}'>{escape(words)}</text>"


def rates_of(row: dict[str, Any]) -> tuple[float, float, float]:
    """Returns videos a second: median and quartiles."""
    if "cpu_seconds_quartiles" not in row:
        return row["videos_per_second"], row["lower_quartile"], row["upper_quartile"]
    slow, fast = row["cpu_seconds_quartiles"][::-1]
    return 1 / row["cpu_seconds"], 1 / slow, 1 / fast


def panel(rows: dict[tuple[str, str, str], dict[str, Any]], arm: str, left: float, top_rate: int) -> Iterator[str]:
    """Draws the bars of one arm. `top_rate` is the rate, in videos a second, at the upper edge."""

    def height(rate: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * rate / top_rate

    yield text(left, TOP - 16, PANELS[arm], size=14, anchor="start")
    for mark in range(0, top_rate + 1, STEP):
        y = height(mark)
        yield f"<path d='M{left:g} {y:g}h{PANEL_WIDTH}' stroke='#e5e7eb'/>"
        yield text(left - 6, y + 4, str(mark), size=11, anchor="end", color="#6b7280")
    kinds, loaders = (list(dict.fromkeys(key[at] for key in rows)) for at in (0, 2))
    shown = {loader: look for loader, look in LOADERS.items() if loader in loaders}
    group_width = (PANEL_WIDTH - 10) / len(kinds)
    bar = (group_width - GROUP_GAP) / len(shown) - BAR_GAP
    for group, files in enumerate(kinds):
        start = left + 10 + group * group_width
        for place, (loader, (name, color)) in enumerate(shown.items()):
            row = rows[files, arm, loader]
            rate, low, high = rates_of(row)
            x, y = start + place * (bar + BAR_GAP), height(rate)
            low, high = height(low), height(high)
            label = f"{name}, {files} files: {rate:.1f} videos a second"
            yield f"<rect x='{x:.1f}' y='{y:.1f}' width='{bar:.1f}' height='{BOTTOM - y:.1f}' fill='{color}'>"
            yield f"<title>{escape(label)}</title></rect>"
            yield f"<path d='M{x + bar / 2:.1f} {low:.1f}V{high:.1f}' stroke='#111827'/>"
            yield text(x + bar / 2, min(y, high) - 4, f"{rate:.0f}", size=10)
        middle = start + (group_width - GROUP_GAP) / 2
        yield text(middle, BOTTOM + 17, files, size=11)


def draw(result: dict[str, Any]) -> str:
    """Draws the chart as SVG. Raises KeyError if the result lacks a loader that the chart shows."""
    rows = {(row["files"], row["arm"], row["peer"]): row for row in result["rows"]}
    shown = [row for (_, arm, loader), row in rows.items() if arm in PANELS and loader in LOADERS]
    top_rate = STEP * (int(max(rates_of(row)[2] for row in shown)) // STEP + 1)
    is_of_one_core = all("cpu_seconds_quartiles" in row for row in shown)
    cores = "one core" if is_of_one_core else "two CPU cores"
    machine = result["environment"]
    width, height = result["size"]
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' {FONT}>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='white'/>",
        text(LEFT, 26, f"Videos a second on {cores} (more is better)", size=16, anchor="start"),
    ]
    x = LEFT
    for name, color in (look for loader, look in LOADERS.items() if any(loader == key[2] for key in rows)):
        parts.append(f"<rect x='{x}' y='40' width='12' height='12' fill='{color}'/>")
        parts.append(text(x + 18, 51, name, anchor="start"))
        x += 120
    for place, arm in enumerate(PANELS):
        parts += panel(rows, arm, LEFT + place * (PANEL_WIDTH + PANEL_GAP), top_rate)
    parts.append(
        text(
            LEFT,
            HEIGHT - 14,
            f"{machine['cpu_model']}, {result['num_cores']} cores, no GPU; {width}x{height} files of ten seconds; "
            f"8x8 and 16x4 frames of each video; median of {result['num_rounds']} rounds, line: quartiles",
            size=11,
            anchor="start",
            color="#6b7280",
        )
    )
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    TARGET.write_text(draw(json.loads(SOURCE.read_text())))
