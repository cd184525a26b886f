"""The loaders that others import: opened data sets, epochs, position, plain streams."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

import pipelines
from pipelines.catalog.pool import Pool
from pipelines.errors import InputError
from pipelines.loading import loader as loader_module
from pipelines.loading import source as source_module
from pipelines.loading.source import EvaluationSource, TrainSource
from pipelines.plan.geometry import ClipShape, Geometry
from pipelines.plan.planner import Planner, Stream
from tests.support.videos import class_folder

NUM_TRAIN, NUM_VAL = 5, 2
SMALL = {"clips": ("2x8", "4x4"), "batch": (2, 3), "crop_size": 28, "device": "cpu", "max_offset_seconds": 0.5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two classes, 5 + 2 videos each, two unlabeled ones."""
    root = tmp_path_factory.mktemp("own")
    return class_folder(root, num_train=NUM_TRAIN, num_val=NUM_VAL, num_frames=40, more_frames=4, num_unlabeled=2)


@pytest.fixture(scope="module")
def data(folder) -> "pipelines.Dataset":
    return pipelines.open_dataset(str(folder), labeled="2")


def same(a: "pipelines.SemiBatch", b: "pipelines.SemiBatch") -> bool:
    return torch.equal(a.labeled.standard.primary, b.labeled.standard.primary) and torch.equal(
        a.unlabeled.strong.auxiliary, b.unlabeled.strong.auxiliary
    )


def test_an_opened_data_set_knows_its_videos(data):
    assert data.classes == ("clap", "wave")
    assert len(data.labeled_pool()) == 4
    assert len(data.train_pool()) == 10
    assert len(data.unlabeled_pool()) == 12
    assert len(data.unlabeled_pool(with_labeled=False)) == 8
    assert len(data.evaluation_pool()) == 4
    assert data.problems() == {}


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"dataset: received '.*nowhere', no folder; accepted: a folder or a data set"):
        pipelines.open_dataset(str(tmp_path / "nowhere"))


def test_a_stream_has_no_more_threads_than_videos(data, monkeypatch):
    """DALI decodes a video a thread."""
    engines = []
    monkeypatch.setattr(loader_module, "StreamLoader", lambda source, *, engine, problems: engines.append(engine))
    loader = pipelines.SemiLoader.from_dataset(data, **SMALL, workers=2)
    loader._engine = dataclasses.replace(loader._engine, num_threads=16)
    loader.start()
    assert [engine.num_threads for engine in engines] == [2, 3]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loop_of_the_readme(data, workers):
    with pipelines.SemiLoader.from_dataset(data, **SMALL, workers=workers, seed=3) as loader:
        assert len(loader) == 4, "12 unlabeled videos, 3 a batch"
        batches = list(loader)
    assert len(batches) == 4
    assert batches[0].labeled.standard.primary.shape == (2, 3, 2, 28, 28)
    assert batches[0].unlabeled.weak.auxiliary.shape == (3, 3, 4, 28, 28)
    assert batches[0].labeled.labels.dtype == torch.int64
    truth = torch.cat([batch.unlabeled.truth for batch in batches])
    assert sorted(truth.tolist()) == [-1] * 2 + [0] * 5 + [1] * 5, "every video once an epoch"


def test_each_loop_is_the_next_epoch_and_the_position_is_enough_to_go_on(data):
    with pipelines.SemiLoader.from_dataset(data, **SMALL, workers=0) as loader:
        two_epochs = [*loader, *loader]
        assert loader.state_dict() == {"seed": 0, "labeled_position": 16, "unlabeled_position": 24}
    assert not same(two_epochs[0], two_epochs[4])
    with pipelines.SemiLoader.from_dataset(data, **SMALL, workers=0) as loader:
        for _ in range(5):
            next(loader)
        state = loader.state_dict()
    with pipelines.SemiLoader.from_dataset(data, **SMALL, workers=1) as other:
        other.load_state_dict(state)
        rest = list(other)
    assert len(rest) == 3, "the rest of the epoch that was begun"
    assert all(map(same, rest, two_epochs[5:]))


def test_a_state_goes_on_with_another_number_of_ranks(data):
    with pipelines.SemiLoader.from_dataset(data, **SMALL | {"batch": (2, 6)}, workers=0) as one:
        next(one)
        state, expected = one.state_dict(), next(one)
    parts = []
    for rank in range(2):
        small = SMALL | {"batch": (1, 3)}
        with pipelines.SemiLoader.from_dataset(data, **small, workers=0, rank=rank, num_ranks=2) as half:
            half.load_state_dict(state)
            parts.append(next(half).unlabeled.weak.primary)
    assert torch.equal(torch.cat(parts), expected.unlabeled.weak.primary)


def test_a_state_that_does_not_fit_is_refused(data):
    loader = pipelines.SemiLoader.from_dataset(data, **SMALL, workers=0)
    with pytest.raises(InputError, match="seed: received a state of seed 7; accepted: 0"):
        loader.load_state_dict({"seed": 7, "labeled_position": 0, "unlabeled_position": 0})
    with pytest.raises(InputError, match="batch: received a state after 4 labeled and 7 unlabeled videos; accepted: "):
        loader.load_state_dict({"seed": 0, "labeled_position": 4, "unlabeled_position": 7})


