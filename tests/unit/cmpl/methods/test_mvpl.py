"""MvPL against its formula: views, their mean logits, and what each of them learns."""

import dataclasses

import numpy as np
import pytest
import torch

from cmpl.methods.mvpl import MvPL, temporal_gradient, view_distributions, views
from cmpl.methods.views import normalized
from pipelines.batch import ClipBatch, SemiBatch
from pipelines.plan.geometry import ClipShape
from tests.support.tiny import K, Trunk, batch, cross_entropy, noise, softmax


def made(view_labels: str = "average") -> MvPL:
    return MvPL(primary=Trunk(), settings=MvPL.Settings(threshold=0.55, view_labels=view_labels))


def gradient_by_hand(pairs: torch.Tensor) -> np.ndarray:
    frames = pairs.numpy().astype(np.float64)
    return np.uint8((frames[:, :, 0::2] - frames[:, :, 1::2] + 255) / 2)


def with_flow(clips: ClipBatch, seed: int) -> ClipBatch:
    return dataclasses.replace(clips, flow=noise(len(clips), clips.primary.shape[2], seed))


def three_views() -> SemiBatch:
    b = batch(primary_frames=4, auxiliary_frames=8)
    labeled = dataclasses.replace(b.labeled, standard=with_flow(b.labeled.standard, 7))
    u = b.unlabeled
    unlabeled = dataclasses.replace(u, weak=with_flow(u.weak, 8), strong=with_flow(u.strong, 9))
    return SemiBatch(labeled=labeled, unlabeled=unlabeled)


def test_the_gradient_is_that_of_each_pair():
    pairs = noise(2, 6, 3)
    assert np.array_equal(temporal_gradient(pairs).numpy(), gradient_by_hand(pairs))
    extremes = torch.tensor([0, 255, 255, 0, 9, 9], dtype=torch.uint8).view(1, 1, 6, 1, 1).expand(1, 3, 6, 2, 2)
    assert temporal_gradient(extremes)[0, 0, :, 0, 0].tolist() == [0, 255, 127]


def test_each_frame_comes_with_the_one_before():
    shape = MvPL.auxiliary_shape(ClipShape(8, 8), ClipShape(16, 4))
    assert shape == ClipShape(16, 8, pairs=True)
    assert shape.span_frames == 64
    frames = shape.frames(5, num_video_frames=300)
    assert frames[1::2].tolist() == ClipShape(8, 8).frames(5, num_video_frames=300).tolist()
    assert (frames[1::2] - frames[0::2] == 1).all()
    assert not MvPL.offsets_auxiliary_clip
    b = batch(primary_frames=4, auxiliary_frames=8)
    assert views(b.unlabeled.weak).shape == (16, 3, 4, 6, 6)


@pytest.mark.parametrize("num_views", [2, 3])
@pytest.mark.parametrize("view_labels", ["average", "exclude-self"])
def test_the_loss_is_the_formula(view_labels, num_views):
    method = made(view_labels)
    b = three_views() if num_views == 3 else batch(primary_frames=4, auxiliary_frames=8)
    loss, _ = method(b, unlabeled_weight=3.0)

    def logits(clips) -> list:
        seen = [clips.primary, torch.from_numpy(gradient_by_hand(clips.auxiliary)), clips.flow][:num_views]
        return [method.primary(normalized(view)).tolist() for view in seen]

    labeled, weak, strong = (logits(c) for c in (b.labeled.standard, b.unlabeled.weak, b.unlabeled.strong))
    L_s = np.mean([cross_entropy(z[i], int(y)) for z in labeled for i, y in enumerate(b.labeled.labels)])
    losses = []
    for view in range(num_views):
        for i in range(8):
            of = [m for m in range(num_views) if view_labels == "average" or m != view]
            l = softmax([np.mean([weak[m][i][k] for m in of]) for k in range(K)])  # noqa: E741
            losses.append(cross_entropy(strong[view][i], l.index(max(l))) if max(l) >= 0.55 else 0.0)
    assert any(losses)
    assert not all(losses)
    assert loss.item() == pytest.approx(L_s + 3 * np.mean(losses), rel=1e-4)


def test_without_weight_both_views_learn_from_labels():
    method, b = made(), batch(primary_frames=4, auxiliary_frames=8)
    loss, terms = method(b, unlabeled_weight=0.0)
    z = method.primary(normalized(views(b.labeled.standard))).tolist()
    expected = np.mean([cross_entropy(z[i], int(b.labeled.labels[i % 3])) for i in range(6)])
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert terms.keys() == {"loss_supervised_primary"}


def test_an_unknown_scheme_is_refused():
    with pytest.raises(ValueError, match="view_labels: received 'all'"):
        view_distributions(torch.zeros(4, K), num_views=2, view_labels="all")
