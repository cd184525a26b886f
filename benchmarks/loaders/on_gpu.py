"""Compares this project on one GPU with plain DALI, torchcodec and PyNvVideoCodec.

All frames and views end on the GPU. Decoders called from Python run in as many threads as DALI.
Legend: F frames asked for, H x W pixels; clips (F, H, W, 3) uint8.
"""

import dataclasses
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nvidia.dali import fn, pipeline_def, types
from nvidia.dali.pipeline import Pipeline

from benchmarks.loaders.decoders import OURS, Library, Setup, Video, reference_frames
from benchmarks.loaders.on_cpu import MAX_DIFFERENCE, NUM_PARITY_SAMPLES, Row, show, take_turns
from benchmarks.loaders.workload import GEOMETRY, BatchRunner, FrozenSource, Workload, timed, workload_of
from pipelines.loading.batches import cuda_stream
from pipelines.loading.engine import Engine
from pipelines.loading.graph import built, decode, end, sample
from pipelines.loading.operators import Node, crop_resize, photometric_functions, split, strong_view
from pipelines.loading.parameters import ViewRow, parameters
from pipelines.loading.sample import CutMedia, Ids, Media, Sample
from pipelines.plan.geometry import ClipShape, Geometry

NUM_THREADS = 8
"""Threads of every arm: one more than an H100 or H200 has NVDEC engines."""
TABLE_BATCH = 32
"""Videos of a batch: four for each thread, so that no arm's threads wait for the end of a small batch."""


def decode_torchcodec(video: Video, frames: np.ndarray) -> torch.Tensor:
    """Decodes by torchcodec on NVDEC with its "beta" back end, which keeps decoders from file to file."""
    from torchcodec.decoders import VideoDecoder, set_cuda_backend

    with set_cuda_backend("beta"):
        decoder = VideoDecoder(video.path, dimension_order="NHWC", seek_mode="approximate", device="cuda")
    return decoder.get_frames_at(frames.tolist()).data


_OF_THREAD = threading.local()


def decode_pynvvideocodec(video: Video, frames: np.ndarray) -> torch.Tensor:
    """Decodes by PyNvVideoCodec: one SimpleDecoder a thread, given the next file by `reconfigure_decoder`."""
    import PyNvVideoCodec as nvc

    decoder = getattr(_OF_THREAD, "decoder", None)
    if decoder is None:
        _OF_THREAD.decoder = decoder = nvc.SimpleDecoder(
            video.path, gpu_id=0, use_device_memory=True, output_color_type=nvc.OutputColorType.RGB
        )
    else:
        decoder.reconfigure_decoder(video.path)
    surfaces = decoder.get_batch_frames_by_index(frames.tolist())
    return torch.stack([torch.from_dlpack(surface) for surface in surfaces])  # a copy: surfaces are used again


DECODERS: dict[str, Library[torch.Tensor]] = {
    "torchcodec CUDA": Library(decode=decode_torchcodec, package="torchcodec", advice="beta back end, threads"),
    "PyNvVideoCodec": Library(decode=decode_pynvvideocodec, package="PyNvVideoCodec", advice="reconfigure, threads"),
}
Begins = Callable[[], tuple[tuple[Node, ...], Node]]
"""The beginning of a graph: clips of the networks on the GPU, and parameters."""
READER, WHOLE_FILES = "DALI readers.video", "DALI whole files"


@dataclass(frozen=True, eq=False, kw_only=True)
class WholeFileSource(FrozenSource):
    """The frozen list as DALI's documentation feeds its decoder: a whole file's bytes, and frame indices."""

    def sample(self, position: int) -> Sample:
        """Makes one video of the list."""
        plan = self.planner.plan(position % self.num_samples)
        content = Path(self.planner.pool.paths[plan.video]).read_bytes()
        ids = Ids(number=position, video=plan.video, label=-1)
        return Sample(CutMedia.of(content, plan.frames), parameters(plan, self.planner.pool.picture(plan.video)), ids)


