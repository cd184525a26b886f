"""Figures of `cmpl bench-loader` for a machine made up."""

from dataclasses import replace

from benchmarks.bench_loader.rows import Measured, Row, row_of
from benchmarks.decode_work import DecodeWork

WORK = DecodeWork(num_wanted=100, from_start=900, from_keyframes=500, needed=300)


def row(name: str, videos_per_second: float, **others) -> Row:
    return row_of(
        name, [10 / videos_per_second] * 3, num_videos=10, clips_per_video=4, cpu_seconds_per_clip=0.01, **others
    )


def measured(*, wait_share: float = 0.5, missing: dict | None = None, **others) -> Measured:
    """A machine of eight cores without a GPU; a stage's rate is given as `decode=50`."""
    rates = {
        "read": 5000, "cut": 2000, "decode": 400, "augment": 400, "hand_off": 50000, "loader": 100, "replayed": 200,
        "training": 90,
    }  # fmt: skip
    rates |= {name: others.pop(name) for name in list(others) if name in rates or name == "nvdec"}
    names = {"hand_off": "hand-off", "replayed": "trainer, replayed", "nvdec": "decode, NVDEC"}
    rows = {names.get(name, name): row(names.get(name, name), value) for name, value in rates.items()}
    rows["read"] = replace(rows["read"], bytes_per_clip=1e6)
    rows["training"] = replace(rows["training"], wait_share=wait_share, host_memory_bytes=3 * 2**30)
    settings = {
        "media": "views", "device": "cpu", "num_cores": 8, "num_workers": 1, "loader_threads": 1, "torch_threads": 1,
        "prefetch_batches": 2,
    }  # fmt: skip
    return Measured(rows=rows, work=others.pop("work", WORK), missing=missing or {}, **settings | others)
