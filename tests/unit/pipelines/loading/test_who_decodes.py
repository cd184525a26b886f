"""The trial of who decodes, with DALI's software decoder in NVDEC's place, and what follows from its rates."""

import math
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipelines.catalog.pool import Pool
from pipelines.errors import InputError
from pipelines.loading import who_decodes
from pipelines.loading.engine import Engine
from pipelines.loading.loader import EvaluationLoader, SemiLoader
from pipelines.loading.nvdec import OnCpu
from pipelines.loading.sample import Media
from pipelines.loading.source import EvaluationSource, TrainSource
from pipelines.loading.who_decodes import Rates, as_a_worker, measured, settled
from pipelines.plan.geometry import ClipShape, Geometry
from pipelines.plan.planner import Planner, Stream
from tests.support.nvdec import vp9, vp9_pool
from tests.support.videos import make_video

GEOMETRY = Geometry(
    primary=ClipShape(4, 8), auxiliary=ClipShape(8, 4), crop_size=28, short_side=32, short_side_jitter=(32, 40)
)
OPEN = Engine(media=Media.CUTS, decoder="cpu", num_workers=1, cpu_share=None)


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Pool:
    return vp9_pool(vp9(tmp_path_factory.mktemp("vp9"), 3), num_frames=80)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(who_decodes, "_KNOWN", {})


def ends_its_process(*_):
    os._exit(11)


def planner(pool: Pool, stream: Stream = Stream.UNLABELED) -> Planner:
    return Planner(pool=pool, seed=0, stream=stream, geometry=GEOMETRY)


def source_of(pool: Pool, batch_size: int = 4) -> TrainSource:
    return TrainSource(planner=planner(pool), media=Media.CUTS, batch_size=batch_size)


def evaluation_of(pool: Pool, media: Media = Media.CUTS) -> EvaluationSource:
    return EvaluationSource(
        pool=pool, shapes=GEOMETRY.shapes, short_videos="loop", num_clips=2, num_crops=1, crop_size=32, media=media,
        batch_size=2,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("workers", "nvdec", "share", "said"),
    [
        (139.0, 77.0, 139 / 216, "decoding: 64% of the videos by the workers, the others by NVDEC (a trial: 139"),
        (40.0, 40.0, 0.5, "decoding: 50% of the videos by the workers"),
        (444.0, 90.0, 1.0, "decoding: by the workers (a trial: 444 videos/s by the workers, 90 by NVDEC)"),
        (4.0, 80.0, 0.0, "decoding: by NVDEC (a trial: 4 videos/s by the workers, 80 by NVDEC)"),
        (math.inf, None, 1.0, "decoding: by the workers, as NVDEC failed in a trial: it broke"),
        (0.0, math.inf, 0.0, "decoding: by NVDEC, as it broke"),
    ],
)
def test_both_end_together_or_one_of_them_does_it_all(workers, nvdec, share, said):
    rates = Rates(workers=workers, nvdec=nvdec, problem="it broke")
    assert rates.cpu_share == pytest.approx(share)
    assert rates.line().startswith(said)