@dataclass(kw_only=True)
class CudaSource:
    """Batches that a decoder makes on the GPU, in threads. DALI calls it in this process."""

    library: Library[torch.Tensor]
    workload: Workload
    batches: Iterator[int] = field(default_factory=itertools.count)
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(NUM_THREADS))

    def __call__(self) -> list[torch.Tensor]:
        first = next(self.batches) * self.workload.batch_size
        return self.clips(range(first, first + self.workload.batch_size))

    def clips(self, positions: range) -> list[torch.Tensor]:
        """Decodes one clip a position, and waits for the GPU."""
        jobs = [self.workload.job(position % self.workload.num_samples) for position in positions]
        clips = list(self.pool.map(self._decode, jobs))
        torch.cuda.synchronize()
        return clips

    def _decode(self, job: tuple[Video, np.ndarray]) -> torch.Tensor:
        video, frames = job
        wanted, slots = np.unique(frames, return_inverse=True)
        clip = self.library.decode(video, wanted)
        return clip[torch.from_numpy(slots).to(clip.device)]


def media_of(loader: str, workload: Workload, *, engine: Engine, folder: Path) -> Begins:
    """Makes the beginning of a loader's graph."""
    planner = workload.planner
    source = FrozenSource(
        planner=planner,
        media=Media.CUTS,
        batch_size=workload.batch_size,
        setup=Setup(loader=OURS),
        num_samples=workload.num_samples,
    )
    if loader in (OURS, WHOLE_FILES):
        shallow = {f.name: getattr(source, f.name) for f in dataclasses.fields(source)}
        chosen = source if loader == OURS else WholeFileSource(**shallow)

        def media() -> tuple[tuple[Node, ...], Node]:
            *encoded, table, _, _ = sample(chosen, engine)
            return split(decode(encoded, Media.CUTS, engine), planner.geometry), table

        return media

    def table_of(info: types.SampleInfo) -> np.ndarray:
        plan = planner.plan(info.idx_in_epoch % workload.num_samples)
        return parameters(plan, planner.pool.picture(plan.video))

    def with_table(clips: tuple[Node, ...]) -> tuple[tuple[Node, ...], Node]:
        return clips, fn.external_source(source=table_of, batch=False)

    if loader == READER:
        lists = reader_lists(workload, folder)
        return lambda: with_table(tuple(read(path, shape) for path, shape in lists))
    cuda = CudaSource(library=DECODERS[loader], workload=workload)
    return lambda: with_table(split(fn.external_source(source=cuda, device="gpu", layout="FHWC"), planner.geometry))


def reader_lists(workload: Workload, folder: Path) -> list[tuple[Path, ClipShape]]:
    """Writes a file_list for each network, with the span of every planned clip: the reader takes one clip a video."""
    lists = []
    for k, shape in enumerate(workload.planner.geometry.shapes):
        lines = []
        for position in range(workload.num_samples):
            plan = workload.planner.plan(position)
            start = int(plan.views[k].frames[0])
            lines.append(f"{workload.planner.pool.paths[plan.video]} {position} {start} {start + shape.span_frames}\n")
        path = folder / f"reader-{k}-{os.getpid()}.txt"
        path.write_text("".join(lines))
        lists.append((path, shape))
    return lists


def read(file_list: Path, shape: ClipShape) -> Node:
    """Reads one network's clips by DALI's own reader, which seeks, decodes and shuffles by itself."""
    clips, _ = fn.readers.video(
        device="gpu",
        file_list=str(file_list),
        file_list_frame_num=True,
        sequence_length=shape.num_frames,
        stride=shape.stride,
        skip_vfr_check=True,
        additional_decode_surfaces=4,
        prefetch_queue_depth=2,
    )
    return clips


def pipeline_of(media: Begins, *, arm: str, workload: Workload, engine: Engine) -> Pipeline:
    """Starts a graph of both networks' frames, or of their weak and strong views, by the stages of
    `pipelines.loading.graph`."""

    geometry, strong = workload.planner.geometry, workload.planner.strong
    branches = photometric_functions(strong)

    def views() -> tuple[Node, ...]:
        clips, table = media()
        weak = [crop_resize(clip, ViewRow.of(table[0]).box, geometry.crop_size) for clip in clips]
        strong_views = [
            strong_view(
                clip,
                table[1 + k],
                num_ops=strong.num_ops,
                branches=branches,
                num_frames=geometry.shapes[k].num_frames,
                size=geometry.crop_size,
            )
            for k, clip in enumerate(clips)
        ]
        return *weak, *strong_views

    make = views if arm == "whole" else lambda: media()[0]

    @pipeline_def(
        batch_size=workload.batch_size,
        num_threads=engine.num_threads,
        device_id=engine.device_index,
        prefetch_queue_depth=engine.prefetch_batches,
        py_num_workers=max(engine.num_workers, 1),
        py_start_method="spawn",
        enable_conditionals=True,
        exec_dynamic=True,
    )
    def graph() -> tuple[Node, ...]:
        return make()

    return built(graph)


