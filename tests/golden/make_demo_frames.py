"""Write demo_frames.json: SHA-256 of rendered frames of the demo data set, before any encoder.

    python tests/golden/make_demo_frames.py

Run it only after a change of the pictures that is meant, and count up DEMO_VERSION with it. Rendering is
exact on every platform (see demo_scenes), so the test that reads the file allows no tolerance.
"""

import hashlib
import json
from pathlib import Path

from pipelines.datasets.demo import DEMO_VERSION, DemoSize, DemoVideo, render_demo_video

GOLDEN = Path(__file__).with_name("demo_frames.json")
FRAMES = (0, 9, 19)
SEEDS = (0, 1)


def golden_frames() -> dict:
    """One video of every class, with both splits, both lengths and two seeds among them."""
    digests = {}
    for class_index in range(DemoSize().num_classes):
        video = DemoVideo(class_index=class_index, split=("train", "val")[class_index % 2], number=class_index + 1)
        seed = SEEDS[class_index // 5]
        frames = render_demo_video(video, size=DemoSize(), seed=seed)
        for frame in FRAMES:
            digest = hashlib.sha256(frames[frame].tobytes()).hexdigest()
            digests[f"seed {seed}, {video.path}, frame {frame}"] = digest
    return {"demo_version": DEMO_VERSION, "sha256": digests}


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden_frames(), indent=1) + "\n", encoding="utf-8")
