"""Pictures that are held in memory: the ones that decoding gives, and never those of a damaged video."""

import dataclasses

import numpy as np
import pytest

import pipelines.views.held
from pipelines.catalog.manifest import open_manifest
from pipelines.catalog.pool import Pool, pool_of
from pipelines.errors import LoaderError, VideoError
from pipelines.loading.sample import Media
from pipelines.loading.source import TrainSource
from pipelines.plan.geometry import ClipShape, Geometry
from pipelines.plan.planner import Planner, Stream
from pipelines.views.held import HeldPictures
from tests.support.videos import decode_plainly, make_video

GEOMETRY = Geometry(
    primary=ClipShape(num_frames=4, stride=2),
    auxiliary=ClipShape(num_frames=4, stride=1),
    crop_size=24,
    short_side=28,
    short_side_jitter=(28, 35),
    max_offset_seconds=1.0,
)
BYTES = 3 * 64 * 48
"""Size of a decoded picture of `make_video`."""


@pytest.fixture
def root(tmp_path):
    make_video(tmp_path / "a.mp4", num_frames=20)
    make_video(tmp_path / "b.mp4", num_frames=12)
    return tmp_path


def pool_at(root) -> Pool:
    paths = sorted(path.name for path in root.glob("*.mp4"))
    manifest = open_manifest(root, paths, np.zeros(len(paths)), cache_dir=root / "manifests")
    return pool_of((manifest, manifest.usable))


def source_over(pool: Pool, *, held_bytes: int, stream: Stream = Stream.UNLABELED) -> TrainSource:
    planner = Planner(pool=pool, seed=0, stream=stream, geometry=GEOMETRY)
    return TrainSource(planner=planner, media=Media.VIEWS, batch_size=2, held_bytes=held_bytes)


def count_decodings(monkeypatch) -> list[str]:
    calls: list[str] = []

    def counted(path, *arguments, **options):
        calls.append(path)
        return decode_each(path, *arguments, **options)

    decode_each = pipelines.views.held.decode_each
    monkeypatch.setattr("pipelines.views.held.decode_each", counted)
    monkeypatch.setattr("pipelines.views.make.decode_each", counted)
    return calls


def test_planes_are_the_pictures_of_plain_decoding(root):
    planes = HeldPictures().planes(root / "a.mp4", num_frames=20, picture_size=(64, 48), exact_seek=True)
    np.testing.assert_array_equal(np.moveaxis(planes, 1, -1), decode_plainly(root / "a.mp4"))


@pytest.mark.parametrize("stream", [Stream.LABELED, Stream.UNLABELED])
def test_samples_are_the_same_and_no_video_is_decoded_twice(root, stream, monkeypatch):
    pool = pool_at(root)
    anew = [source_over(pool, held_bytes=0, stream=stream).sample(k) for k in range(12)]
    calls = count_decodings(monkeypatch)
    source = source_over(pool, held_bytes=32 * BYTES, stream=stream)
    for position, expected in enumerate(anew):
        sample = source.sample(position)
        assert sample.ids == expected.ids
        for view, other in zip(sample.media, expected.media, strict=True):
            np.testing.assert_array_equal(view, other)
    assert sorted(calls) == sorted(pool.paths)


def test_a_pool_that_does_not_fit_is_decoded_anew(root, monkeypatch):
    pool = pool_at(root)
    assert pool.decoded_bytes == 32 * BYTES
    calls = count_decodings(monkeypatch)
    source = source_over(pool, held_bytes=32 * BYTES - 1)
    for position in range(6):
        source.sample(position)
    assert len(calls) == 6


def test_a_copy_for_workers_holds_nothing_yet(root):
    source = source_over(pool_at(root), held_bytes=32 * BYTES)
    assert source.after(3).held_bytes == 32 * BYTES
    assert source.held._planes == {}


@pytest.mark.parametrize("fault", ["marked as damaged", "fewer frames", "another size"])
def test_a_video_with_any_damage_is_not_held(root, fault, monkeypatch):
    decode_each = pipelines.views.held.decode_each
    calls: list[str] = []

    def faulty(path, wanted, *, exact_seek, notes):
        calls.append(path)
        if fault == "marked as damaged":
            notes.num_damaged += 1
        yield from decode_each(path, wanted, exact_seek=exact_seek, notes=notes)
        if fault == "fewer frames":
            raise VideoError("19 frames readable, asked for frame 19")

    monkeypatch.setattr("pipelines.views.held.decode_each", faulty)
    held, size = HeldPictures(), (64, 48) if fault != "another size" else (66, 48)
    for _ in range(2):
        assert held.planes(root / "a.mp4", num_frames=20, picture_size=size, exact_seek=True) is None
    assert len(calls) == 1


def test_a_frame_beyond_the_end_is_an_error_as_ever(root):
    pool = dataclasses.replace(pool_at(root), num_frames=np.array([200, 200]))
    source = source_over(pool, held_bytes=400 * BYTES)
    assert source.held_bytes
    with pytest.raises(LoaderError, match="readable, asked for frame"):
        source.sample(0)
