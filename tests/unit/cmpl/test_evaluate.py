"""Ten clips x three crops: which frames and boxes, and how views become a prediction."""

import numpy as np
import pytest
import torch

from cmpl.config import RuntimeConfig
from cmpl.evaluate import Predictions, accuracy, confidence, predict, resampled, view_probabilities
from cmpl.training.ranks import Ranks
from cmpl.training.runtime import settle
from pipelines.errors import InputError
from pipelines.loading.engine import Engine
from pipelines.loading.loader import EvaluationLoader
from pipelines.loading.source import EvaluationSource, evaluation_frames
from pipelines.plan.boxes import evaluation_boxes
from pipelines.plan.geometry import ClipShape
from tests.support import reference
from tests.support.tiny import Linear, clips
from tests.support.views import assert_same_view, seen_by

SHAPES = (ClipShape(4, 16), ClipShape(8, 8))


def source(
    pool, *, num_clips: int = 10, num_crops: int = 3, media: str = "views", batch_size: int = 1, **ranks
) -> EvaluationSource:
    return EvaluationSource(
        pool=pool,
        shapes=SHAPES,
        short_videos="loop",
        num_clips=num_clips,
        num_crops=num_crops,
        crop_size=32,
        media=media,
        batch_size=batch_size,
        **ranks,
    )


def test_ten_clips_reach_the_first_and_the_last_frame(pool):
    frames = evaluation_frames(source(pool), 300)
    primary = frames[: 10 * 4].reshape(10, 4)
    starts = primary[:, 0].tolist()
    assert starts[0] == 0
    assert starts[-1] + SHAPES[0].span_frames == 300
    steps = np.diff(starts)
    assert steps.max() - steps.min() <= 1
    auxiliary = frames[10 * 4 :].reshape(10, 8)
    assert (auxiliary[:, 0] == primary[:, 0]).all()
    assert (np.diff(auxiliary, axis=1) == 8).all()


def test_one_clip_is_the_middle_one(pool):
    assert evaluation_frames(source(pool, num_clips=1), 164)[0] == 50


def test_a_short_video_is_looped_in_every_clip(pool):
    frames = evaluation_frames(source(pool, num_clips=3), 30)
    assert frames.max() < 30
    assert (frames[:12].reshape(3, 4) == [0, 16, 2, 18]).all()


@pytest.mark.parametrize(("width", "height"), [(340, 256), (256, 340), (256, 256)])
def test_three_crops_run_along_the_longer_side(width, height):
    boxes = np.array(evaluation_boxes(3, width=width, height=height))
    sides = boxes[:, 2:] - boxes[:, :2]
    assert (sides == 256).all()
    assert boxes[0, :2].tolist() == [0, 0]
    assert boxes[-1, 2:].tolist() == [height, width]
    assert boxes[1, :2].tolist() == [(height - 256) / 2, (width - 256) / 2]
    assert evaluation_boxes(1, width=width, height=height) == [tuple(boxes[1])]


@pytest.mark.parametrize("num_ranks", [1, 2])
@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("media", ["views", "frames"])
def test_every_video_comes_once_with_all_its_views(pool, decoded, num_ranks, batch_size, media):
    """Whatever the ranks and batches, each network's views equal the twin's."""
    seen = []
    for rank in range(num_ranks):
        made = source(
            pool, num_clips=2, num_crops=3, rank=rank, num_ranks=num_ranks, media=media, batch_size=batch_size
        )
        loader = EvaluationLoader(made, engine=Engine(media=media))
        for videos, labels, views in loader:
            assert views[0].shape == (len(videos), 6, 3, 4, 32, 32)
            assert views[1].shape == (len(videos), 6, 3, 8, 32, 32)
            for i, video in enumerate(videos):
                _, height, width, _ = decoded[video].shape
                frames = evaluation_frames(made, len(decoded[video]))
                box = evaluation_boxes(3, width=width, height=height)[2]
                seen_frames, box = seen_by(Engine(media=media), decoded[video][frames[8 + 8 :]], box)
                expected = reference.crop_resize(seen_frames, box, 32)  # auxiliary, clip 1, crop 2
                assert_same_view(views[1][i, 5], expected, Engine(media=media))
            seen += list(zip(videos, labels, strict=True))
    assert sorted(seen) == [(k, k % 3) for k in range(len(pool))]


def test_a_prediction_is_the_mean_of_the_softmax():
    network, views = Linear(0), clips(6, 2, 0).unflatten(0, (2, 3))
    got = view_probabilities(network, views)
    from cmpl.methods.views import normalized

    by_hand = torch.stack([torch.softmax(network(normalized(views[v])), dim=1).mean(dim=0) for v in range(2)])
    torch.testing.assert_close(got, by_hand)


@pytest.mark.parametrize(
    ("clip_stride", "shown"),
    [
        (1, [0, 1, 2, 3, 4, 5, 6, 7]),
        (2, [0, 0, 2, 2, 4, 4, 6, 6]),
        (4, [0, 0, 0, 0, 4, 4, 4, 4]),
        (8, [0, 0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_clips_are_extended_to_their_length_at_any_stride(clip_stride, shown):
    frames = torch.arange(8).view(1, 1, 1, 8, 1, 1).expand(2, 3, 3, 8, 5, 5)
    assert (resampled(frames, clip_stride) == torch.tensor(shown).view(8, 1, 1)).all()
    four = resampled(frames[:, :, :, :4], clip_stride)  # a clip of fewer frames
    assert four.shape[3] == 4
    assert (four[0, 0, 0, :, 0, 0] == torch.tensor(shown[:4])).all()


def test_accuracy_by_hand():
    predictions = Predictions(
        videos=np.arange(4),
        labels=np.array([0, 0, 1, 2]),
        probabilities=np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]]),
    )
    scores = accuracy(predictions, ("a", "b", "c"))
    assert scores["top1"] == 0.5
    assert scores["top5"] == 1.0  # only three classes
    assert scores["per_class"] == {"a": 0.5, "b": 1.0, "c": 0.0}


def test_top5_by_hand():
    probabilities = np.tile(np.linspace(1, 0, 10), (3, 1))
    scores = accuracy(
        Predictions(videos=np.arange(3), labels=np.array([0, 4, 5]), probabilities=probabilities), tuple("abcdefghij")
    )
    assert (scores["top1"], scores["top5"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_confidence_by_hand():
    """At 0.5: the first is right, the second wrong, the third is not counted, the fourth right at the threshold."""
    predictions = Predictions(
        videos=np.arange(4),
        labels=np.array([0, 0, 1, 2]),
        probabilities=np.array([[0.75, 0.25, 0.0], [0.0, 0.75, 0.25], [0.25, 0.375, 0.375], [0.25, 0.25, 0.5]]),
    )
    found = confidence(predictions, threshold=0.5)
    assert found == {"num_confident": 3, "confident_share": 0.75, "confident_precision": pytest.approx(2 / 3)}
    assert confidence(predictions, threshold=0.9) == {"num_confident": 0, "confident_share": 0.0}
    assert confidence(predictions, threshold=0.0)["confident_precision"] == accuracy(predictions, tuple("abc"))["top1"]


def test_answers_that_are_not_finite_are_no_result(pool):
    """All of one class, they would be half right."""
    network = Linear(0)
    network.head.weight.data[0, 0] = float("nan")
    runtime = settle(RuntimeConfig(device="cpu"))
    loader = EvaluationLoader(source(pool, num_clips=1, num_crops=1), engine=Engine())
    with pytest.raises(InputError, match="primary: its answers are not finite, as training diverged"), loader:
        predict({"primary": network}, loader, runtime=runtime, ranks=Ranks())
