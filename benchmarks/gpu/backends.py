"""Section of the GPU suite on who decodes: NVDEC, the workers, or both, each a share of the videos."""

import dataclasses
import time

from benchmarks.gpu.setup import Found, Suite

ARMS: tuple[tuple[float, int | None], ...] = ((0.0, None), (1.0, None), (0.75, None), (0.5, None), (0.0, 32))
"""(share of the videos that workers decode, DALI's threads; None: the default)."""
MOST_SECONDS = 4.0


def backends(suite: Suite) -> Found:
    """Times the whole loader in the trainer's batches, to views on the GPU, by who decodes and by DALI's threads.

    Nothing trains beside it: the GPU and the cores are the loader's alone.
    """
    import torch

    from cmpl.training.autotune import synchronize
    from pipelines.loading.loader import SemiLoader
    from pipelines.loading.sample import Media
    from pipelines.loading.setup import engine_on
    from pipelines.plan.planner import Stream

    device = torch.device("cpu" if suite.cpu else "cuda")
    num_labeled, num_unlabeled = (1, 2) if suite.cpu else (8, 40)
    for kind, paths in suite.videos().items():
        planner = suite.workload(paths, num_samples=num_unlabeled).planner
        for share, num_threads in ARMS[: 3 if suite.cpu else None]:
            engine = suite.engine() if suite.cpu else engine_on("cuda", workers=None)
            engine = dataclasses.replace(engine, num_threads=num_threads or engine.num_threads)
            changes = {"media": Media.FRAMES} if share == 1 else {"cpu_share": share}
            loader = SemiLoader(
                labeled=dataclasses.replace(planner, stream=Stream.LABELED),
                unlabeled=planner,
                num_labeled=num_labeled,
                num_unlabeled=num_unlabeled,
                engine=dataclasses.replace(engine, **changes),
            )
            begin = time.perf_counter()
            with loader:
                for _ in range(engine.prefetch_batches + 2):
                    next(loader)
                synchronize(device)
                start_seconds, begin, num_batches = time.perf_counter() - begin, time.perf_counter(), 0
                while num_batches < 2 or (time.perf_counter() - begin < MOST_SECONDS and not suite.cpu):
                    next(loader)
                    synchronize(device)
                    num_batches += 1
                seconds = time.perf_counter() - begin
            yield (
                f"{kind}: {share:.0%} by workers, {engine.num_threads} threads",
                {
                    "videos_per_second": num_batches * (num_labeled + num_unlabeled) / seconds,
                    "num_batches": num_batches,
                    "start_seconds": start_seconds,
                    "workers": engine.num_workers,
                    "problems": list(loader.problems.values()),
                },
            )
