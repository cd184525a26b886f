"""MvPL against its formula: views, their mean logits, and what each of them learns."""

import numpy as np
import pytest
import torch

from cmpl.methods.mvpl import MvPL, temporal_gradient, view_distributions, views
from cmpl.methods.views import normalized
from pipelines.geometry import ClipShape
from tests.unit.tiny import K, Trunk, batch, cross_entropy, noise, softmax


def made(view_labels: str = "average") -> MvPL:
    return MvPL(primary=Trunk(), threshold=0.55, view_labels=view_labels, batch_norm="joint")


def gradient_by_hand(clips: torch.Tensor) -> np.ndarray:
    frames = clips.numpy().astype(np.float64)
    return np.uint8((frames[:, :, :-1] - frames[:, :, 1:] + 255) / 2)


def test_the_gradient_is_of_neighbouring_frames():
    clips = noise(2, 5, 3)
    assert np.array_equal(temporal_gradient(clips).numpy(), gradient_by_hand(clips))
    extremes = torch.tensor([0, 255, 0, 0], dtype=torch.uint8).view(1, 1, 4, 1, 1).expand(1, 3, 4, 2, 2)
    assert temporal_gradient(extremes)[0, 0, :, 0, 0].tolist() == [0, 255, 127]


def test_one_more_frame_is_asked_for():
    assert MvPL.auxiliary_shape(ClipShape(8, 8), ClipShape(16, 4)) == ClipShape(9, 8)
    assert not MvPL.offsets_auxiliary_clip
    b = batch(primary_frames=4, auxiliary_frames=5)
    assert views(b.unlabeled.weak).shape == (16, 3, 4, 6, 6)


@pytest.mark.parametrize("view_labels", ["average", "exclude-self"])
def test_the_loss_is_the_formula(view_labels):
    method, b = made(view_labels), batch(primary_frames=4, auxiliary_frames=5)
    loss, _ = method(b, unlabeled_weight=3.0)

    def logits(clips) -> list:
        gradient = torch.from_numpy(gradient_by_hand(clips.auxiliary))
        return [method.primary(normalized(view)).tolist() for view in (clips.primary, gradient)]

    labeled, weak, strong = (logits(c) for c in (b.labeled.standard, b.unlabeled.weak, b.unlabeled.strong))
    L_s = np.mean([cross_entropy(z[i], int(y)) for z in labeled for i, y in enumerate(b.labeled.labels)])
    losses = []
    for view in range(2):
        for i in range(8):
            of = (0, 1) if view_labels == "average" else (1 - view,)
            l = softmax([np.mean([weak[m][i][k] for m in of]) for k in range(K)])  # noqa: E741
            losses.append(cross_entropy(strong[view][i], l.index(max(l))) if max(l) >= 0.55 else 0.0)
    assert any(losses)
    assert not all(losses)
    assert loss.item() == pytest.approx(L_s + 3 * np.mean(losses), rel=1e-4)


def test_without_weight_both_views_learn_from_labels():
    method, b = made(), batch(primary_frames=4, auxiliary_frames=5)
    loss, terms = method(b, unlabeled_weight=0.0)
    z = method.primary(normalized(views(b.labeled.standard))).tolist()
    expected = np.mean([cross_entropy(z[i], int(b.labeled.labels[i % 3])) for i in range(6)])
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert terms.keys() == {"loss_supervised_primary"}


def test_an_unknown_scheme_is_refused():
    with pytest.raises(ValueError, match="view_labels: received 'all'"):
        view_distributions(torch.zeros(4, K), view_labels="all")
