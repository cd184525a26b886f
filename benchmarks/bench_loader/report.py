"""Says what `cmpl bench-loader` found: which part limits the machine, and what to change.

Pure functions of `Measured`. Rates are videos a second.
"""

import math
from collections.abc import Callable, Iterator
from typing import TypeVar

from benchmarks.bench_loader.rows import STAGES, WHOLE, Measured, Row
from cmpl.training.autotune import ENOUGH_WAIT_SHARE

CHART_REACH = 3
"""Bars end at this multiple of what training needs: what is faster limits nothing."""
CROWDED = 1.5
"""More threads and processes a core than this slow each other down."""
NVDEC_ENGINES = 8
"""This many threads keep the decoders of the largest GPUs busy (an H100 has seven)."""
NOTABLE_LOSS = 0.85
"""A rate below this share of what was expected is worth a sentence."""
WASTEFUL = 2.0
"""More frames decoded than this for each one used are worth mending."""
MAX_WORKERS_NAMED = 16

Known = TypeVar("Known", int, float)


def limit(m: Measured) -> str:
    """Names what limits training: trainer, workers, read, cut, decode, threads or augment.

    workers: the workers are the narrowest part, and cores are free for more of them. threads: NVDEC is the narrowest
    part, and more threads can keep more of its engines busy. Else: the slowest stage of the narrowest part.
    """
    if _known(m.rows["training"].wait_share) < ENOUGH_WAIT_SHARE:
        return "trainer"
    reading, graph = reading_seconds(m), graph_seconds(m)
    if sum(reading.values()) / max(1, m.num_workers) >= max(graph.values(), default=0.0):
        return "workers" if m.num_workers < spare_cores(m) else max(reading, key=reading.__getitem__)
    narrowest = max(graph, key=graph.__getitem__)
    return "threads" if narrowest == "decode" and m.loader_threads < NVDEC_ENGINES else narrowest


def _known(figure: Known | None) -> Known:
    """Returns a figure that its row always has. Raises ValueError where it was not measured."""
    if figure is None:
        raise ValueError("figure: received None; accepted: a number, which this row always has")
    return figure


def reading_seconds(m: Measured) -> dict[str, float]:
    """Gives the seconds a video of each stage that a worker does, one after another."""
    names = {"views": ("read", "decode", "augment"), "frames": ("read", "decode"), "cuts": ("read", "cut")}[m.media]
    return {name: m.rows[name].seconds_per_video for name in names}


def graph_seconds(m: Measured) -> dict[str, float]:
    """Gives the seconds a video of each stage that a GPU does; NVDEC and its other units work side by side."""
    names: dict[str, dict[str, str]] = {
        "views": {},
        "frames": {"augment": "augment"},
        "cuts": {"augment": "augment", "decode": "decode, NVDEC"},
    }
    return {stage: m.rows[name].seconds_per_video for stage, name in names[m.media].items()}


def spare_cores(m: Measured) -> int:
    """Counts the cores that torch's own threads leave free."""
    return max(1, m.num_cores - m.torch_threads)


def advice(m: Measured) -> list[str]:
    """Says in sentences which resource limits this machine, and what to change."""
    waiting = _known(m.rows["training"].wait_share)
    training, ceiling, loader = (m.rows[name].videos_per_second for name in ("training", "trainer, replayed", "loader"))
    sentences = [
        f"Training runs at {rate(training)} videos/s and waits for data {_percent(waiting)} of the time; "
        f"with data always there it would reach {rate(ceiling)}, and the loader alone gives {rate(loader)}.",
        *_ADVICE[limit(m)](m),
    ]
    return sentences + list(_crowded(m)) + list(_slower_together(m))


def _trainer(m: Measured) -> Iterator[str]:
    yield "The training step limits this machine, not the loader: faster loading would gain nothing."
    if m.device == "cpu":
        yield "A GPU would help; so would smaller networks, but those are another experiment."


def _workers(m: Measured) -> Iterator[str]:
    stages = reading_seconds(m)
    wanted = math.ceil(sum(stages.values()) * m.rows["trainer, replayed"].videos_per_second)
    number = min(spare_cores(m), MAX_WORKERS_NAMED, max(m.num_workers + 1, wanted))
    yield (
        f"Too few workers limit this machine: {' and '.join(stages)} take {_ms(sum(stages.values()))} a "
        f"video in {_readers(m)}, and cores are free: --workers {number}."
    )


def _read(m: Measured) -> Iterator[str]:
    row = m.rows["read"]
    yield (
        f"Reading files limits this machine: {_ms(row.seconds_per_video)} and "
        f"{_known(row.bytes_per_clip) * row.clips_per_video / 1e6:.3g} MB a video, already in memory. "
        "`cmpl prepare` makes the files smaller; a faster or local disk helps where they come from far."
    )


def _cut(m: Measured) -> Iterator[str]:
    yield (
        f"Cutting files limits this machine: {_ms(m.rows['cut'].seconds_per_video)} a video, no core is free for more "
        "workers. `cmpl prepare` makes files with fewer packets to walk through."
    )