def test_a_closed_loader_starts_again_where_it_was_and_keeps_what_it_set_aside(data):
    loader = pipelines.SemiLoader.from_dataset(data, **SMALL, workers=1)
    with pipelines.SemiLoader.from_dataset(data, **SMALL, workers=0) as whole:
        first = next(loader)
        loader.close()
        assert same(first, next(whole))
        assert same(next(loader), next(whole))
    loader.close()


def test_unlabeled_videos_come_from_their_first_step_on_as_they_would_have(data):
    options = SMALL | {"workers": 0}
    with (
        pipelines.SemiLoader.from_dataset(data, **options) as whole,
        pipelines.SemiLoader.from_dataset(data, **options) as late,
        pipelines.SemiLoader.from_dataset(data, **options) as resumed,
    ):
        late.first_unlabeled = resumed.first_unlabeled = 2
        batches = [next(whole) for _ in range(4)]
        early, other = next(late), next(late)
        assert early.unlabeled is None
        assert other.unlabeled is None
        assert torch.equal(other.labeled.standard.primary, batches[1].labeled.standard.primary)
        assert same(next(late), batches[2])
        resumed.load_state_dict(late.state_dict())
        assert same(next(resumed), batches[3])
        assert same(next(late), batches[3])


def test_two_geometries_are_refused(data):
    pool = data.train_pool()
    a, b = Geometry(), Geometry(primary=ClipShape(4, 16))
    with pytest.raises(InputError, match="geometry: received .*; accepted: one for both"):
        pipelines.SemiLoader(
            labeled=Planner(pool=pool, seed=0, stream=Stream.LABELED, geometry=a),
            unlabeled=Planner(pool=pool, seed=0, stream=Stream.UNLABELED, geometry=b),
            num_labeled=1,
            num_unlabeled=1,
            engine=pipelines.loading.engine.Engine(),
        )


@pytest.mark.parametrize("part", ["labeled", "train", "unlabeled"])
@pytest.mark.parametrize("view", ["standard", "weak", "strong"])
def test_a_plain_stream_feeds_a_dataloader(data, part, view):
    stream = pipelines.ClipStream.from_dataset(
        data, part=part, view=view, clip="2x8", batch=2, device="cpu", workers=0, crop_size=28
    )
    with stream:
        batches = list(DataLoader(stream, batch_size=None))
        assert len(batches) == len(stream) == {"labeled": 2, "train": 5, "unlabeled": 6}[part]
        clips, _ = batches[0]
        assert clips.shape == (2, 3, 2, 28, 28)
        assert clips.dtype == torch.uint8
        seen = sorted(torch.cat([labels for _, labels in batches]).tolist())
        unknown = [-1] * 2 if part == "unlabeled" else []
        of_class = 2 if part == "labeled" else 5
        assert seen == [*unknown, *[0] * of_class, *[1] * of_class]
        again = next(iter(stream))[0]
    assert not torch.equal(again, clips), "the next epoch"


def test_a_plain_stream_says_what_it_does_not_take(data):
    with pytest.raises(InputError, match="part: received 'labelled'; did you mean 'labeled'"):
        pipelines.ClipStream.from_dataset(data, part="labelled")
    with pytest.raises(InputError, match="view: received 'hard'"):
        pipelines.ClipStream.from_dataset(data, view="hard")
    stream = pipelines.ClipStream.from_dataset(data, clip="2x8", batch=2, device="cpu", workers=0, crop_size=28)
    with pytest.raises(InputError, match="num_workers: received a DataLoader with workers"):
        next(iter(DataLoader(stream, batch_size=None, num_workers=1)))


@pytest.fixture
def broken_first(data, tmp_path) -> Pool:
    """The ten training videos, the first of which does not decode."""
    pool, broken = data.train_pool(), tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    return dataclasses.replace(pool, paths=(str(broken), *pool.paths[1:]))


def opened_paths(monkeypatch, media: str) -> list[str]:
    """The videos that a source opens from here on, each time that it does."""
    name = {"views": "make_views", "frames": "decode_frames", "cuts": "cut"}[media]
    opened: list[str] = []
    real = getattr(source_module, name)
    monkeypatch.setattr(
        source_module, name, lambda path, *args, **more: opened.append(path) or real(path, *args, **more)
    )
    return opened


@pytest.mark.parametrize("media", ["views", "frames", "cuts"])
def test_a_video_that_did_not_decode_is_not_tried_again(broken_first, monkeypatch, media):
    planner = Planner(
        pool=broken_first, seed=0, stream=Stream.LABELED, geometry=Geometry(primary=ClipShape(2, 8), crop_size=28)
    )
    source = TrainSource(planner=planner, media=media, batch_size=10)
    opened = opened_paths(monkeypatch, media)
    for iteration in range(3):
        assert 0 not in [sample.ids.video for sample in source.samples(iteration)]
    assert opened.count(broken_first.paths[0]) == 1


@pytest.mark.parametrize("media", ["views", "frames", "cuts"])
def test_an_evaluation_does_not_try_a_broken_video_again(broken_first, monkeypatch, media):
    source = EvaluationSource(
        pool=broken_first,
        shapes=(ClipShape(2, 8),),
        short_videos="loop",
        num_clips=1,
        num_crops=1,
        crop_size=28,
        media=media,
        batch_size=10,
    )
    opened = opened_paths(monkeypatch, media)
    for iteration in range(3):
        first = next(source.samples(iteration))
        assert (first.ids.video, first.ids.stands_in) == (1, 1), "a neighbor stands in for the first"
    assert opened.count(broken_first.paths[0]) == 1
