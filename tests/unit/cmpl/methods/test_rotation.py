"""S4L against its formula, clip by clip and angle by angle."""

import numpy as np
import pytest
import torch

from cmpl.methods.method import Method
from cmpl.methods.rotation import NUM_ROTATIONS, S4L, rotation_loss, rotations
from cmpl.methods.views import normalized
from tests.support.tiny import Trunk, batch, cross_entropy, noise


def made(seed: int = 0) -> S4L:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method = S4L(primary=Trunk())
        torch.nn.init.normal_(method.rotation_head.weight, std=3.0)
    return method


def turned(clip, angle: int) -> torch.Tensor:
    """numpy's rotation, frame by frame."""
    frames = [np.rot90(clip[:, t].numpy(), angle, axes=(1, 2)).copy() for t in range(clip.shape[1])]
    return torch.from_numpy(np.stack(frames, axis=1))


def test_every_clip_comes_at_four_angles_the_same_for_its_frames():
    clips = noise(3, 4, 5)
    got = rotations(clips)
    assert got.is_contiguous(memory_format=torch.channels_last_3d)
    for angle in range(NUM_ROTATIONS):
        for video in range(3):
            assert torch.equal(got[3 * angle + video], turned(clips[video], angle))


def by_hand(method: S4L, clip, angle: int) -> tuple[list, list]:
    features = method.primary.features(normalized(turned(clip, angle)[None]))
    return method.primary.head(features)[0].tolist(), method.rotation_head(features)[0].tolist()


@pytest.mark.parametrize("w", [1.0, 3.0])
def test_the_loss_is_the_formula(w):
    method, b = made(), batch()
    loss, terms = method(b, unlabeled_weight=w)
    labeled = [(c, int(y)) for c, y in zip(b.labeled.standard.primary, b.labeled.labels, strict=True)]
    class_losses = [cross_entropy(by_hand(method, c, r)[0], y) for c, y in labeled for r in range(4)]
    rot_l = [cross_entropy(by_hand(method, c, r)[1], r) for c, _ in labeled for r in range(4)]
    rot_u = [cross_entropy(by_hand(method, c, r)[1], r) for c in b.unlabeled.weak.primary for r in range(4)]
    expected = np.mean(class_losses) + w / 2 * (np.mean(rot_u) + np.mean(rot_l))
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert terms["loss_rotation_labeled"].item() == pytest.approx(np.mean(rot_l), rel=1e-4)


def test_without_weight_the_labels_alone_count_and_the_head_still_has_a_gradient():
    method, b = made(), batch()
    loss, terms = method(b, unlabeled_weight=0.0)
    assert loss.item() == pytest.approx(terms["loss_supervised_primary"].item())
    loss.backward()
    assert method.rotation_head.weight.grad.abs().sum() == 0


def test_a_head_that_knows_the_angle_loses_nothing():
    z = 50 * torch.eye(4).repeat_interleave(3, dim=0)
    assert rotation_loss(z).item() == pytest.approx(0, abs=1e-6)
    assert rotation_loss(z.flip(0)).item() > 10


def test_one_clip_a_video_is_enough():
    assert Method.auxiliary_shape(None, None) is S4L.auxiliary_shape(None, None) is None
