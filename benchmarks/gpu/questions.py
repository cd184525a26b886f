"""First section of the GPU suite: what this project believes of DALI and NVDEC, asked of the GPU itself."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.gpu.setup import Found, Suite, seconds_per_video

NUM_TRIES = 8
BEHIND_CYCLES = 1_000_000_000
"""Half a second or so: how far torch's stream lags behind the host while a batch is let go of."""


def questions(suite: Suite) -> Found:
    """Asks each question alone, so that one without an answer costs the others nothing."""
    for name, ask in QUESTIONS.items():
        try:
            yield name, ask(suite)
        except Exception as error:  # an answer, too
            yield name, {"raised": f"{type(error).__name__}: {str(error).strip()[:300]}"}


def repeated_frames(suite: Suite) -> dict[str, float]:
    """Times 16 frames of a file, and the same with 8 of them asked for twice. Believed: as fast."""
    _kind, paths = next(iter(suite.videos().items()))
    distinct = np.arange(0, 16) * (3 if suite.cpu else 4)
    items = [(path.read_bytes(), distinct) for path in paths]
    twice = [(content, np.concatenate([frames, frames[::2]])) for content, frames in items]
    return {"distinct_seconds": seconds_per_video(items, suite), "repeated_seconds": seconds_per_video(twice, suite)}


def crops(suite: Suite) -> dict[str, float]:
    """Times cuts of 340x256 files with the crop of their SPS and without. Believed: 50 against 6 ms a video."""
    from benchmarks.loaders.videos import once, write_video
    from pipelines.video.cut import cut

    paths = [suite.folder / f"cropped-{k}.mp4" for k in range(1 if suite.cpu else 8)]
    for k, path in enumerate(paths):
        options = {"x264-params": "keyint=16:bframes=0:scenecut=0"}
        once(path, partial(write_video, num_frames=70, size=(340, 256), seed=k, options=options))
    seconds = {}
    for name, whole in (("cropped_seconds", False), ("whole_pictures_seconds", True)):
        cuts = [cut(path, np.arange(0, 48, 4), exact_seek=True, for_nvdec=whole) for path in paths]
        seconds[name] = seconds_per_video([(made.content, made.frames) for made in cuts], suite)
    return seconds


def lifetimes(suite: Suite) -> dict[str, object]:
    """Counts batches that DALI overwrites before torch has read them, let go of at once and held by `InFlight`.

    Believed: some, and none. torch's stream lags half a second behind; the check is queued there like a step's reads.
    """
    return {
        "let_go_at_once": f"{overwritten(is_held=False)} of {NUM_TRIES} overwritten",
        "held": f"{overwritten(is_held=True)} of {NUM_TRIES} overwritten",
    }


def overwritten(*, is_held: bool) -> int:
    """Runs a pipeline whose k-th batch is full of k, and checks each batch late."""
    import torch
    from nvidia.dali import fn, pipeline_def

    from pipelines.loading.batches import event_on
    from pipelines.loading.in_flight import InFlight

    @pipeline_def(batch_size=8, num_threads=4, device_id=0, prefetch_queue_depth=2, exec_dynamic=True)
    def graph() -> Any:
        made = fn.external_source(source=lambda k: np.full((16, 224, 224, 3), k.iteration % 251, np.uint8), batch=False)
        return fn.flip(made.gpu(), horizontal=1)

    pipeline = graph()
    pipeline.build()
    held: InFlight[torch.Tensor] = InFlight(partial(event_on, 0))
    num_run = num_wrong = 0

    def take() -> tuple[torch.Tensor, int]:
        nonlocal num_run
        if is_held:
            held.release()
        (views,) = pipeline.run(torch.cuda.current_stream())
        num_run += 1
        batch = torch.from_dlpack(views.as_tensor())
        if is_held:
            held.hold(batch)
        return batch, (num_run - 1) % 251

    for _ in range(4):
        take()
    for _ in range(NUM_TRIES):
        batch, value = take()
        torch.cuda._sleep(BEHIND_CYCLES)
        wrong = (batch != value).any()  # queued behind the sleep
        del batch
        for _ in range(3):
            take()
        torch.cuda.synchronize()
        num_wrong += bool(wrong)
    return num_wrong


QUESTIONS: dict[str, Callable[[Suite], dict[str, Any]]] = {
    "are repeated frames decoded again?": repeated_frames,
    "are NVDEC's decoders found again?": crops,
    "does DALI overwrite what torch still reads?": lifetimes,
}
