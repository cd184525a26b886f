"""Videos stored on their side or with pixels that are not square are seen upright and square, by both back ends."""

import dataclasses
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipelines.catalog.manifest import open_manifest
from pipelines.catalog.pool import Picture, Pool, pool_of
from pipelines.loading.engine import Engine
from pipelines.loading.loader import EvaluationLoader
from pipelines.loading.source import EvaluationSource, evaluation_frames
from pipelines.plan.boxes import evaluation_boxes
from pipelines.video.probe import probe
from pipelines.video.transcode import Settings, transcode
from tests.support import reference
from tests.support.autorotate import MATRICES, autorotated
from tests.support.videos import pictures
from tests.support.views import GEOMETRY, assert_same_view, loader, pixels, planners, seen_by


@pytest.fixture(params=["frames", "views"])
def engine(request) -> Engine:
    return Engine(media=request.param)


@pytest.fixture(scope="module")
def turned(pool, decoded) -> tuple[Pool, list[np.ndarray]]:
    """The pool's videos as if they were stored with 0, 1, 2, 3, 0, 1 quarter turns, three of them mirrored before, and
    their upright frames."""
    turns, mirrored = np.arange(len(pool)) % 4, np.arange(len(pool)) // 3 % 2
    upright = [
        np.rot90(video[:, :, :: 1 - 2 * is_mirrored], k, axes=(1, 2))
        for video, k, is_mirrored in zip(decoded, turns.tolist(), mirrored.tolist(), strict=True)
    ]
    height, width = np.array([video.shape[1:3] for video in upright]).T
    stored = np.stack([pool.width, pool.height, turns, mirrored], axis=1)
    return dataclasses.replace(pool, width=width, height=height, stored=stored), upright


def test_views_of_turned_videos_equal_the_twins_of_upright_ones(turned, engine):
    pool, upright = turned
    made, plans = loader(pool, engine=engine), planners(pool)
    seen = set()
    for step in range(2):
        batch = next(made)
        for j in range(6):
            plan = plans["unlabeled"].plan(step * 6 + j)
            video, box = seen_by(engine, upright[plan.video], plan.weak)
            expected = reference.weak_view(video, plan.primary, box, size=28)
            assert_same_view(batch.unlabeled.weak.primary[j], expected, engine)
            video, box = seen_by(engine, upright[plan.video], plan.primary.box)
            view = dataclasses.replace(plan.primary, box=box)
            difference = np.abs(
                pixels(batch.unlabeled.strong.primary[j]) - reference.strong_view(video, view, size=28).astype(int)
            )
            assert difference.mean() <= 1.0
        for j in range(2):
            plan = plans["labeled"].plan(step * 2 + j)
            seen.add((plan.video % 4, plan.primary.box[1] > plan.primary.box[3]))
            video, box = seen_by(engine, upright[plan.video], plan.primary.box)
            view = dataclasses.replace(plan.primary, box=box)
            assert_same_view(batch.labeled.standard.primary[j], reference.standard_view(video, view, size=28), engine)
    assert len(seen) > 2


def test_crops_of_turned_videos_equal_the_twins_of_upright_ones(turned, engine):
    pool, upright = turned
    shapes = {"shapes": (GEOMETRY.primary,), "short_videos": "loop", "num_clips": 1, "num_crops": 3, "crop_size": 32}
    source = EvaluationSource(pool=pool, media=engine.media, batch_size=4, **shapes)
    for videos, _, views in EvaluationLoader(source, engine=engine):
        for i, video in enumerate(videos):
            frames = evaluation_frames(source, len(upright[video]))
            _, height, width, _ = upright[video].shape
            for crop, box in enumerate(evaluation_boxes(3, width=width, height=height)):
                seen, inside = seen_by(engine, upright[video][frames], box)
                assert_same_view(views[0][i, crop], reference.crop_resize(seen, inside, 32), engine)


def written(path: Path, *, matrix: tuple[int, ...], stretch: Fraction) -> Path:
    """A video 64 x 48 with a display matrix and a pixel shape."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = stretch
        stream.set_display_matrix(matrix)
        for picture in pictures(6):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("stretch", [Fraction(1), Fraction(2)])
def test_files_are_seen_as_their_flags_say(tmp_path, name, stretch, engine):
    path = written(tmp_path / "a.mp4", matrix=MATRICES[name], stretch=stretch)
    upright = autorotated(path, stretch=stretch)
    facts = probe(path)
    assert (facts.height, facts.width) == upright.shape[1:3]
    assert (facts.stored_width, facts.stored_height) == (64, 48)
    manifest = open_manifest(tmp_path, ["a.mp4"], np.zeros(1), cache_dir=tmp_path / "cache")
    pool = pool_of((manifest, np.arange(1)))
    assert pool.picture(0) == Picture(facts.width, facts.height, 64, 48, facts.turns, facts.mirrored)
    assert len(pool.stored) == (name != "as stored" or stretch != 1), "plain videos need no column"
    source = EvaluationSource(
        pool=pool,
        shapes=(GEOMETRY.primary,),
        short_videos="loop",
        num_clips=1,
        num_crops=1,
        crop_size=48,
        media=engine.media,
        batch_size=1,
    )
    ((_, _, views),) = EvaluationLoader(source, engine=engine)
    frames = evaluation_frames(source, 6)
    (box,) = evaluation_boxes(1, width=facts.width, height=facts.height)
    top, left, bottom, right = box
    difference = np.abs(pixels(views[0][0, 0]) - upright[frames, top:bottom, left:right].astype(int))
    assert difference.mean() < (1 if stretch == 1 else 8), "pixels twice as wide are interpolated, not repeated"


@pytest.mark.parametrize("name", MATRICES)
def test_prepared_files_are_upright(tmp_path, name):
    path = written(tmp_path / "a.mp4", matrix=MATRICES[name], stretch=Fraction(2))
    transcode(path, tmp_path / "b.mp4", settings=Settings(crf=1))
    upright, made = (autorotated(tmp_path / file, stretch=s) for file, s in (("a.mp4", Fraction(2)), ("b.mp4", 1)))
    assert made.shape == upright.shape
    assert np.abs(made.astype(int) - upright).mean() < 8, "pixels twice as wide are interpolated, not repeated"
    assert (probe(tmp_path / "b.mp4").turns, probe(tmp_path / "b.mp4").mirrored) == (0, False)