def _decode(m: Measured) -> Iterator[str]:
    on_gpu = m.media == "cuts"
    row = m.rows["decode, NVDEC" if on_gpu else "decode"]
    who = "on NVDEC" if on_gpu else f"in {_readers(m)}, and no core is free for more"
    yield f"Decoding limits this machine: {_ms(row.seconds_per_video)} a video {who}."
    per_used = m.work.needed / m.work.num_wanted
    if per_used > WASTEFUL:
        yield (
            f"{per_used:.1f} frames are decoded for each one that a clip shows: `cmpl prepare` makes files that decode "
            "fast at random."
        )
    else:
        yield "`cmpl prepare` makes large frames smaller, which decodes faster."


def _threads(m: Measured) -> Iterator[str]:
    threads, more = m.loader_threads, min(2 * m.loader_threads, NVDEC_ENGINES)
    yield (
        f"Decoding limits this machine: {_ms(m.rows['decode, NVDEC'].seconds_per_video)} a video on NVDEC, with "
        f"{threads} thread{'s' if threads > 1 else ''}. A thread keeps one engine busy, and GPUs have up to "
        f"{NVDEC_ENGINES}: --set runtime.loader_threads={more}."
    )


def _augment(m: Measured) -> Iterator[str]:
    where = f"in {_readers(m)}, and no core is free for more" if m.media == "views" else "on the GPU"
    yield f"Augmentation limits this machine: {_ms(m.rows['augment'].seconds_per_video)} a video {where}."
    if m.media == "views":
        yield "`cmpl prepare` takes decoding off those cores; a GPU takes the augmentation too."


_ADVICE: dict[str, Callable[[Measured], Iterator[str]]] = {
    "trainer": _trainer,
    "workers": _workers,
    "read": _read,
    "cut": _cut,
    "decode": _decode,
    "threads": _threads,
    "augment": _augment,
}


def _crowded(m: Measured) -> Iterator[str]:
    """Says where too many threads and processes share the cores."""
    at_work = m.num_workers + m.loader_threads + m.torch_threads
    ceiling = m.rows["trainer, replayed"].videos_per_second
    if at_work > CROWDED * m.num_cores and m.rows["training"].videos_per_second < NOTABLE_LOSS * ceiling:
        yield (
            f"{at_work} threads and processes share {_cores(m)} and slow each other down: fewer may be faster "
            f"(--workers, runtime.loader_threads, runtime.torch_threads)."
        )


def _slower_together(m: Measured) -> Iterator[str]:
    """Says where the whole is slower than its parts promise."""
    parts = max([sum(reading_seconds(m).values()) / max(1, m.num_workers), *graph_seconds(m).values()])
    loader, training = m.rows["loader"], m.rows["training"]
    if loader.videos_per_second < NOTABLE_LOSS / 2 / parts:
        yield (
            f"The whole loader is {1 / parts / loader.videos_per_second:.1f} times slower than its narrowest stage: "
            "its parts share cores, or files come from a disk and not from memory."
        )
    alone = min(loader.videos_per_second, m.rows["trainer, replayed"].videos_per_second)
    if m.device == "cpu" and training.videos_per_second < NOTABLE_LOSS * alone:
        yield (
            f"Loader and training share {_cores(m)}: together they reach "
            f"{_percent(training.videos_per_second / alone)} of what the slower one does alone."
        )


def facts(m: Measured) -> list[str]:
    """Lists what was counted, the memory in use, and what was not measured."""
    work, training = m.work, m.rows["training"]
    lines = [
        "Frames decoded for each distinct frame that the clips show (packets, counted): "
        f"{work.needed / work.num_wanted:.2f} needed, "
        f"{work.from_keyframes / work.num_wanted:.2f} from the keyframes on, "
        f"{work.from_start / work.num_wanted:.2f} without seeking.",
        f"Host memory of training, all its processes: {_known(training.host_memory_bytes) / 2**30:.2f} GiB.",
    ]
    if training.gpu_memory_bytes is not None:
        lines.append(f"GPU memory of training: {training.gpu_memory_bytes / 2**30:.2f} GiB.")
    if training.nvdec_share is not None:
        lines.append(f"NVDEC while training: {_percent(training.nvdec_share)} busy.")
    return lines + [f"{what}: not measured: {why}." for what, why in m.missing.items()]


def bars(m: Measured) -> list[tuple[Row, float, bool]]:
    """Gives (row, length from 0 to 1, whether it is cut off) of each bar.

    All rates share one scale, which ends at a few times what training needs.
    """
    rows = [m.rows[name] for name in (*STAGES, *WHOLE) if name in m.rows]
    needed = max(m.rows[name].videos_per_second for name in ("trainer, replayed", "training"))
    end = min(CHART_REACH * needed, max(row.videos_per_second for row in rows))
    return [(row, min(1.0, row.videos_per_second / end), row.videos_per_second > end) for row in rows]


def rate(value: float) -> str:
    """Writes a rate with three digits, or as a whole number: 12.3, 4,567."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _readers(m: Measured) -> str:
    if m.num_workers == 0:
        return "the trainer's own process"
    return f"each of {m.num_workers} workers" if m.num_workers > 1 else "the one worker"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


def _cores(m: Measured) -> str:
    return f"{m.num_cores} core{'s' if m.num_cores > 1 else ''}"
