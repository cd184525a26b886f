"""Optical flow as a view: how movement becomes pixels, and the flow of pairs of frames on a CPU by OpenCV's DIS.

DIS: dense inverse search (Kroeger et al. 2016). OpenCV is in the extra `[flow]` and imported where flow is asked for.
Legend: T pairs, S crop side.
"""

import importlib.util

import numpy as np

from pipelines.errors import InputError

FLOW_LIMIT_PIXELS = 20.0
"""Movement between neighboring frames at which the colors of optical flow end; usual where flow is kept as images."""
FLOW_SCALE = 127.0 / FLOW_LIMIT_PIXELS
FLOW_CENTER = 127.5
"""No movement; rounded to 128, by DALI and here."""
THIRD_CHANNEL = 127
LEAST_SIDE = 12
"""Smallest side of pictures, in pixels, that OpenCV's DIS takes."""


def flow_view(pairs: np.ndarray) -> np.ndarray:
    """Pairs of frames (2T, S, S, 3) uint8 -> (T, S, S, 3) uint8: movement to the right and downwards, FLOW_LIMIT_PIXELS
    being 127 from the middle, and a constant third channel. `loading.operators.flow_view` is the same on a GPU.
    """
    vectors = optical_flow(pairs)
    seen = np.full((*vectors.shape[:3], 3), THIRD_CHANNEL, dtype=np.uint8)
    seen[..., :2] = np.clip(np.floor(vectors * np.float32(FLOW_SCALE) + np.float32(FLOW_CENTER + 0.5)), 0, 255)
    return seen


def optical_flow(pairs: np.ndarray) -> np.ndarray:
    """Pixels (T, S, S, 2) float32, right and down, that each pixel of a pair's first frame moved by: (2T, S, S, 3)."""
    import cv2

    cv2.setNumThreads(1)  # workers are the parallelism
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # it keeps what it chose for its first size
    gray = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in pairs]
    return np.stack([search.calc(*gray[k : k + 2], None) for k in range(0, len(gray), 2)])


def require_opencv(crop_size: int) -> None:
    """Raises InputError where flow cannot be computed on this CPU: without OpenCV, or of so small a crop."""
    if importlib.util.find_spec("cv2") is None:
        raise InputError(
            "flow: received true without a GPU, where it wants OpenCV, which is not installed; accepted: "
            "pip install 'cmpl[flow]' first, or false (method.flow)"
        )
    if crop_size < LEAST_SIDE:
        raise InputError(f"flow: received crops of {crop_size} pixels without a GPU; accepted: {LEAST_SIDE} or more")