@pytest.mark.parametrize("make", [source_of, evaluation_of])
def test_a_trial_times_both(pool, make):
    rates = measured(make(pool), OPEN)
    assert rates.workers > 0
    assert rates.nvdec is not None
    assert rates.nvdec > 0
    doubled = measured(make(pool), replace(OPEN, num_workers=200))
    assert doubled.workers > 10 * rates.workers, "workers are counted together"


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_loader_goes_by_the_trial_and_shows_the_same_videos(pool, monkeypatch, caplog, share):
    workers = {0.0: 1.0, 0.5: 100.0, 1.0: 1e6}[share]
    calls = []

    def told(*asked):
        calls.append(asked)
        return Rates(workers=workers, nvdec=100.0)

    monkeypatch.setattr(who_decodes, "measured", told)
    plans = {"labeled": planner(pool, Stream.LABELED), "unlabeled": planner(pool)}
    ours, decoded = (
        SemiLoader(**plans, num_labeled=2, num_unlabeled=4, engine=engine)
        for engine in (OPEN, Engine(media=Media.FRAMES))
    )
    with ours, decoded:
        for _ in range(2):
            a, b = next(ours), next(decoded)
            assert torch.equal(a.unlabeled.truth, b.unlabeled.truth)
            apart = (a.unlabeled.weak.primary.float() - b.unlabeled.weak.primary.float()).abs()
            assert apart.mean().item() <= 3
            by_cpu = [row.flatten(0).max().item() == 0 for row in apart]
            if share == 0.5:
                assert 1 <= sum(by_cpu) <= 3, "two of four, or one off it"
            else:
                assert by_cpu == [share == 1] * 4
    assert len(calls) == 1, "both streams by one trial"
    with EvaluationLoader(evaluation_of(pool), engine=OPEN) as loader:
        assert len(calls) == 1, "three videos are not worth a trial"
    monkeypatch.setattr(who_decodes, "LEAST_EVALUATED", 3)
    with EvaluationLoader(evaluation_of(pool), engine=OPEN) as loader:
        assert [video for batch in loader for video in batch.videos] == [0, 1, 2]
    with EvaluationLoader(evaluation_of(pool), engine=OPEN):
        assert len(calls) == 2, "the same videos are not tried again"
    assert caplog.text.count("a trial") == 2


def test_without_workers_or_with_a_share_nothing_is_tried(pool, monkeypatch):
    monkeypatch.delattr(who_decodes, "measured")
    for engine, share in ((replace(OPEN, num_workers=0), 0.0), (replace(OPEN, cpu_share=0.25), 0.25)):
        source, chosen = settled(source_of(pool), engine)
        assert (source.media, chosen.media, chosen.cpu_share) == (Media.CUTS, Media.CUTS, share)


@pytest.mark.parametrize(("most_bytes", "number"), [(1 << 30, 16), (0, 1)])
def test_a_trial_takes_no_more_frames_at_once_than_fit(pool, monkeypatch, most_bytes, number):
    monkeypatch.setattr(who_decodes, "MOST_BYTES", most_bytes)
    _, cuts = as_a_worker(source_of(pool), "cpu")
    assert len(cuts) == number


def test_a_file_that_ends_a_worker_ends_no_trainer(pool, monkeypatch):
    monkeypatch.setattr(who_decodes, "as_a_worker", ends_its_process)
    rates = measured(source_of(pool), OPEN)
    assert rates.cpu_share == 0
    assert rates.line() == "decoding: by NVDEC, as a worker ended at one of the first videos"


def test_a_full_card_leaves_all_to_the_workers(pool, monkeypatch):
    def full(cuts, engine):
        raise MemoryError("out of memory")

    monkeypatch.setattr(who_decodes, "_seconds_on_nvdec", full)
    assert "NVDEC failed in a trial: out of memory" in measured(source_of(pool), OPEN).line()


def test_a_decoder_that_fails_leaves_all_to_the_workers(tmp_path):
    """H.264 that says it is VP9: the software decoder refuses it."""
    paths = [make_video(tmp_path / f"{k}.mp4", num_frames=80, seed=k) for k in range(2)]
    rates = measured(source_of(vp9_pool(paths, num_frames=80)), OPEN)
    assert rates.cpu_share == 1
    assert rates.problem
    assert "NVDEC failed in a trial" in rates.line()


def test_videos_that_it_does_not_take_are_not_tried(pool):
    foreign = Pool(**vars(pool) | {"codings": ("av1 yuv420p",)})
    assert measured(source_of(foreign), OPEN) == Rates(
        workers=math.inf, nvdec=None, problem="it takes none of the first videos"
    )


def test_a_share_is_spread_evenly(pool):
    known = OnCpu(share=0.3)
    by_cpu = np.array([known.holds(pool, 0, number=number) for number in range(2000)])
    for size in (10, 40, 200):
        sums = np.convolve(by_cpu, np.ones(size), mode="valid")
        assert np.abs(sums - 0.3 * size).max() <= 2
    assert not any(OnCpu().holds(pool, 0, number=number) for number in range(100))


@pytest.mark.parametrize("share", [-0.1, 1.0, math.nan])
def test_a_share_beyond_its_range_is_refused(share):
    with pytest.raises(InputError, match="cpu_share: received"):
        replace(OPEN, cpu_share=share)
