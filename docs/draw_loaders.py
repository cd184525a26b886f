"""Draws docs/loaders.svg, the loader beside others, from benchmarks/results/loaders_cpu.json.

    python docs/draw_loaders.py

A bar is a median over rounds, its thin line the quartiles. The standard library alone is used.
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
FILES = ("original-like", "prepared", "prepared, stride-aligned")
LOADERS = {
    "cmpl": ("this project", "#c2410c"),
    "torchcodec": ("torchcodec", "#475569"),
    "OpenCV": ("OpenCV", "#6b7f99"),
    "decord": ("decord", "#94a3b8"),
    "PyAV plain": ("PyAV", "#c3ccd8"),
}
WIDTH, HEIGHT = 860, 400
PANEL_WIDTH, PANEL_GAP, LEFT, TOP, BOTTOM = 385, 30, 40, 92, 340
BAR, BAR_GAP, GROUP = 19, 3, 125
STEP = 20
FONT = "font-family='Helvetica, Arial, sans-serif'"


def text(x: float, y: float, words: str, *, size: int = 12, anchor: str = "middle", color: str = "#1f2937") -> str:
    """Draws one line of text; `y` is its baseline in pixels."""
    return f"<text x='{x:g}' y='{y:g}' font-size='{size}' text-anchor='{anchor}' fill='{color}'>{escape(words)}</text>"


def panel(rows: dict[tuple[str, str, str], dict[str, Any]], arm: str, left: float, top_rate: int) -> Iterator[str]:
    """Draws the bars of one arm. `top_rate` is the rate, in videos a second, at the upper edge."""

    def height(rate: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * rate / top_rate

    yield text(left, TOP - 16, PANELS[arm], size=14, anchor="start")
    for rate in range(0, top_rate + 1, STEP):
        y = height(rate)
        yield f"<path d='M{left:g} {y:g}h{PANEL_WIDTH}' stroke='#e5e7eb'/>"
        yield text(left - 6, y + 4, str(rate), size=11, anchor="end", color="#6b7280")
    for group, files in enumerate(FILES):
        start = left + 10 + group * GROUP
        for place, (loader, (name, color)) in enumerate(LOADERS.items()):
            row = rows[files, arm, loader]
            x, y = start + place * (BAR + BAR_GAP), height(row["videos_per_second"])
            low, high = height(row["lower_quartile"]), height(row["upper_quartile"])
            label = f"{name}, {files} files: {row['videos_per_second']:.1f} videos a second"
            yield f"<rect x='{x:g}' y='{y:.1f}' width='{BAR}' height='{BOTTOM - y:.1f}' fill='{color}'>"
            yield f"<title>{escape(label)}</title></rect>"
            yield f"<path d='M{x + BAR / 2:g} {low:.1f}V{high:.1f}' stroke='#111827'/>"
            yield text(x + BAR / 2, min(y, high) - 4, f"{row['videos_per_second']:.0f}", size=10)
        middle = start + (len(LOADERS) * (BAR + BAR_GAP) - BAR_GAP) / 2
        yield text(middle, BOTTOM + 17, files, size=11)


def draw(result: dict[str, Any]) -> str:
    """Draws the chart as SVG. Raises KeyError if the result lacks a loader that the chart shows."""
    rows = {(row["files"], row["arm"], row["peer"]): row for row in result["rows"]}
    shown = [rows[files, arm, loader] for arm in PANELS for files in FILES for loader in LOADERS]
    top_rate = STEP * (int(max(row["upper_quartile"] for row in shown)) // STEP + 1)
    machine = result["environment"]
    width, height = result["size"]
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' {FONT}>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='white'/>",
        text(LEFT, 26, "Videos a second on two CPU cores (more is better)", size=16, anchor="start"),
    ]
    x = LEFT
    for name, color in LOADERS.values():
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
