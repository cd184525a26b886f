"""Writes plans.json: a few plans in full. Run it (`python -m tests.golden.make_plans`) when a change of plans is meant:
every run's sequence of batches changes with it."""

import json
from pathlib import Path

import numpy as np

from pipelines.plan.geometry import Geometry
from pipelines.plan.planner import Planner, Stream
from tests.support.pools import pool_like

GOLDEN_PLANS = Path(__file__).with_name("plans.json")


def golden_planner() -> Planner:
    """The unlabeled stream of seed 3 over eleven videos of different lengths and sizes."""
    k = np.arange(11)
    pool = pool_like(
        [f"/{i}.mp4" for i in k],
        labels=k,
        num_frames=20 + 40 * k,
        fps=24.0 + k,
        width=320 + 20 * k,
        height=240 + 10 * k,
    )
    return Planner(pool=pool, seed=3, stream=Stream.UNLABELED, geometry=Geometry(max_offset_seconds=10.0))


def described(planner: Planner) -> list[dict]:
    """Plans at a few positions, two epochs, one replacement, as JSON values."""
    plans = [planner.plan(position) for position in (0, 1, 10, 11, 1000)] + [planner.plan(0, attempt=1)]
    return [
        {
            "position": plan.position,
            "video": plan.video,
            "weak": rounded(plan.weak),
            "views": [
                {
                    "frames": view.frames.tolist(),
                    "box": rounded(view.box),
                    "affine": rounded(view.strong.inverse_affine),
                    "photometric": [[op, round(value, 6)] for op, value in view.strong.photometric],
                    "cutout": list(view.strong.cutout),
                }
                for view in plan.views
            ],
        }
        for plan in plans
    ]


def rounded(values: tuple[float, ...]) -> list[float]:
    """To a millionth of a pixel: sines differ in the last bit between platforms."""
    return [round(value, 6) for value in values]


if __name__ == "__main__":
    GOLDEN_PLANS.write_text(json.dumps(described(golden_planner()), indent=1) + "\n")