class PipelineBatches:
    """A pipeline's outputs, taken as the trainer takes them."""

    def __init__(self, pipeline: Pipeline, engine: Engine) -> None:
        self._pipeline, self._engine = pipeline, engine

    def next(self) -> None:
        """Takes the next batch and drops it."""
        self._pipeline.run(cuda_stream(self._engine))

    def close(self) -> None:
        """Ends the pipeline and its processes."""
        end(self._pipeline)


class CudaDecodeRunner:
    """Frames alone, by a decoder called from threads."""

    def __init__(self, loader: str, workload: Workload) -> None:
        self._source = CudaSource(library=DECODERS[loader], workload=workload)
        self.num_samples, self._batch_size = workload.num_samples, workload.batch_size
        self._run()

    def round(self) -> tuple[float, float]:
        """Gives the seconds and processor seconds of the whole list."""
        return timed(self._run)

    def close(self) -> None:
        """Ends the threads."""
        self._source.pool.shutdown()

    def _run(self) -> None:
        for first in range(0, self.num_samples, self._batch_size):
            self._source.clips(range(first, first + self._batch_size))


def difference_of(loader: str, workload: Workload, *, engine: Engine, folder: Path) -> float:
    """Gives the largest mean absolute difference (of 255) of some samples' frames from plain decoding on the CPU."""
    media = media_of(loader, workload, engine=engine, folder=folder)
    pipeline = pipeline_of(media, arm="decode", workload=workload, engine=engine)
    outputs = [output.as_cpu() for output in pipeline.run()]
    found = []
    for i, job in enumerate(workload.jobs(min(NUM_PARITY_SAMPLES, workload.batch_size))):
        clip = np.concatenate([np.array(output.at(i)) for output in outputs]).astype(np.int16)
        reference = reference_frames(*job)
        found.append(float(np.abs(clip - reference).mean()) if clip.shape == reference.shape else 255.0)
    return max(found)


def run_gpu(
    videos: dict[str, list[Path]],
    *,
    num_samples: int,
    num_rounds: int,
    folder: Path,
    note: Callable[[str], None],
    engine: Engine,
    geometry: Geometry = GEOMETRY,
    batch_size: int = TABLE_BATCH,
) -> dict[str, Any]:
    """Runs both arms on each kind of files. Returns their rows, and who is missing or failed and why.

    A loader that does not pass the gate is measured all the same, and marked."""
    missing = {name: problem for name, loader in DECODERS.items() if (problem := loader.problem())}
    rows: list[Row] = []
    for kind, paths in videos.items():
        workload = workload_of(paths, num_samples=num_samples, geometry=geometry, batch_size=batch_size)
        apart: dict[str, float] = {}  # of the frames, which both arms show
        for arm in ("decode", "whole"):
            runners: dict[str, BatchRunner | CudaDecodeRunner] = {}
            for loader in (OURS, WHOLE_FILES, READER, *DECODERS):
                if loader in missing:
                    continue
                try:
                    if loader not in apart:
                        apart[loader] = difference_of(loader, workload, engine=engine, folder=folder)
                    runners[loader] = runner_of(loader, workload, arm=arm, engine=engine, folder=folder)
                except Exception as error:  # a loader that fails is part of the result
                    missing[loader] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
            measured = take_turns(runners, num_rounds=num_rounds)
            for runner in runners.values():
                runner.close()
            setup = f"{engine.num_workers} workers, {engine.num_threads} threads, batches of {batch_size}"
            row = {"files": kind, "arm": arm, "setup": setup}
            rows += [
                row
                | {"peer": loader, "difference": apart[loader], "passed": apart[loader] <= MAX_DIFFERENCE}
                | measured.get(loader, {})
                for loader in apart
                if loader not in missing
            ]
            show([r for r in rows if (r["files"], r["arm"]) == (kind, arm)], note)
    return {"rows": rows, "missing": missing}


def runner_of(
    loader: str, workload: Workload, *, arm: str, engine: Engine, folder: Path
) -> BatchRunner | CudaDecodeRunner:
    """Starts a loader that can take its turns."""
    if arm == "decode" and loader in DECODERS:
        return CudaDecodeRunner(loader, workload)
    media = media_of(loader, workload, engine=engine, folder=folder)
    pipeline = pipeline_of(media, arm=arm, workload=workload, engine=engine)
    return BatchRunner(PipelineBatches(pipeline, engine), workload, engine=engine)
